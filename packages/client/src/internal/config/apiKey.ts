/**
 * What a key must look like, so that it fits into a header.
 */

/** What a key must be. */
export const keyRule = "printable ASCII without spaces, and not empty"

/** Whether a text can be a key. */
export const isKey = (value: string): boolean => /^[\x21-\x7e]+$/.test(value)
