/**
 * Building blocks of the message schemas: strict ones for requests, lenient ones for responses.
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

/** A string of limited length. */
export const text = (minimum: number, maximum: number) =>
  Schema.String.check(Schema.isBetweenLength(minimum, maximum, { expected: `${minimum} to ${maximum} characters` }))

/** An integer in a range. */
export const integer = (minimum: number, maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum }, { expected: `an integer from ${minimum} to ${maximum}` }))

/** A count, or an instant or a duration in milliseconds. */
export const natural = integer(0, Number.MAX_SAFE_INTEGER)

/**
 * An instant in epoch milliseconds. The wire allows 64 bits: instants above `Number.MAX_SAFE_INTEGER` are read as that number.
 *
 * Only instants are rounded, because they are only compared. Amounts never are.
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

/** A 64-bit integer: a number or a bigint in JSON, a bigint in the program. Both sides check the range. */
const int64 = (minimum: bigint) => {
  const expected = `an integer from ${minimum} to ${Limits.maxInt64}`
  const large = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum, maximum: Limits.maxInt64 }, { expected }))
  const small = Schema.Int.check(
    Schema.isGreaterThanOrEqualTo(Math.max(Number(minimum), Number.MIN_SAFE_INTEGER), { expected })
  )
  return Schema.Union([small, large])
    .annotate({ expected })
    .pipe(
      Schema.decodeTo(large, {
        decode: SchemaGetter.transform((value: number | bigint) => BigInt(value)),
        encode: SchemaGetter.transform(Json.encodeInteger)
      })
    )
}

/** The value of an amount. */
export const unsignedInt64 = int64(0n)

/** The value of a signed amount. */
export const signedInt64 = int64(Limits.minInt64)

/** The subject of a query. */
export const scopeQuery = {
  /** Only rows of this tenant. */
  tenant: Schema.optional(Schema.String),
  /** Only rows of this workspace. */
  workspace: Schema.optional(Schema.String),
  /** Only rows of this application. */
  app: Schema.optional(Schema.String),
  /** Only rows of this workflow. */
  workflow: Schema.optional(Schema.String),
  /** Only rows of this agent. */
  agent: Schema.optional(Schema.String),
  /** Only rows of this toolset. */
  toolset: Schema.optional(Schema.String)
}

/** Requires at least one of these fields. */
export const atLeastOne = <const Name extends string>(names: ReadonlyArray<Name>) =>
  Schema.makeFilter((value: { readonly [N in Name]?: unknown }) =>
    names.some((name) => value[name] !== undefined)
      ? undefined
      : `Expected an object with at least one of ${names.join(", ")}`
  )

/** The page of a query. */
export const pageQuery = {
  /** The number of rows, 1 to 200. Default 50. */
  limit: Schema.optional(integer(1, Limits.maxPageSize)),
  /** The `nextCursor` of the previous page. */
  cursor: Schema.optional(Schema.String)
}

/** The fields of a page besides its rows. */
export const pageFields = {
  /** The cursor of the next page. Absent on the last page. */
  nextCursor: Schema.optionalKey(Schema.String),
  /** Whether there is another page. */
  hasMore: Schema.optionalKey(Schema.Boolean)
}

/** User data may have getters, be a proxy or nest endlessly. Reading it must not throw. */
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

/** Returns the members of an array or a plain object, also from another realm. Holes in an array are `undefined`. */
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

/** JSON from the user. Integers above 2^53-1 are bigints. */
export const jsonObject = Schema.Record(Schema.String, jsonValue)

/** JSON from a server, unchecked. */
export const unknownObject = Schema.Record(Schema.String, Schema.Unknown)

/**
 * Returns a function that parses the text of a response. The failure is a message that describes the problem.
 *
 * A response that the encoded side of the schema accepts is only renamed. Any other response (an invalid field, a null, a
 * number that a double can't hold) is decoded with the whole schema, which returns it or describes the problem.
 */
