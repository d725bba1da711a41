/**
 * After `enable`, the generated functions return the same values as the schemas.
 */
import { describe, expect, it } from "@effect/vitest"
import { Compiler, Reservation } from "@effect-cycles/protocol"
import * as Renaming from "../src/internal/renaming.ts"
import { attemptsToGenerate, laws } from "./support/renaming.ts"

Compiler.enable()

describe("enable", () => {
  laws()

  it("generates code, and interprets messages if code generation isn't allowed", () => {
    const attempts = attemptsToGenerate(() => {
      const read = Renaming.reading(Reservation.ExtendResponse)
      expect(read?.({ status: "ACTIVE", expires_at_ms: 2n ** 60n })).toEqual({
        status: "ACTIVE",
        expiresAtMs: Number.MAX_SAFE_INTEGER
      })
    })
    expect(attempts).toBe(1)
  })
})
