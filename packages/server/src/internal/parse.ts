/**
 * Reading what was sent: JSON bodies and queries, strictly. An explicit null counts as absent, an unknown field is refused.
 */
import * as InvalidInput from "@effect-cycles/protocol/InvalidInput"
import * as Json from "@effect-cycles/protocol/Json"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaJITCompiler from "effect/schema/SchemaJITCompiler"
import * as SchemaAST from "effect/SchemaAST"
import { invalidRequest } from "./errorResponse.ts"

/** The JSON object of a body. */
export const json = (text: string): Readonly<Record<string, unknown>> => {
  if (isTooDeep(text)) throw invalidRequest(`Malformed request body: it is nested more than ${maxDepth} deep`)
  let value: unknown
  try {
    value = Json.parse(text)
  } catch {
    throw invalidRequest("Malformed request body: no JSON")
  }
  if (!isRecord(value)) throw invalidRequest("Malformed request body: a JSON object is expected")
  return value
}

/** How deep objects and lists may be nested; the reference's reader draws the same line. */
const maxDepth = 1_000

/** Whether a text is nested deeper than that, so that nothing that walks through the value runs out of stack. */
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
 * A request as its schema has it. Looking for unknown fields and for all that is wrong is dear: what is right is read without,
 * by a decoder that is compiled where the platform allows it.
 */
export const request = <A, I>(schema: Schema.Codec<A, I>): ((raw: object) => A) => {
  SchemaJITCompiler.enable(schema.ast)
  const decode = Schema.decodeUnknownResult(schema)
  const decodeStrict = Schema.decodeUnknownResult(schema, { onExcessProperty: "error" })
  const hasOnlyKnownFields = makeFieldCheck(Schema.toEncoded(schema).ast)
  return (raw) => {
    const fast = hasOnlyKnownFields(raw) ? decode(raw) : undefined
    const result = fast !== undefined && Result.isSuccess(fast) ? fast : decodeStrict(raw)
    if (Result.isSuccess(result)) return result.success
    throw invalidRequest(
      `Validation failed: ${InvalidInput.message(InvalidInput.fromIssue(result.failure.issue, raw))}`
    )
  }
}

/** Whether a request has a field on the wire. */
export const hasField = <A, I>(schema: Schema.Codec<A, I>, name: string): boolean => {
  const { ast } = Schema.toEncoded(schema)
  return SchemaAST.isObjects(ast) && ast.propertySignatures.some((field) => field.name === name)
}

/** Whether a value has for sure no field that its schema doesn't know. What isn't seen through is left to the schema. */
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
 * A request of the runtime plane, given without nulls. Its metadata is the user's: any JSON object, kept as it is. What is a text on the wire may
 * be a number or a boolean where the reference reads it so: the values of dimensions and the reason of a release.
 */
export const withMetadata = <A extends { readonly metadata?: unknown }>(
  parse: (raw: object) => A,
  raw: Readonly<Record<string, unknown>>
): OpenMetadata<A> => {
  const { metadata, ...rest } = raw
  if (metadata !== undefined && !isRecord(metadata))
    throw invalidRequest("Validation failed: metadata must be an object")
  const { reason, subject } = rest
  const request = parse({
    ...rest,
    ...(typeof reason === "number" || typeof reason === "boolean" ? { reason: String(reason) } : undefined),
    ...(isRecord(subject) && isRecord(subject["dimensions"])
      ? { subject: { ...subject, dimensions: withStringValues(subject["dimensions"]) } }
      : undefined)
  })
  return { ...request, metadata }
}

/** A request whose metadata is any JSON object. */
export type OpenMetadata<A> = Omit<A, "metadata"> & {
  readonly metadata?: Readonly<Record<string, unknown>> | undefined
}

const withStringValues = (values: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    Object.entries(values).map(([key, value]) => [
      key,
      typeof value === "number" || typeof value === "boolean" ? String(value) : value
    ])
  )

/** The JSON object of a body without nulls, where an explicit null is absence. */
export const body = (text: string): Readonly<Record<string, unknown>> => {
  const value = json(text)
  return needsNullHandling.test(text) ? withoutNulls(value) : value
}

/** A null, a field named `__proto__`, or an escape that either name may be written with. */
const needsNullHandling = /null|__proto__|\\u/

/**
 * The same object with nothing where it has null, outside of what belongs to the user. The fields stay, so that an unknown one is
 * refused whatever it holds; of dimensions the names are the user's too, and one that holds null is none.
 */
export const withoutNulls = (value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> => {
  const result: Record<string, unknown> = {}
  for (const [key, inner] of Object.entries(value)) {
    // Assigned, it would change what the object is instead of being a field of it.
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

/** A parameter of a query that says something; a blank one is none. */
export const parameter = (query: URLSearchParams, name: string): string | undefined => {
  const value = query.get(name)?.trim() ?? ""
  return value === "" ? undefined : value
}

/** A whole number from a query, in a range. */
export const integer = (name: string, text: string, minimum: number, maximum: number): number => {
  const value = /^-?\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= minimum && value <= maximum)) {
    throw invalidRequest(`${name} must be an integer from ${minimum} to ${maximum}, got ${text.slice(0, 40)}`)
  }
  return value
}

/** One of several words from a query. */
export const literal = <A extends string>(name: string, text: string, allowed: ReadonlyArray<A>): A => {
  const match = allowed.find((candidate) => candidate === text)
  if (match === undefined) {
    throw invalidRequest(`Invalid ${name}: ${text.slice(0, 40)}. Must be one of: ${allowed.join(", ")}`)
  }
  return match
}

/** A yes or no of a query, in the words that the reference takes; an empty one is none. */
export const boolean = (query: URLSearchParams, name: string): boolean | undefined => {
  const text = parameter(query, name)?.toLowerCase()
  if (text === undefined) return undefined
  const isYes = ["true", "on", "yes", "1"].includes(text)
  if (!isYes) literal(name, text, ["false", "off", "no", "0"])
  return isYes
}

/** An instant of a query, in epoch milliseconds: ISO 8601 with a zone. */
export const instant = (name: string, text: string): number => {
  const value = /[+-]\d{4}$/.test(text) ? Number.NaN : parseInstant(text)
  if (Number.isNaN(value))
    throw invalidRequest(`${name} must be an ISO 8601 instant with a zone, got ${text.slice(0, 40)}`)
  return value
}

/** An instant in epoch milliseconds, NaN where the text is none: a day that its month lacks, or no seconds. */
export const parseInstant = (text: string): number => {
  const [, year, month, day] = instantPattern.exec(text) ?? []
  const isDay = Number(day) <= new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate()
  return isDay ? Date.parse(text.toUpperCase()) : Number.NaN
}

const instantPattern = /^(\d{4})-(\d{2})-(\d{2})T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})$/i

/** A page of rows whose cursors are offsets. */
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
