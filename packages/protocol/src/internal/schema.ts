/**
 * The building blocks of the wire's schemas: strict ones for what is written, open ones for what is read.
 */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Json from "../Json.ts"
import * as Limits from "../Limits.ts"
import * as Renaming from "./renaming.ts"

/** A text of limited length. */
export const text = (minimum: number, maximum: number) =>
  Schema.String.check(Schema.isBetweenLength(minimum, maximum, { expected: `${minimum} to ${maximum} characters` }))

/** An integer of limited size. */
export const integer = (minimum: number, maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum }, { expected: `an integer from ${minimum} to ${maximum}` }))

/** A count, or an instant or a span of time in milliseconds. */
export const natural = integer(0, Number.MAX_SAFE_INTEGER)

/**
 * An instant in milliseconds. On the wire it has 64 bits: what a number can't hold exactly, the year 287396 and later, is read
 * as `Number.MAX_SAFE_INTEGER`. Only an instant is read so: it is compared with others of its kind, and charged to nobody.
 */
export const instant = Schema.Union([
  natural,
  Schema.BigInt.check(Schema.isGreaterThanBigInt(BigInt(Number.MAX_SAFE_INTEGER)))
])
  .annotate({ expected: "an integer from 0" })
  .pipe(
    Schema.decodeTo(natural, {
      decode: SchemaGetter.transform((wire: number | bigint) => instantOf(wire)),
      encode: SchemaGetter.passthroughSupertype()
    })
  )

const instantOf = (wire: number | bigint): number => (typeof wire === "bigint" ? Number.MAX_SAFE_INTEGER : wire)

Renaming.register(instant, { read: instantOf, write: (value) => value })

/** An integer of 64 bits: a number or a bigint in JSON, a bigint in the program. Both sides hold its limits. */
const int64 = (minimum: bigint) => {
  const expected = `an integer from ${minimum} to ${Limits.maxInt64}`
  const large = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum, maximum: Limits.maxInt64 }, { expected }))
  const small = Schema.Int.check(Schema.isGreaterThanOrEqualTo(Math.max(Number(minimum), Number.MIN_SAFE_INTEGER)))
  return Schema.Union([small, large])
    .annotate({ expected })
    .pipe(
      Schema.decodeTo(large, {
        decode: SchemaGetter.transform((value: number | bigint) => BigInt(value)),
        encode: SchemaGetter.transform(Json.encodeInteger)
      })
    )
}

/** An amount: 0 or more. */
export const unsignedInt64 = int64(0n)

/** A balance: it may be below zero. */
export const signedInt64 = int64(Limits.minInt64)

/** The fields of the subject in a query. */
export const scopeQuery = {
  tenant: Schema.optional(Schema.String),
  workspace: Schema.optional(Schema.String),
  app: Schema.optional(Schema.String),
  workflow: Schema.optional(Schema.String),
  agent: Schema.optional(Schema.String),
  toolset: Schema.optional(Schema.String)
}

/** The part of a list that a query asks for. */
export const pageQuery = {
  /** Rows of a page, 1 to 200. Default 50. */
  limit: Schema.optional(integer(1, Limits.maxPageSize)),
  cursor: Schema.optional(Schema.String)
}

/** What a page tells besides its rows. */
export const pageFields = {
  nextCursor: Schema.optionalKey(Schema.String),
  hasMore: Schema.optionalKey(Schema.Boolean)
}

/** A value in the user's JSON. Reading it must not throw: it may have getters, be a proxy, or be endlessly deep. */
const isJsonValue = (value: unknown): value is Json.Value => {
  try {
    return isJson(value, [])
  } catch {
    return false
  }
}

const isJson = (value: unknown, path: Array<object>): boolean => {
  switch (typeof value) {
    case "string":
    case "boolean":
    case "bigint":
      return true
    case "number":
      return Number.isFinite(value)
    case "object": {
      if (value === null) return true
      if (path.length >= Limits.maxJsonDepth || path.includes(value)) return false
      const members = membersOf(value)
      if (members === undefined) return false
      path.push(value)
      const areJson = members.every((member) => isJson(member, path))
      path.pop()
      return areJson
    }
    default:
      return false
  }
}

/** The members of a list or of a plain object, also of one from another realm. Holes of a list are `undefined`. */
const membersOf = (value: object): ReadonlyArray<unknown> | undefined => {
  if (Array.isArray(value)) return Array.from(value)
  const prototype: unknown = Object.getPrototypeOf(value)
  const isPlain = prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null
  return isPlain ? Object.values(value) : undefined
}

