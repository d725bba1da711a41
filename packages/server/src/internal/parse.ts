/**
 * Strict parsing of JSON bodies and query parameters. An explicit null counts as absent; an unknown field is rejected.
 */
import * as InvalidInput from "@effect-cycles/protocol/InvalidInput"
import * as Json from "@effect-cycles/protocol/Json"
import * as Limits from "@effect-cycles/protocol/Limits"
import * as RequestDecoder from "@effect-cycles/protocol/RequestDecoder"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaJITCompiler from "effect/schema/SchemaJITCompiler"
import * as SchemaAST from "effect/SchemaAST"
import { invalidRequest } from "./errorResponse.ts"

/** Parses a body, which must be a JSON object. */
export const json = (text: string): Readonly<Record<string, unknown>> => {
  if (isTooDeep(text)) throw invalidRequest(`Malformed request body: it is nested more than ${maxDepth} deep`)
  let value: unknown
  try {
    value = Json.parse(text)
  } catch {
    throw invalidRequest("Malformed request body: it isn't JSON")
  }
  if (!isRecord(value)) throw invalidRequest("Malformed request body: a JSON object is expected")
  return value
}

/** The maximum nesting depth of objects and arrays; the parser of the reference server has the same limit. */
const maxDepth = 1_000

/** Whether a text exceeds the depth. Deeper values would overflow the stack of recursive functions. */
const isTooDeep = (text: string): boolean => {
  if (text.length <= maxDepth) return false
  let depth = 0
  let isText = false
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i)
    if (isText) {
      if (char === backslash) i += 1
      else if (char === quote) isText = false
    } else if (char === quote) isText = true
    else if (char === openBrace || char === openBracket) {
      depth += 1
      if (depth > maxDepth) return true
    } else if (char === closeBrace || char === closeBracket) depth -= 1
  }
  return false
}

const [quote, backslash, openBrace, closeBrace, openBracket, closeBracket] = [0x22, 0x5c, 0x7b, 0x7d, 0x5b, 0x5d]

/**
 * Creates a parser from a schema.
 *
 * The strict decoder, which reports unknown fields, is slow. A value that has only known fields goes to a fast decoder, which
 * is compiled just in time if the platform allows it. The strict decoder runs for all other values, and to explain a failure.
 */
export const request = <A, I>(schema: Schema.Codec<A, I>): ((raw: object) => A) => {
  SchemaJITCompiler.enable(schema.ast)
  const decode = RequestDecoder.make(schema)
  const decodeStrict = Schema.decodeUnknownResult(schema, { onExcessProperty: "error" })
  const hasOnlyKnownFields = makeFieldCheck(Schema.toEncoded(schema).ast)
  return (raw) => {
    const fast = hasOnlyKnownFields(raw) ? decode(raw) : undefined
    const result = fast !== undefined && Result.isSuccess(fast) ? fast : decodeStrict(raw)
    if (Result.isSuccess(result)) return result.success
    const problems = InvalidInput.fromIssue(result.failure.issue, raw).map(problemOf)
    throw invalidRequest(`Validation failed: ${problems.join("; ")}`)
  }
}

/** Describes an invalid field without its value if that may be a secret or belongs to an unknown field. */
const problemOf = ({ actual, expected, field }: InvalidInput.InvalidField): string => {
  const name = isSecret.test(field) ? "(hidden)" : field.slice(0, 80)
  if (expected === InvalidInput.unknownField) return `there is no field ${name}`
  return namesSecret.test(field) || namesSecret.test(actual) || isSecret.test(actual)
    ? `${name} must be ${expected}`
    : `${name} must be ${expected}, got ${actual}`
}

/** The beginning of a text from a request, for an error message. A text with the secret of an API key is hidden. */
export const shown = (text: string): string => (isSecret.test(text) ? "(hidden)" : text.slice(0, 80))

/** Matches the secret of an API key. */
const isSecret = /cyc_(?:live|test)_\S/i

/** Matches the names of fields whose values are secrets. */
const namesSecret = /secret|password|authorization|api[_-]?key/i

/** Whether the encoded form of a schema has a field. */
export const hasField = <A, I>(schema: Schema.Codec<A, I>, name: string): boolean => {
  const { ast } = Schema.toEncoded(schema)
  return SchemaAST.isObjects(ast) && ast.propertySignatures.some((field) => field.name === name)
}

/**
 * Creates a predicate that returns whether a value has only fields of its schema. It may return false for a valid value; the
 * strict decoder then accepts it.
 */
const makeFieldCheck = (ast: SchemaAST.AST): ((value: unknown) => boolean) => {
  if (SchemaAST.isObjects(ast)) {
    if (ast.indexSignatures.length > 0) return () => true
    const fields = new Map(ast.propertySignatures.map(({ name, type }) => [name, makeFieldCheck(type)]))
    return (value) => {
      if (!isRecord(value)) return false
      for (const name in value) if (fields.get(name)?.(value[name]) !== true) return false
      return true
    }
  }
  if (SchemaAST.isArrays(ast) && ast.elements.length === 0) {
    const items = ast.rest.map(makeFieldCheck)
    return (value) => Array.isArray(value) && value.every((item) => items.every((isKnown) => isKnown(item)))
  }
  if (SchemaAST.isUnion(ast)) {
    const members = ast.types.filter((type) => !SchemaAST.isUndefined(type)).map(makeFieldCheck)
    return (value) => members.every((isKnown) => isKnown(value))
  }
  return (value) => typeof value !== "object" || value === null
}

