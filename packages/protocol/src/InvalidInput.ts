/**
 * Describes why a request is invalid: for each field, the allowed and the actual value. The client reports it before it sends
 * anything; the embedded server returns it with `INVALID_REQUEST`.
 *
 * @example
 * ```ts
 * import { InvalidInput, Operations } from "@effect-cycles/protocol"
 * import { Result } from "effect"
 *
 * const request = { idempotencyKey: "", extendByMs: 1_000 }
 * const encoded = Operations.extend.encode(request)
 *
 * if (Result.isFailure(encoded)) {
 *   console.log(InvalidInput.message(InvalidInput.fromIssue(encoded.failure.issue, request)))
 *   // 'idempotencyKey must be 1 to 256 characters, got ""'
 * }
 * ```
 *
 * @since 0.1.0
 */
import * as SchemaIssue from "effect/SchemaIssue"
import * as Json from "./Json.ts"

/**
 * The `expected` text of a field that its object doesn't have.
 *
 * @category models
 * @since 0.1.0
 */
export const unknownField = "absent, because there is no such field"

/**
 * One invalid field.
 *
 * @category models
 * @since 0.1.0
 */
export interface InvalidField {
  /** The path of the field, as in `estimate.amount`. */
  readonly field: string
  /** The allowed values. */
  readonly expected: string
  /** The value that was given, shortened to 80 characters. */
  readonly actual: string
}

/**
 * Converts a schema issue to a list of invalid fields. `input` is the value that the schema refused. It never throws.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromIssue = (issue: SchemaIssue.Issue, input: unknown): ReadonlyArray<InvalidField> =>
  format(issue).issues.map(({ message, path }) => {
    const keys = (path ?? []).map((key) => (typeof key === "object" ? key.key : key))
    return {
      field: keys.length === 0 ? "request" : keys.map(String).join("."),
      expected: inEnglish(
        message
          .replace(/^Expected /, "")
          .replace(/, got [^]*$/, "")
          .replace(/^Missing key$/, "given")
      ),
      actual: showAt(input, keys)
    }
  })

/**
 * Formats invalid fields in one line: `estimate.amount must be ..., got ...; ...`.
 *
 * @category formatting
 * @since 0.1.0
 */
export const message = (fields: ReadonlyArray<InvalidField>): string =>
  fields.map(({ actual, expected, field }) => `${field} must be ${expected}, got ${actual}`).join("; ")

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const longest = 80

/** Rewrites the descriptions that the schemas generate, which are types rather than texts. */
const inEnglish = (expected: string): string => {
  if (expected === "no excess property") return unknownField
  const types = expected.split(" | ").filter((type) => type !== "undefined")
  if (types.length > 1 && types.every((type) => /^"[^"]*"$/.test(type))) {
    return `one of ${types.map((type) => type.slice(1, -1)).join(", ")}`
  }
  if (types.every((type) => Object.hasOwn(articles, type))) {
    return types.map((type) => articles[type]).join(" or ")
  }
  return types
    .join(" or ")
    .replace(/^a value between (\S+) and (\S+)$/, "from $1 to $2")
    .replace(/^a value with a length between (\S+) and (\S+)$/, "$1 to $2 characters")
}

/** Types as nouns with an article. */
const articles: { readonly [type: string]: string } = {
  string: "a string",
  number: "a number",
  bigint: "an integer",
  boolean: "a boolean",
  null: "null",
  object: "an object",
  array: "an array"
}

const valueAt = (input: unknown, keys: ReadonlyArray<PropertyKey>): unknown => {
  let value = input
  for (const key of keys) {
    if (typeof value !== "object" || value === null) return undefined
    value = Reflect.get(value, key)
  }
  return value
}

/** The text of the value at a path. Getters and proxies in it may throw. */
const showAt = (input: unknown, keys: ReadonlyArray<PropertyKey>): string => {
  try {
    return show(valueAt(input, keys))
  } catch {
    return "a value that can't be read"
  }
}

const show = (value: unknown): string => {
  if (value === undefined) return "nothing"
  const text = textOf(value)
  return text.length > longest ? `${text.slice(0, longest)}... (${text.length} characters)` : text
}

const textOf = (value: unknown): string => {
  if (typeof value === "bigint" || typeof value === "number") return String(value)
  try {
    return Json.stringify(value) ?? String(value)
  } catch {
    return typeof value
  }
}
