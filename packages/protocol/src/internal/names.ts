/**
 * The names of fields: camelCase in the program, snake_case on the wire.
 */

/** The name on the wire: `expiresAtMs` is `expires_at_ms`. */
export const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** The name in the program: `expires_at_ms` is `expiresAtMs`. */
export const camelCase = (name: string): string =>
  name.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase())
