/**
 * JSON with exact 64-bit integers.
 *
 * `JSON.parse` rounds integers above 2^53. Here they are read as `bigint`, and only texts that can hold such a number pay for
 * it: a run of 16 digits is looked for first, since a reviver makes parsing three to five times as expensive. A `bigint` is
 * written digit by digit, whatever `toJSON` a program has added to a built-in prototype.
 *
 * @see `format: int64` of the protocol's amounts and instants
 */

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A JSON value. An integer that a `number` can't hold exactly is a `bigint`. */
export type Value = null | string | number | bigint | boolean | ReadonlyArray<Value> | { readonly [key: string]: Value }

/** A piece of JSON text that `JSON.stringify` writes as it is. */
export interface RawJson {
  readonly rawJSON: string
}

/** What `JSON` has at run time and the type library does not know yet. */
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
 * Reads JSON. Integers that a `number` can't hold exactly come out as `bigint`, all other numbers as `number`.
 *
 * Throws a `SyntaxError` where the text is no JSON.
 */
export const parse = (text: string): unknown =>
  longDigits.test(text) ? exact.parse(text, reviveInteger) : JSON.parse(text)

/**
 * Reads the JSON of an answer: as `parse`, and an explicit `null` is the same as an absent field. Inside of what belongs
 * to the user (`metadata`, `committed_metadata`, `custom`), in what is signed or free (`payload`, `details`), and in lists it
 * is kept.
 */
export const parseAnswer = (text: string): unknown => {
  const value = parse(text)
  return text.includes("null") ? withoutNulls(value) : value
}

/**
 * Writes JSON. A `bigint` is written digit by digit, fields that are `undefined` are left out. `toJSON` of a built-in prototype,
 * as programs add it to `BigInt.prototype`, is not called. Throws a `TypeError` on a cycle.
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

/** An integer as it stands in JSON: a number where that is exact. */
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

/** Whether a built-in prototype has a `toJSON`. Those of strings, numbers and booleans are never called. */
const isExtended = (): boolean => "toJSON" in BigInt.prototype || "toJSON" in Array.prototype

/** A copy on which `JSON.stringify` finds no `toJSON`, with every bigint as digits. */
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

const owned: ReadonlySet<string> = new Set(["metadata", "committed_metadata", "custom", "payload", "details"])

const withoutNulls = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutNulls)
  if (typeof value !== "object" || value === null) return value
  const result: Record<string, unknown> = {}
  for (const [key, inner] of Object.entries(value)) {
    if (inner === null) continue
    const kept = owned.has(key) ? inner : withoutNulls(inner)
    // Assigned, this name would change the prototype.
    if (key === "__proto__") Object.defineProperty(result, key, { value: kept, enumerable: true })
    else result[key] = kept
  }
  return result
}
