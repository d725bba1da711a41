/**
 * The names of fields: camelCase in the program, snake_case on the wire. There are no exceptions.
 */
import * as Schema from "effect/Schema"

/** The name on the wire: `expiresAtMs` is `expires_at_ms`. */
export const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** The name in the program: `expires_at_ms` is `expiresAtMs`. */
export const camelCase = (name: string): string =>
  name.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase())

/** `snakeCase` for the compiler. */
export type SnakeCase<Name extends string> = Name extends `${infer Letter}${infer Rest}`
  ? `${Letter extends Lowercase<Letter> ? Letter : `_${Lowercase<Letter>}`}${SnakeCase<Rest>}`
  : Name

/** The names of fields on the wire. */
export type Renamed<Fields> = {
  readonly [Name in keyof Fields]: Name extends string ? SnakeCase<Name> : Name
}

/** A struct of camelCase fields that are snake_case on the wire. Free-form maps inside keep their names. */
export const struct = <const Fields extends Schema.Struct.Fields>(
  fields: Fields
): Schema.encodeKeys<Schema.Struct<Fields>, Renamed<Fields>> =>
  Schema.Struct(fields).pipe(Schema.encodeKeys(renamed(fields)))

// The compiler can't follow the names through `Object.fromEntries`: this signature states what a property in the tests checks.
function renamed<Fields extends Schema.Struct.Fields>(fields: Fields): Renamed<Fields>
function renamed(fields: object): { readonly [name: string]: string } {
  return Object.fromEntries(Object.keys(fields).map((name) => [name, snakeCase(name)]))
}
