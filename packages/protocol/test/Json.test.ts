import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { Json } from "@effect-cycles/protocol"

describe("Json", () => {
  it("reads integers that a number can't hold as bigint, and all else as JSON.parse does", () => {
    expect(
      Json.parse('{"a":9007199254740993,"b":[1,-9223372036854775808],"c":"9007199254740993","d":0.1234567890123456}')
    ).toEqual({
      a: 9_007_199_254_740_993n,
      b: [1, -9_223_372_036_854_775_808n],
      c: "9007199254740993",
      d: 0.1234567890123456
    })
  })

  it("throws a SyntaxError on what is no JSON", () => {
    expect(() => Json.parse("<html>")).toThrow(SyntaxError)
  })

  it("treats null in an answer as absent, but not in what is the user's, signed, or free", () => {
    expect(
      Json.parseAnswer(
        '{"a":null,"b":{"c":null,"d":1},"list":[null],"metadata":{"x":null},"payload":{"y":null},"details":{"z":null}}'
      )
    ).toEqual({ b: { d: 1 }, list: [null], metadata: { x: null }, payload: { y: null }, details: { z: null } })
  })

  it("refuses a cycle", () => {
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    expect(() => Json.stringify(cycle)).toThrow(TypeError)
  })

  it.prop(
    "writes back what it has read, digit by digit",
    { digits: Schema.BigInt, text: Schema.String },
    ({ digits, text }) => {
      const json = `{"n":${digits},"s":${JSON.stringify(text)}}`
      expect(Json.stringify(Json.parse(json))).toBe(json)
    }
  )
})
