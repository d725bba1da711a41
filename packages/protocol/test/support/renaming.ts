/**
 * The laws of the functions that rename messages. They apply with and without `Compiler.enable`, which affects the whole
 * process, so each case is tested in a separate file.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import {
  Amount,
  Balance,
  ErrorResponse,
  Json,
  Limits,
  Operations,
  RequestDecoder,
  Subject
} from "@effect-cycles/protocol"
import * as Renaming from "../../src/internal/renaming.ts"
import { reservation } from "./reservation.ts"

/** All operations. */
export const operations = Object.values(Operations.all)

/** The responses, by operation. */
export const responses: ReadonlyArray<readonly [string, Schema.Codec<object, object>]> = [
  ...operations.map(({ name, response }) => [name, response] as const),
  ["refusal", ErrorResponse.ErrorResponse]
]

/** A subject with a tenant: small samples have no optional fields, and a subject needs at least one. */
const subject = Schema.Struct({
  ...Subject.Subject.fields,
  tenant: Schema.String.check(Schema.isPattern(Limits.subjectPattern), Schema.isMaxLength(Limits.maxSubjectValue))
})

/** The requests and queries, with a schema that generates samples. */
export const requests: ReadonlyArray<
  readonly [name: string, schema: Schema.Codec<object, object>, samples: Schema.Codec<object, unknown>]
> = [
  ["reserve", Operations.reserve.request, Schema.Struct({ ...Operations.reserve.request.to.fields, subject })],
  ["decide", Operations.decide.request, Schema.Struct({ ...Operations.decide.request.to.fields, subject })],
  ["event", Operations.event.request, Schema.Struct({ ...Operations.event.request.to.fields, subject })],
  ["commit", Operations.commit.request, Operations.commit.request],
  ["release", Operations.release.request, Operations.release.request],
  ["extend", Operations.extend.request, Operations.extend.request],
  ["listReservations", Operations.listReservations.query, Operations.listReservations.query],
  ["balances", Operations.balances.query, Schema.Struct({ ...Balance.BalanceQuery.to.fields, tenant: Schema.String })]
]

/** A value as it is on the wire: without fields that are `undefined`, in any order. */
const sent = (value: unknown): unknown => Json.parse(Json.stringify(value))

/** Counts the attempts to generate code while a function runs. Each attempt fails, as under a content security policy. */
export const attemptsToGenerate = (run: () => void): number => {
  const real = globalThis.Function
  let attempts = 0
  const forbid = () => {
    attempts += 1
    throw new EvalError("Code generation from strings disallowed for this context")
  }
  Reflect.set(globalThis, "Function", forbid)
  try {
    run()
  } finally {
    Reflect.set(globalThis, "Function", real)
  }
  return attempts
}

/** Registers the tests of the laws. */
export const laws = () => {
  describe.each(responses)("response to %s", (name, schema) => {
    const decode = Schema.decodeUnknownResult(schema)

    it.prop("returns the same value as the schema", { wire: Schema.toEncoded(schema) }, ({ wire }) => {
      const expected = Result.getOrThrow(decode(wire))
      expect(Renaming.reading(schema)?.(wire)).toEqual(expected)
    })

    it.prop("returns the same value for a text as the schema", { wire: Schema.toEncoded(schema) }, ({ wire }) => {
      const operation = operations.find((operation) => operation.name === name)
      const text = Json.stringify(wire)
      expect((operation ?? ErrorResponse).read(text)).toEqual(
        Result.mapError(decode(Json.parseAnswer(text)), (error) => error.message)
      )
    })

    it.prop("writes the same JSON as the schema", { value: Schema.toType(schema) }, ({ value }) => {
      const wire = Schema.encodeSync(schema)(value)
      expect(sent(Renaming.writing(schema)?.(value))).toEqual(sent(wire))
      const again = Schema.decodeUnknownSync(schema)(sent(wire))
      expect(sent(Schema.encodeSync(schema)(again))).toEqual(sent(wire))
    })
  })

  describe.each(requests)("request of %s", (name, schema, samples) => {
    it.prop("writes the same JSON as the schema", { value: Schema.toType(samples) }, ({ value }) => {
      const wire = sent(Result.getOrThrow(Schema.encodeUnknownResult(schema)(value)))
      expect(sent(Renaming.writing(schema)?.(value))).toEqual(wire)
      const operation = operations.find((operation) => operation.name === name)
      expect(operation !== undefined && "encode" in operation && Result.map(operation.encode(value), sent)).toEqual(
        Result.succeed(wire)
      )
    })
  })

  describe.each(requests)("body of %s", (_name, schema, samples) => {
    const decode = Schema.decodeUnknownResult(schema)
    const decodeRequest = RequestDecoder.make(schema)

    it.prop("is decoded to the same value as by the schema", { value: Schema.toType(samples) }, ({ value }) => {
      const wire = sent(Result.getOrThrow(Schema.encodeUnknownResult(schema)(value)))
      expect(decodeRequest(wire)).toEqual(decode(wire))
    })

    it.prop(
      "with any other field is refused or accepted as by the schema",
      {
        value: Schema.toType(samples),
        field: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 })),
        json: Schema.Json
      },
      ({ field, json, value }) => {
        const wire = Object(sent(Result.getOrThrow(Schema.encodeUnknownResult(schema)(value))))
        const names = Object.keys(wire)
        const changed = { ...wire, [names[field % names.length] ?? "unknown"]: json }
        expect(Result.mapError(decodeRequest(changed), String)).toEqual(Result.mapError(decode(changed), String))
      }
    )
  })

  it("drop unknown fields of known objects, and keep every name in free-form maps", () => {
    const free = { camelCase: 1, snake_case: { innerName: [{ deep_name: null }] }, Upper: 2 }
    const row = {
      ...reservation,
      subject: { tenant: "t", dimensions: { fooBar: "1", foo_bar: "2" }, more: 1 },
      action: { kind: "k", name: "n", more: 1 },
      reserved: { unit: "TOKENS", amount: 1, more: 1 },
      metadata: free,
      committed_metadata: free,
      more: 1
    }
    const read = {
      reservationId: "r",
      status: "ACTIVE",
      subject: { tenant: "t", dimensions: { fooBar: "1", foo_bar: "2" } },
      action: { kind: "k", name: "n" },
      reserved: Amount.tokens(1),
      createdAtMs: 1,
      expiresAtMs: 2,
      scopePath: "tenant:t",
      affectedScopes: [],
      metadata: free,
      committedMetadata: free
    }
    expect(Operations.getReservation.read(Json.stringify(row))).toEqual(Result.succeed(read))
    const commit = { idempotencyKey: "k", actual: Amount.tokens(1), metrics: { custom: free }, metadata: free, more: 1 }
    expect(Result.map(Operations.commit.encode(commit), Json.stringify)).toEqual(
      Result.succeed(
        Json.stringify({
          idempotency_key: "k",
          actual: { unit: "TOKENS", amount: 1 },
          metrics: { custom: free },
          metadata: free
        })
      )
    )
    const refusal = { error: "NEW", details: free }
    expect(ErrorResponse.read(Json.stringify(refusal))).toEqual(Result.succeed(refusal))
  })
}
