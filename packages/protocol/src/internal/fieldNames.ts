/**
 * Field names: camelCase in the program, snake_case on the wire, without exceptions.
 */
import * as Schema from "effect/Schema"

/** Converts a name to the wire: `expiresAtMs` to `expires_at_ms`. */
export const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** Converts a name from the wire: `expires_at_ms` to `expiresAtMs`. */
export const camelCase = (name: string): string =>
  name.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase())

/** `snakeCase` as a type. */
export type SnakeCase<Name extends string> = Name extends `${infer Letter}${infer Rest}`
  ? `${Letter extends Lowercase<Letter> ? Letter : `_${Lowercase<Letter>}`}${SnakeCase<Rest>}`
  : Name

/**
 * A struct whose camelCase fields are snake_case on the wire. Free-form maps in it keep their names.
 *
 * The mapped type has no alias: declarations that contain the schema then list its names instead of importing this module.
 */
export const struct = <const Fields extends Schema.Struct.Fields>(
  fields: Fields
): Schema.encodeKeys<
  Schema.Struct<Fields>,
  { readonly [Name in keyof Fields]: Name extends string ? SnakeCase<Name> : Name }
> => Schema.Struct(fields).pipe(Schema.encodeKeys(renamed(fields)))

// `Object.fromEntries` loses the names in the type. A test checks that they are as this signature declares.
function renamed<Fields extends Schema.Struct.Fields>(
  fields: Fields
): { readonly [Name in keyof Fields]: Name extends string ? SnakeCase<Name> : Name }
function renamed(fields: object): { readonly [name: string]: string } {
  return Object.fromEntries(Object.keys(fields).map((name) => [name, snakeCase(name)]))
}
