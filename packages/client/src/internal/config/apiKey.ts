/** The syntax of an API key, which must be a valid header value. */

/** The rule, for error messages. */
export const keyRule = "printable ASCII without spaces, and not empty"

/** Whether a text satisfies the rule. */
export const isKey = (value: unknown): value is string => typeof value === "string" && /^[\x21-\x7e]+$/.test(value)
