/**
 * The functions that rename messages, interpreted and generated, return the same values as the schemas.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import {
  Amount,
  Balance,
  Compiler,
  ErrorResponse,
  Json,
  Limits,
  Operations,
  Reservation,
  Subject
} from "@effect-cycles/protocol"
import { camelCase, snakeCase, struct } from "../src/internal/fieldNames.ts"
import * as Renaming from "../src/internal/renaming.ts"
import { reservation } from "./support/reservation.ts"

const operations = Object.values(Operations.all)

const responses: ReadonlyArray<readonly [string, Schema.Codec<object, object>]> = [
  ...operations.map(({ name, response }) => [name, response] as const),
  ["refusal", ErrorResponse.ErrorResponse]
]

/** A subject with a tenant: small samples have no optional fields, and a subject needs at least one. */
const subject = Schema.Struct({
  ...Subject.Subject.fields,
  tenant: Schema.String.check(Schema.isPattern(Limits.subjectPattern), Schema.isMaxLength(Limits.maxSubjectValue))
})

/** The requests and queries, with a schema that generates samples. */
const requests: ReadonlyArray<
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

/** The function for a schema, interpreted and generated. */
const bothOf = <A, B>(derive: () => ((value: A) => B) | undefined, value: A): ReadonlyArray<B | undefined> => {
  const interpreted = derive()
  const first = interpreted?.(value)
  // From here on functions are generated on their first use; the one above stays interpreted.
  Compiler.enable()
  return [first, interpreted?.(value), derive()?.(value)]
}

/** A value as it is on the wire: without fields that are `undefined`, in any order. */
const sent = (value: unknown): unknown => Json.parse(Json.stringify(value))

describe("field names", () => {
  it.each([
    ["reservationId", "reservation_id"],
    ["expiresAtMs", "expires_at_ms"],
    ["status", "status"],
    ["isOverLimit", "is_over_limit"]
  ])("%s is %s on the wire", (name, wire) => {
    expect([snakeCase(name), camelCase(wire)]).toEqual([wire, name])
  })

  it("are derived from the camelCase names in every message", () => {
    const names: Array<readonly [program: string, wire: string]> = []
    const walk = (ast: SchemaAST.AST): void => {
      if (SchemaAST.isObjects(ast)) {
        const wire = ast.encoding?.[0].to ?? ast
        ast.propertySignatures.forEach((field, i) => {
          names.push([String(field.name), String(SchemaAST.isObjects(wire) && wire.propertySignatures[i]?.name)])
          walk(field.type)
        })
      }
      if (SchemaAST.isArrays(ast)) ast.rest.forEach(walk)
      if (SchemaAST.isUnion(ast)) ast.types.forEach(walk)
    }
    for (const [, { ast }] of [...responses, ...requests]) walk(ast)
    expect(names.length).toBeGreaterThan(150)
    for (const [program, wire] of names) {
      expect([program, wire]).toEqual([program, snakeCase(program)])
      // Signed documents keep the names of the wire.
      if (!program.includes("_")) expect(camelCase(wire)).toBe(program)
    }
  })
})

describe("renaming functions", () => {
  it("exist for every message", () => {
    const withRequest = operations.filter((operation) => "encode" in operation)
    expect(requests.map(([name]) => name).toSorted()).toEqual(withRequest.map(({ name }) => name).toSorted())
    for (const [name, schema] of responses) expect([name, typeof Renaming.reading(schema)]).toEqual([name, "function"])
    for (const [name, schema] of requests) expect([name, typeof Renaming.writing(schema)]).toEqual([name, "function"])
  })

  describe.each(responses)("response to %s", (name, schema) => {
    const decode = Schema.decodeUnknownResult(schema)

    it.prop("returns the same value as the schema", { wire: Schema.toEncoded(schema) }, ({ wire }) => {
      const expected = Result.getOrThrow(decode(wire))
      for (const read of bothOf(() => Renaming.reading(schema), wire)) expect(read).toEqual(expected)
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
      for (const written of bothOf(() => Renaming.writing(schema), value)) expect(sent(written)).toEqual(sent(wire))
      const again = Schema.decodeUnknownSync(schema)(sent(wire))
      expect(sent(Schema.encodeSync(schema)(again))).toEqual(sent(wire))
    })
  })

  describe.each(requests)("request of %s", (name, schema, samples) => {
    it.prop("writes the same JSON as the schema", { value: Schema.toType(samples) }, ({ value }) => {
      const wire = sent(Result.getOrThrow(Schema.encodeUnknownResult(schema)(value)))
      for (const written of bothOf(() => Renaming.writing(schema), value)) expect(sent(written)).toEqual(wire)
      const operation = operations.find((operation) => operation.name === name)
      expect(operation !== undefined && "encode" in operation && Result.map(operation.encode(value), sent)).toEqual(
        Result.succeed(wire)
      )
    })
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

  it("are interpreted if code generation isn't allowed", () => {
    Compiler.enable()
    const real = globalThis.Function
    let attempts = 0
    const forbid = () => {
      attempts += 1
      throw new EvalError("Code generation from strings disallowed for this context")
    }
    Reflect.set(globalThis, "Function", forbid)
    try {
      const read = Renaming.reading(Reservation.ExtendResponse)
      expect(read?.({ status: "ACTIVE", expires_at_ms: 2n ** 60n })).toEqual({
        status: "ACTIVE",
        expiresAtMs: Number.MAX_SAFE_INTEGER
      })
      expect(attempts).toBe(1)
    } finally {
      Reflect.set(globalThis, "Function", real)
    }
  })

  it.each<readonly [string, Schema.Codec<unknown, unknown>]>([
    ["a name that isn't derived", Schema.Struct({ a: Schema.String }).pipe(Schema.encodeKeys({ a: "b" }))],
    ["a transformation that isn't registered", struct({ aB: Schema.FiniteFromString })],
    ["a check that the encoded side doesn't make", struct({ aB: Amount.Sendable })],
    ["a choice between two shapes", struct({ aB: Schema.Union([Reservation.CommitResponse, Schema.String]) })],
    ["a check of the whole struct", struct({ aB: Schema.String }).check(Schema.makeFilter(() => false))]
  ])("don't exist for %s", (_what, schema) => {
    expect(Renaming.reading(schema)).toBeUndefined()
  })

  it("fail instead of throwing if a getter or a proxy throws", () => {
    const dies = {
      get idempotencyKey(): string {
        throw new Error("a getter")
      }
    }
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    for (const input of [dies, proxy, { idempotencyKey: "k", actual: Amount.tokens(1), metadata: proxy }]) {
      expect(Result.isFailure(Operations.commit.encode(input))).toBe(true)
    }
  })
})
