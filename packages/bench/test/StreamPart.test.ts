import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as StreamPart from "../src/StreamPart.ts"
import { extent, measured } from "./support.ts"

describe("StreamPart", () => {
  describe("run", () => {
    it.live(
      "measures each row side by side",
      () =>
        Effect.gen(function* () {
          const [section] = yield* StreamPart.run(extent)
          expect(section?.rows.length).toBe(4)
          expect(measured(section?.rows ?? [])).toBe(true)
        }),
      60_000
    )
  })
})
