import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Lifecycle from "../src/Lifecycle.ts"
import { extent, measured } from "./support.ts"

describe("Lifecycle", () => {
  describe("run", () => {
    it.live(
      "measures the client on both stubs",
      () =>
        Effect.map(Lifecycle.run(extent), (sections) => {
          expect(sections.map(({ rows }) => [rows.length, measured(rows)])).toEqual([
            [4, true],
            [4, true]
          ])
        }),
      60_000
    )
  })
})
