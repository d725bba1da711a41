import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Lifecycle from "../src/Lifecycle.ts"
import { extent, shapes } from "./support.ts"

describe("Lifecycle", () => {
  describe("run", () => {
    it.live(
      "measures the client on both stubs, for each number of concurrent calls",
      () =>
        Effect.map(Lifecycle.run({ ...extent, concurrency: [1, 2] }), (sections) =>
          expect(shapes(sections)).toEqual(Array.from({ length: 4 }, () => [5, true]))
        ),
      60_000
    )
  })
})
