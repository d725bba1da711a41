import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as StreamElement from "../src/StreamElement.ts"
import { extent, shapes } from "./support.ts"

describe("StreamElement", () => {
  describe("run", () => {
    it.live(
      "measures each row side by side",
      () => Effect.map(StreamElement.run(extent), (sections) => expect(shapes(sections)).toEqual([[5, true]])),
      60_000
    )
  })
})
