/**
 * The building blocks of the wire's schemas: strict ones for what is written, open ones for what is read.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Json from "../Json.ts"
import * as Limits from "../Limits.ts"

/** A text of limited length. */
export const text = (minimum: number, maximum: number) =>
  Schema.String.check(Schema.isBetweenLength(minimum, maximum, { expected: `${minimum} to ${maximum} characters` }))

/** An integer of limited size. */
export const integer = (minimum: number, maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum }, { expected: `an integer from ${minimum} to ${maximum}` }))

/** A count, or an instant or a span of time in milliseconds. */
export const natural = integer(0, Number.MAX_SAFE_INTEGER)

/** An integer of 64 bits: a number or a bigint in JSON, a bigint in the program. */
const int64 = (minimum: bigint) =>
  Schema.Union([Schema.Int, Schema.BigInt])
    .annotate({ expected: "an integer of 64 bits" })
    .pipe(
      Schema.decodeTo(
        Schema.BigInt.check(
          Schema.isBetweenBigInt(
            { minimum, maximum: Limits.maxInt64 },
            {
              expected: `an integer from ${minimum} to ${Limits.maxInt64}`
            }
          )
        ),
        {
          decode: SchemaGetter.transform((value: number | bigint) => BigInt(value)),
          encode: SchemaGetter.transform(Json.encodeInteger)
        }
      )
    )

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

/** The names of these fields on the wire. */
export const pageKeys = { nextCursor: "next_cursor", hasMore: "has_more" } as const

/** Free JSON of the user's, checked to be JSON. */
export const jsonObject = Schema.Record(Schema.String, Schema.Json)

/** Free JSON as it was read. */
export const unknownObject = Schema.Record(Schema.String, Schema.Unknown)

/** Writes what a schema describes. What is right is walked once; what is wrong once more, for all that is wrong with it. */
export const writer = <A, I>(
  schema: Schema.Codec<A, I>
): ((input: unknown) => Result.Result<I, Schema.SchemaError>) => {
  const write = Schema.encodeUnknownResult(schema)
  const explain = Schema.encodeUnknownResult(schema, { errors: "all" })
  return (input) => {
    const written = write(input)
    return Result.isSuccess(written) ? written : explain(input)
  }
}