export const reader = <A, I>(
  schema: Schema.Codec<A, I>,
  lenient: ReadonlyArray<string> = []
): ((text: string) => Result.Result<A, string>) => {
  const wire = Schema.toEncoded(schema)
  const decode = leniently(Schema.decodeUnknownResult(schema), lenient)
  const isPlain = Schema.is(wire)
  const rename = Renaming.reading(schema)
  // Free-form JSON may contain integers that must stay exact, and fields may be null, which counts as absent.
  const parse = isOpen(wire.ast) ? Json.parseAnswer : JSON.parse
  const readAll = (text: string): Result.Result<A, string> =>
    Result.flatMap(parsed(Json.parseAnswer, text), (json) => Result.mapError(decode(json), (error) => error.message))
  if (rename === undefined) return readAll
  return (text) => {
    const json = parsed(parse, text)
    const response = Result.isSuccess(json) && isPlain(json.success) ? rename(json.success) : undefined
    return response === undefined ? readAll(text) : Result.succeed(response)
  }
}

/** Returns whether a schema accepts nulls or JSON that it doesn't check. */
const isOpen = (ast: SchemaAST.AST): boolean => {
  if (SchemaAST.isUnknown(ast) || SchemaAST.isDeclaration(ast) || SchemaAST.isNull(ast)) return true
  if (SchemaAST.isObjects(ast))
    return [...ast.propertySignatures, ...ast.indexSignatures].some(({ type }) => isOpen(type))
  if (SchemaAST.isArrays(ast)) return [...ast.elements, ...ast.rest].some(isOpen)
  return SchemaAST.isUnion(ast) && ast.types.some(isOpen)
}

/**
 * Returns a function that encodes a request. Input that the type side of the schema accepts is only renamed; other input is
 * encoded again to collect all errors. It never throws, whatever getters and proxies the input has.
 */
export const writer = <A, I>(
  schema: Schema.Codec<A, I>
): ((input: unknown) => Result.Result<I, Schema.SchemaError>) => {
  const isValid = Schema.is(Schema.toType(schema))
  const rename = Renaming.writing(schema)
  const write = Schema.encodeUnknownResult(schema)
  const explain = Schema.encodeUnknownResult(schema, { errors: "all" })
  return (input) => {
    try {
      if (rename !== undefined && isValid(input)) return Result.succeed(rename(input))
      const written = write(input)
      return Result.isSuccess(written) ? written : explain(input)
    } catch {
      return Result.fail(new Schema.SchemaError(unreadable))
    }
  }
}

/**
 * Returns a function that decodes the JSON of a request. JSON that the encoded side of the schema accepts is only renamed;
 * other JSON is decoded with the whole schema, which returns it or describes the problem.
 */
export const decoder = <A, I>(
  schema: Schema.Codec<A, I>
): ((json: unknown) => Result.Result<A, Schema.SchemaError>) => {
  const isPlain = Schema.is(Schema.toEncoded(schema))
  const rename = Renaming.reading(schema)
  const decode = Schema.decodeUnknownResult(schema)
  if (rename === undefined) return decode
  return (json) => {
    const request = isPlain(json) ? rename(json) : undefined
    return request === undefined ? decode(json) : Result.succeed(request)
  }
}

const unreadable = new SchemaIssue.InvalidValue({ expected: "an object whose fields can be read" })

/** Decodes. If that fails, decodes again without the lenient fields that are invalid. */
const leniently =
  <A>(decode: (json: unknown) => Result.Result<A, Schema.SchemaError>, lenient: ReadonlyArray<string>): typeof decode =>
  (json) => {
    const whole = decode(json)
    if (Result.isSuccess(whole) || lenient.length === 0 || !Predicate.isObject(json)) return whole
    const required = without(json, lenient)
    const isInvalid = (name: string) => Result.isFailure(decode({ ...required, [name]: Reflect.get(json, name) }))
    return decode(without(json, lenient.filter(isInvalid)))
  }

const without = (json: object, names: ReadonlyArray<string>): object =>
  Object.fromEntries(Object.entries(json).filter(([name]) => !names.includes(name)))

const parsed = (parse: (text: string) => unknown, text: string): Result.Result<unknown, string> => {
  try {
    return Result.succeed(parse(text))
  } catch {
    return Result.fail("the body isn't JSON")
  }
}
