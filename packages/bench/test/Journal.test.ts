import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Journal from "../src/Journal.ts"
import { extent, shapes } from "./support.ts"

describe("Journal", () => {
  describe("run", () => {
    it.live(
      "measures writes for each concurrency, and a replay",
      () =>
        Effect.map(Journal.run({ ...extent, concurrency: [1, 2], records: 4 }), (sections) =>
          expect(shapes(sections)).toEqual([
            [2, true],
            [2, true],
            [2, true]
          ])
        ),
      60_000
    )
  })
})
