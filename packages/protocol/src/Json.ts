/**
 * JSON with exact 64-bit integers.
 *
 * **Details**
 *
 * `JSON.parse` rounds integers above 2^53-1. `parse` returns them as `bigint`. Only texts with at least 16 digits in a row pay
 * for this: parsing with a reviver takes three to five times as long. `stringify` writes the digits of a `bigint`, whatever
 * `toJSON` a program has added to a built-in prototype.
 *
 * @example
 * ```ts
 * import { Json } from "@effect-cycles/protocol"
 *
 * console.log(Json.parse('{"amount":9007199254740993}')) // { amount: 9007199254740993n }
 * console.log(Json.stringify({ amount: 9007199254740993n })) // {"amount":9007199254740993}
 * ```
 *
 * @see `format: int64` of the amounts and instants in the Cycles protocol
 * @since 0.1.0
 */

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A JSON value. An integer that a `number` can't hold exactly is a `bigint`.
 *
 * @category models
 * @since 0.1.0
 */
export type Value = null | string | number | bigint | boolean | ReadonlyArray<Value> | { readonly [key: string]: Value }

/**
 * JSON text that `JSON.stringify` writes unchanged.
 *
 * @category models
 * @since 0.1.0
 */
export interface RawJson {
  /** The text. */
  readonly rawJSON: string
}

/** Members of `JSON` that the type library doesn't declare yet. */
interface ExactJson {
  readonly rawJSON: (text: string) => RawJson
  readonly isRawJSON: (value: unknown) => boolean
  readonly parse: (
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string | undefined }) => unknown
  ) => unknown
}

const exact: ExactJson = JSON as JSON & ExactJson

// ---------------------------------------------------------------------------------------------------------------------
// reading and writing
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Parses JSON. Integers that a `number` can't hold exactly are returned as `bigint`, all other numbers as `number`.
 *
 * **Gotchas**
 *
 * Throws a `SyntaxError` if the text isn't JSON.
 *
 * @category codecs
 * @since 0.1.0
 */
export const parse = (text: string): unknown =>
  longDigits.test(text) ? exact.parse(text, reviveInteger) : JSON.parse(text)

/**
 * Parses the JSON of a response, as `parse` does, and drops fields whose value is `null`.
 *
 * **Details**
 *
 * `null` is kept in lists, in user data (`metadata`, `committed_metadata`, `custom`), and in `payload` and `details`.
 *
 * @category codecs
 * @since 0.1.0
 */
export const parseAnswer = (text: string): unknown => {
  const value = parse(text)
  return text.includes("null") ? withoutNulls(value) : value
}

/**
 * Writes JSON. A `bigint` is written as digits, and fields that are `undefined` are left out.
 *
 * **Details**
 *
 * A `toJSON` on a built-in prototype, which some programs add to `BigInt.prototype`, is not called.
 *
 * **Gotchas**
 *
 * Throws a `TypeError` for a cyclic value.
 *
 * @category codecs
 * @since 0.1.0
 */
export const stringify = (value: unknown): string => {
  if (isExtended()) return JSON.stringify(withoutBuiltInToJson(value, []))
  try {
    return JSON.stringify(value)
  } catch {
    // It contains a bigint, or a cycle, which is refused again.
    return JSON.stringify(value, (_key, inner: unknown) =>
      typeof inner === "bigint" ? exact.rawJSON(inner.toString()) : inner
    )
  }
}

/**
 * Converts an integer to its representation in JSON: a `number` if that is exact, else a `bigint`.
 *
 * @category codecs
 * @since 0.1.0
 */
export const encodeInteger = (value: bigint): number | bigint =>
  value >= minSafe && value <= maxSafe ? Number(value) : value

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const longDigits = /\d{16}/

const integer = /^-?\d+$/

const maxSafe = BigInt(Number.MAX_SAFE_INTEGER)

const minSafe = BigInt(Number.MIN_SAFE_INTEGER)

const reviveInteger = (_key: string, value: unknown, context: { readonly source?: string | undefined }): unknown =>
  typeof value === "number" &&
  !Number.isSafeInteger(value) &&
  context.source !== undefined &&
  integer.test(context.source)
    ? BigInt(context.source)
    : value

/** Returns whether a built-in prototype has a `toJSON`. Those of strings, numbers and booleans are never called. */
const isExtended = (): boolean => "toJSON" in BigInt.prototype || "toJSON" in Array.prototype

/** Returns a copy on which `JSON.stringify` finds no `toJSON`, with every bigint as digits. */
const withoutBuiltInToJson = (value: unknown, path: ReadonlyArray<object>): unknown => {
  if (typeof value === "bigint") return exact.rawJSON(value.toString())
  if (typeof value !== "object" || value === null || exact.isRawJSON(value)) return value
  if (path.includes(value)) throw new TypeError("Cyclic values can't be written as JSON")
  const inside = [...path, value]
  const toJson: unknown = Reflect.get(value, "toJSON")
  if (typeof toJson === "function" && !isBuiltIn(toJson)) {
    return withoutBuiltInToJson(Reflect.apply(toJson, value, [""]), inside)
  }
  if (Array.isArray(value)) {
    const copy = value.map((inner) => withoutBuiltInToJson(inner, inside))
    return Object.defineProperty(copy, "toJSON", { value: undefined })
  }
  const copy: Record<string, unknown> = Object.create(null)
  for (const [key, inner] of Object.entries(value)) copy[key] = withoutBuiltInToJson(inner, inside)
  return copy
}

const isBuiltIn = (toJson: unknown): boolean =>
  [BigInt.prototype, Array.prototype, Object.prototype].some((prototype) => Reflect.get(prototype, "toJSON") === toJson)

/** Fields whose content belongs to the user, is signed, or is free-form. */
const owned: ReadonlySet<string> = new Set(["metadata", "committed_metadata", "custom", "payload", "details"])

const withoutNulls = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutNulls)
  if (typeof value !== "object" || value === null) return value
  const result: Record<string, unknown> = {}
  for (const [key, inner] of Object.entries(value)) {
    if (inner === null) continue
    const kept = owned.has(key) ? inner : withoutNulls(inner)
    // An assignment to this name would change the prototype.
    if (key === "__proto__") Object.defineProperty(result, key, { value: kept, enumerable: true })
    else result[key] = kept
  }
  return result
}
