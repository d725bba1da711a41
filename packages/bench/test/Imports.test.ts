import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Imports from "../src/Imports.ts"
import { extent, shapes } from "./support.ts"

describe("Imports", () => {
  describe("run", () => {
    it.live(
      "measures a new process for each row",
      () => Effect.map(Imports.run(extent), (sections) => expect(shapes(sections)).toEqual([[6, true]])),
      60_000
    )
  })
})
