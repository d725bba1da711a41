/**
 * Reads values of unknown shape, such as the metadata of a provider, without throwing: a getter or a proxy that throws counts
 * as a missing value.
 */

/** The value at a path of properties and array indices, or `undefined`. */
export const read = (value: unknown, ...path: ReadonlyArray<string>): unknown => {
  let current = value
  for (const key of path) {
    if ((typeof current !== "object" && typeof current !== "function") || current === null) return undefined
    try {
      const next: unknown = Reflect.get(current, key)
      current = next
    } catch {
      return undefined
    }
  }
  return current
}

/** The own enumerable string keys of an object, at most `maxItems`. */
export const keys = (value: unknown): ReadonlyArray<string> => {
  if (typeof value !== "object" || value === null) return []
  try {
    return Object.keys(value).slice(0, maxItems)
  } catch {
    return []
  }
}

/** The items of an array, at most `maxItems`. */
export const items = (value: unknown): ReadonlyArray<unknown> => {
  const length = countAt(value, "length") ?? 0
  try {
    if (!Array.isArray(value)) return []
  } catch {
    return []
  }
  return Array.from({ length: Math.min(length, maxItems) }, (_, i) => read(value, String(i)))
}

/** A count: a finite number of at least 0, rounded up to an integer and limited to `maxCount`. Other values are `undefined`. */
export const count = (value: unknown): number | undefined => {
  const number = typeof value === "bigint" ? Number(value) : value
  return typeof number === "number" && Number.isFinite(number) && number >= 0
    ? Math.min(Math.abs(Math.ceil(number)), maxCount)
    : undefined
}

/** The count at a path, or `undefined`. */
export const countAt = (value: unknown, ...path: ReadonlyArray<string>): number | undefined =>
  count(read(value, ...path))

/**
 * A limit: a finite number of at least 0, as a number, a bigint or a decimal string, rounded down to an integer and limited to
 * `maxCount`. Other values are `undefined`.
 */
export const limit = (value: unknown): number | undefined => {
  const isDecimal = typeof value === "string" && /^\s*\d+(?:\.\d*)?\s*$/.test(value)
  const number = typeof value === "bigint" || isDecimal ? Number(value) : value
  return typeof number === "number" && Number.isFinite(number) && number >= 0
    ? Math.min(Math.floor(number), maxCount)
    : undefined
}

/** The smallest or the largest of the numbers that are known, by `Math.min` or `Math.max`. */
export const extreme = (
  choose: (...numbers: ReadonlyArray<number>) => number,
  numbers: ReadonlyArray<number | undefined>
): number | undefined => {
  const known = numbers.filter((number) => number !== undefined)
  return known.length === 0 ? undefined : choose(...known)
}

/** Whether a value is an object and not null. */
export const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

/** A string that isn't blank. */
export const text = (value: unknown): string | undefined =>
  typeof value === "string" && value.trim() !== "" ? value.trim() : undefined

/** The largest count: far above the context of every model, and small enough for exact sums. */
export const maxCount = 2 ** 40

/** A limit for collections in metadata, which have a few items. */
const maxItems = 256
