/**
 * What is wrong with a request, field by field, in words that a person can act on.
 *
 * Source: ours; the client shows it before anything is sent, the server answers it with INVALID_REQUEST.
 */
import * as SchemaIssue from "effect/SchemaIssue"
import * as Json from "./Json.ts"

/** One thing that is wrong. */
export interface InvalidField {
  /** The path of the field, as in `estimate.amount`. */
  readonly field: string
  /** What is allowed. */
  readonly expected: string
  /** What was given, cut when it is long. */
  readonly actual: string
}

/** Reads a schema's issue as a list of fields. */
export const fromIssue = (issue: SchemaIssue.Issue, input: unknown): ReadonlyArray<InvalidField> =>
  format(issue).issues.map(({ message, path }) => {
    const keys = (path ?? []).map((key) => (typeof key === "object" ? key.key : key))
    return {
      field: keys.length === 0 ? "request" : keys.map(String).join("."),
      expected: message
        .replace(/^Expected /, "")
        .replace(/, got [^]*$/, "")
        .replace(/^Missing key$/, "given"),
      actual: showAt(input, keys)
    }
  })

/** The list in one line. */
export const message = (fields: ReadonlyArray<InvalidField>): string =>
  fields.map(({ actual, expected, field }) => `${field} must be ${expected}, got ${actual}`).join("; ")

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const longest = 80

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
