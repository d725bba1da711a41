import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Leases from "../src/Leases.ts"
import { extent, shapes } from "./support.ts"

describe("Leases", () => {
  describe("run", () => {
    it.live(
      "measures heap, idle leases and extensions",
      () =>
        Effect.map(Leases.run({ rounds: extent.rounds, leases: 200, seconds: 1 }), (sections) => {
          const [heap, idle, extensions] = shapes(sections)
          // A few calls can take less heap than the garbage collector frees.
          expect(heap?.[0]).toBe(2)
          expect(idle).toEqual([3, true])
          expect(extensions).toEqual([2, true])
        }),
      60_000
    )
  })
})
