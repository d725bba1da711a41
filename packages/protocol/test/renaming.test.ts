/**
 * The functions that rename messages, interpreted, return the same values as the schemas.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { Amount, Operations, Reservation } from "@effect-cycles/protocol"
import { camelCase, snakeCase, struct } from "../src/internal/fieldNames.ts"
import * as Renaming from "../src/internal/renaming.ts"
import { attemptsToGenerate, laws, operations, requests, responses } from "./support/renaming.ts"

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

  it("generate no code without Compiler.enable", () => {
    const attempts = attemptsToGenerate(() => {
      expect(Renaming.reading(Reservation.ExtendResponse)?.({ status: "ACTIVE", expires_at_ms: 2 })).toEqual({
        status: "ACTIVE",
        expiresAtMs: 2
      })
    })
    expect(attempts).toBe(0)
  })

  laws()

  it.each<readonly [string, Schema.Codec<unknown, unknown>]>([
    ["a name that isn't derived", Schema.Struct({ a: Schema.String }).pipe(Schema.encodeKeys({ a: "b" }))],
    ["a transformation that isn't registered", struct({ aB: Schema.FiniteFromString })],
    ["a choice between two shapes", struct({ aB: Schema.Union([Reservation.CommitResponse, Schema.String]) })],
    ["a check of the whole struct", struct({ aB: Schema.String }).check(Schema.makeFilter(() => false))]
  ])("don't exist for %s", (_what, schema) => {
    expect(Renaming.reading(schema)).toBeUndefined()
  })

  it("return nothing for a value that fails a check which the encoded side doesn't make", () => {
    const read = Renaming.reading(struct({ aB: Amount.Sendable }))
    expect(read?.({ a_b: { unit: "TOKENS", amount: 1 } })).toEqual({ aB: Amount.tokens(1) })
    expect(read?.({ a_b: { unit: "EUR", amount: 1 } })).toBeUndefined()
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
