import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as StreamPart from "../src/StreamPart.ts"
import { extent, shapes } from "./support.ts"

describe("StreamPart", () => {
  describe("run", () => {
    it.live(
      "measures each row side by side",
      () => Effect.map(StreamPart.run(extent), (sections) => expect(shapes(sections)).toEqual([[7, true]])),
      60_000
    )
  })
})