const jsonLink = () =>
  Schema.link<Json.Value>()(Schema.Json, {
    decode: SchemaGetter.passthroughSubtype(),
    encode: SchemaGetter.transform((value): Schema.Json => JSON.parse(Json.stringify(value)))
  })

const jsonValue = Schema.declare(isJsonValue, {
  expected: `a JSON value of at most ${Limits.maxJsonDepth} levels`,
  toCodecJson: jsonLink,
  toCodecArbitrary: jsonLink
})

/** Free JSON of the user's, checked to be JSON. Integers above 2^53 are bigints. */
export const jsonObject = Schema.Record(Schema.String, jsonValue)

/** Free JSON as it was read. */
export const unknownObject = Schema.Record(Schema.String, Schema.Unknown)

/** Why a text can't be read. */
export type Unreadable = string

/**
 * Reads the text of a response that a schema describes.
 *
 * A response that the wire's side of the schema accepts is only renamed. Everything else, a wrong field, a null, a number that a
 * double can't hold, goes through the whole schema, which reads it or says what is wrong with it.
 */
export const reader = <A, I>(
  schema: Schema.Codec<A, I>,
  lenient: ReadonlyArray<string> = []
): ((text: string) => Result.Result<A, Unreadable>) => {
  const wire = Schema.toEncoded(schema)
  const decode = forgiving(Schema.decodeUnknownResult(schema), lenient)
  const isPlain = Schema.is(wire)
  const rename = Renaming.reading(schema)
  // The wire's side says nothing of numbers in free JSON, which must not have been rounded, and of nulls that it accepts.
  const parse = isOpen(wire.ast) ? Json.parseAnswer : JSON.parse
  const readAll = (text: string): Result.Result<A, Unreadable> =>
    Result.flatMap(parsed(Json.parseAnswer, text), (json) => Result.mapError(decode(json), (error) => error.message))
  if (rename === undefined) return readAll
  return (text) => {
    const json = parsed(parse, text)
    return Result.isSuccess(json) && isPlain(json.success) ? Result.succeed(rename(json.success)) : readAll(text)
  }
}

/** Whether a value may be or contain a null, or JSON that no schema looks at. */
const isOpen = (ast: SchemaAST.AST): boolean => {
  if (SchemaAST.isUnknown(ast) || SchemaAST.isDeclaration(ast) || SchemaAST.isNull(ast)) return true
  if (SchemaAST.isObjects(ast))
    return [...ast.propertySignatures, ...ast.indexSignatures].some(({ type }) => isOpen(type))
  if (SchemaAST.isArrays(ast)) return [...ast.elements, ...ast.rest].some(isOpen)
  return SchemaAST.isUnion(ast) && ast.types.some(isOpen)
}

/**
 * Writes a request that a schema describes: one that the program's side of the schema accepts is only renamed. Everything else
 * is walked once more for all that is wrong with it. Never throws, whatever getters and proxies the input has.
 */
export const writer = <A, I>(
  schema: Schema.Codec<A, I>
): ((input: unknown) => Result.Result<I, Schema.SchemaError>) => {
  const isRight = Schema.is(Schema.toType(schema))
  const rename = Renaming.writing(schema)
  const write = Schema.encodeUnknownResult(schema)
  const explain = Schema.encodeUnknownResult(schema, { errors: "all" })
  return (input) => {
    try {
      if (rename !== undefined && isRight(input)) return Result.succeed(rename(input))
      const written = write(input)
      return Result.isSuccess(written) ? written : explain(input)
    } catch {
      return Result.fail(new Schema.SchemaError(new SchemaIssue.InvalidType(readable, undefined)))
    }
  }
}

const readable = Schema.Unknown.annotate({ expected: "an object whose fields can be read" }).ast

/** Decodes; where that fails, once more without those of the lenient members that are wrong. */
const forgiving =
  <A>(decode: (json: unknown) => Result.Result<A, Schema.SchemaError>, lenient: ReadonlyArray<string>): typeof decode =>
  (json) => {
    const whole = decode(json)
    if (Result.isSuccess(whole) || lenient.length === 0 || !Predicate.isObject(json)) return whole
    const bare = without(json, lenient)
    const isWrong = (name: string) => Result.isFailure(decode({ ...bare, [name]: Reflect.get(json, name) }))
    return decode(without(json, lenient.filter(isWrong)))
  }

const without = (json: object, names: ReadonlyArray<string>): object =>
  Object.fromEntries(Object.entries(json).filter(([name]) => !names.includes(name)))

const parsed = (parse: (text: string) => unknown, text: string): Result.Result<unknown, Unreadable> => {
  try {
    return Result.succeed(parse(text))
  } catch {
    return Result.fail("the body is no JSON")
  }
}
