import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { runProgram } from "../src/internal/program.ts"

describe("recovery-adapter", () => {
  it.live.each([
    ["invalid JSON", "CR-CORE-001", "{ invalid"],
    ["an empty input", "CR-CORE-001", ""],
    ["another scenario", "CR-CORE-001", '{"id":"CR-CORE-002"}'],
    ["the expected requests", "CR-CORE-001", '{"id":"CR-CORE-001","expected_requests":[]}'],
    ["an unknown id", "CR-CORE-999", '{"id":"CR-CORE-999"}'],
    ["the name of a method", "toString", '{"id":"toString"}'],
    ["the name of a constructor", "constructor", '{"id":"constructor"}'],
    ["the name of a prototype", "__proto__", '{"id":"__proto__"}']
  ] as const)("exits with 2 and prints nothing when it is given %s", ([, id, input]) =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* runProgram("recovery-adapter", [id], input)
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" })
      expect(stderr.trim().split("\n").length).toBe(1)
    })
  )
})
