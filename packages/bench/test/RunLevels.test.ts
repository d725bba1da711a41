import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as RunLevels from "../src/RunLevels.ts"
import { extent, shapes } from "./support.ts"

describe("RunLevels", () => {
  describe("run", () => {
    it.live(
      "measures each row side by side",
      () => Effect.map(RunLevels.run(extent), (sections) => expect(shapes(sections)).toEqual([[4, true]])),
      60_000
    )
  })
})