/**
 * Parses a request of the runtime plane, given without nulls. Metadata may be any JSON object and is returned unchanged.
 * Like the reference server, it accepts numbers and booleans as values of dimensions and as the reason of a release, and
 * 64-bit integers as the time of the client.
 */
export const withMetadata = <A extends { readonly metadata?: unknown }>(
  parse: (raw: object) => A,
  raw: Readonly<Record<string, unknown>>
): OpenMetadata<A> => {
  const { metadata, ...others } = raw
  const rest: Record<string, unknown> = others
  if (metadata !== undefined && !isRecord(metadata))
    throw invalidRequest("Validation failed: metadata must be an object")
  const { client_time_ms: time, reason, subject } = rest
  if (isScalar(reason)) rest["reason"] = String(reason)
  if (isLargeInt64(time)) rest["client_time_ms"] = Number.MAX_SAFE_INTEGER
  if (isRecord(subject) && isRecord(subject["dimensions"]))
    rest["subject"] = { ...subject, dimensions: withStringValues(subject["dimensions"]) }
  return { ...parse(rest), metadata }
}

/** A request with any JSON object as metadata. */
export type OpenMetadata<A> = Omit<A, "metadata"> & {
  readonly metadata?: Readonly<Record<string, unknown>> | undefined
}

const withStringValues = (values: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [key, isScalar(value) ? String(value) : value]))

/** Whether a value is converted where a string is expected. `Json.parse` returns integers above 2^53-1 as bigints. */
const isScalar = (value: unknown): value is number | bigint | boolean =>
  typeof value === "number" || typeof value === "bigint" || typeof value === "boolean"

/** Whether a value is an instant that a number can't hold. The server validates the time of the client, and ignores it. */
const isLargeInt64 = (value: unknown): boolean => typeof value === "bigint" && value > 0n && value <= Limits.maxInt64

/** Parses a body and removes its nulls. */
export const body = (text: string): Readonly<Record<string, unknown>> => {
  const value = json(text)
  return needsNullHandling.test(text) ? withoutNulls(value) : value
}

/** Matches every text that may contain a null or a field named `__proto__`, even in escaped form. */
const needsNullHandling = /null|__proto__|\\u/

/**
 * Replaces null by undefined, except in metadata and custom metrics. Fields are kept, so that an unknown field is rejected even
 * if it is null. Null dimensions are removed, because users choose their names.
 */
export const withoutNulls = (value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> => {
  const result: Record<string, unknown> = {}
  for (const [key, inner] of Object.entries(value)) {
    // Assigning it would set the prototype of the result.
    if (key === "__proto__") throw invalidRequest("Validation failed: no field is named __proto__")
    if (inner === null) result[key] = undefined
    else if (!isRecord(inner) || key === "metadata" || key === "custom") result[key] = inner
    else result[key] = key === "dimensions" ? withoutUndefined(withoutNulls(inner)) : withoutNulls(inner)
  }
  return result
}

const withoutUndefined = (value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined))

/** Whether a value is a JSON object. */
export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** A trimmed query parameter, or `undefined` if it is missing or blank. */
export const parameter = (query: URLSearchParams, name: string): string | undefined => {
  const value = query.get(name)?.trim() ?? ""
  return value === "" ? undefined : value
}

/** Parses an integer parameter from minimum to maximum. */
export const integer = (name: string, text: string, minimum: number, maximum: number): number => {
  const value = /^-?\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= minimum && value <= maximum)) {
    throw invalidRequest(`${name} must be an integer from ${minimum} to ${maximum}, got ${shown(text)}`)
  }
  return value
}

/** Parses a parameter with a fixed set of values. */
export const literal = <A extends string>(name: string, text: string, allowed: ReadonlyArray<A>): A => {
  const match = allowed.find((candidate) => candidate === text)
  if (match === undefined) {
    throw invalidRequest(`Invalid ${name}: ${shown(text)}. Must be one of: ${allowed.join(", ")}`)
  }
  return match
}

/** Parses a boolean parameter with the spellings of the reference server. */
export const boolean = (query: URLSearchParams, name: string): boolean | undefined => {
  const text = parameter(query, name)?.toLowerCase()
  if (text === undefined) return undefined
  const isYes = ["true", "on", "yes", "1"].includes(text)
  if (!isYes) literal(name, text, ["false", "off", "no", "0"])
  return isYes
}

/** Parses an instant parameter (ISO 8601 with a zone) into epoch milliseconds. */
export const instant = (name: string, text: string): number => {
  const value = /[+-]\d{4}$/.test(text) ? Number.NaN : parseInstant(text)
  if (Number.isNaN(value)) throw invalidRequest(`${name} must be an ISO 8601 instant with a zone, got ${shown(text)}`)
  return value
}

/** Parses an instant into epoch milliseconds, or NaN. The day must exist, and seconds are required. */
export const parseInstant = (text: string): number => {
  const [, year, month, day] = instantPattern.exec(text) ?? []
  const isDay = Number(day) <= new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate()
  return isDay ? Date.parse(text.toUpperCase()) : Number.NaN
}

const instantPattern = /^(\d{4})-(\d{2})-(\d{2})T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})$/i

/** Selects a page of rows. The cursor is an offset. */
export const offsetPage = <A>(
  query: URLSearchParams,
  rows: ReadonlyArray<A>,
  limit: number
): { readonly rows: ReadonlyArray<A>; readonly hasMore: boolean; readonly next: string | undefined } => {
  const cursor = query.get("cursor") ?? ""
  const from = cursor === "" ? 0 : integer("cursor", cursor, 0, 999_999_999)
  const hasMore = from + limit < rows.length
  return { rows: rows.slice(from, from + limit), hasMore, next: hasMore ? String(from + limit) : undefined }
}
