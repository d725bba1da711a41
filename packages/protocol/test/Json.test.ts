import { describe, expect, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Amount, ErrorResponse, Json, Operations } from "@effect-cycles/protocol"
import { reservation } from "./support/reservation.ts"

describe("Json", () => {
  it("parses integers above 2^53-1 as bigint, and everything else as JSON.parse does", () => {
    expect(
      Json.parse('{"a":9007199254740993,"b":[1,-9223372036854775808],"c":"9007199254740993","d":0.1234567890123456}')
    ).toEqual({
      a: 9_007_199_254_740_993n,
      b: [1, -9_223_372_036_854_775_808n],
      c: "9007199254740993",
      d: 0.1234567890123456
    })
  })

  it("throws a SyntaxError if the text isn't JSON", () => {
    expect(() => Json.parse("<html>")).toThrow(SyntaxError)
  })

  it("drops null fields of a response, except in user data and signed or free-form data", () => {
    expect(
      Json.parseAnswer(
        '{"a":null,"b":{"c":null,"d":1},"list":[null],"metadata":{"x":null},"payload":{"y":null},"details":{"z":null}}'
      )
    ).toEqual({ b: { d: 1 }, list: [null], metadata: { x: null }, payload: { y: null }, details: { z: null } })
  })

  it("parses __proto__ as an ordinary field", () => {
    const read = Json.parseAnswer('{"a":null,"__proto__":{"b":1}}')
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype)
    expect(Object.entries(Object(read))).toEqual([["__proto__", { b: 1 }]])
  })

  it("throws a TypeError for a cyclic value", () => {
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    expect(() => Json.stringify(cycle)).toThrow(TypeError)
  })

  describe("stringify, with toJSON on a built-in prototype", () => {
    const value = () => ({
      amount: 2n ** 60n,
      small: 1n,
      list: [2n ** 61n, "x", undefined, Number.NaN],
      gone: undefined,
      at: new Date(0),
      own: { toJSON: () => ({ n: 2n ** 62n }) },
      field: { toJSON: "a field" }
    })
    const written = `{"amount":${2n ** 60n},"small":1,"list":[${2n ** 61n},"x",null,null],"at":"1970-01-01T00:00:00.000Z","own":{"n":${2n ** 62n}},"field":{"toJSON":"a field"}}`

    /** Defines `toJSON` on a prototype, as libraries do, while a test runs. */
    const defining = (prototype: object, toJson: (this: unknown) => unknown, run: () => void) => {
      Object.defineProperty(prototype, "toJSON", { value: toJson, configurable: true, writable: true })
      try {
        run()
      } finally {
        Reflect.deleteProperty(prototype, "toJSON")
      }
    }
    const asText = function (this: unknown) {
      return String(this)
    }
    const dying = () => {
      throw new Error("not to be called")
    }

    it("writes the expected text without any toJSON", () => {
      expect(Json.stringify(value())).toBe(written)
    })

    it.each([
      ["BigInt", BigInt.prototype, asText],
      ["BigInt", BigInt.prototype, dying],
      ["Array", Array.prototype, asText],
      ["Object", Object.prototype, asText],
      ["Object", Object.prototype, dying]
    ])("writes the same text despite %s.prototype.toJSON", (_name, prototype, toJson) => {
      const given = value()
      defining(prototype, toJson, () => {
        const texts = [Json.stringify(given), Json.stringify(5n), Json.stringify([])]
        const cycle: { self?: unknown } = {}
        cycle.self = [cycle]
        expect(() => Json.stringify(cycle)).toThrow(TypeError)
        Reflect.deleteProperty(prototype, "toJSON")
        expect(texts).toEqual([written, "5", "[]"])
      })
    })

    it("writes amounts and user data as digits despite BigInt.prototype.toJSON", () => {
      const request = {
        idempotencyKey: "k",
        actual: Amount.tokens(2n ** 60n),
        metrics: { custom: { n: 2n ** 61n } },
        metadata: { deep: [{ n: 2n ** 62n }] }
      }
      defining(BigInt.prototype, asText, () => {
        expect(Json.stringify(Result.getOrThrow(Operations.commit.encode(request)))).toBe(
          `{"idempotency_key":"k","actual":{"unit":"TOKENS","amount":${2n ** 60n}},"metrics":{"custom":{"n":${2n ** 61n}}},"metadata":{"deep":[{"n":${2n ** 62n}}]}}`
        )
      })
    })
  })

  it("keeps the digits of integers in user data in both directions", () => {
    const row = {
      ...reservation,
      metadata: { order: 2n ** 60n + 1n, list: [-(2n ** 61n)] },
      committed_metadata: { huge: 2n ** 70n }
    }
    const detail = Result.getOrThrow(Operations.getReservation.read(Json.stringify(row)))
    expect([detail.metadata, detail.committedMetadata]).toEqual([row.metadata, row.committed_metadata])
    const request = { idempotencyKey: "k", actual: Amount.tokens(1), metadata: detail.metadata }
    expect(Json.stringify(Result.getOrThrow(Operations.commit.encode(request)))).toContain(
      `"metadata":{"order":1152921504606846977,"list":[-2305843009213693952]}`
    )
    const refused = `{"error":"NEW","details":{"n":9007199254740993}}`
    expect(Result.getOrThrow(ErrorResponse.read(refused)).details).toEqual({ n: 9_007_199_254_740_993n })
  })

  it.prop(
    "stringify(parse(text)) returns the same text, digit by digit",
    { digits: Schema.BigInt, text: Schema.String },
    ({ digits, text }) => {
      const json = `{"n":${digits},"s":${JSON.stringify(text)}}`
      expect(Json.stringify(Json.parse(json))).toBe(json)
    }
  )
})
