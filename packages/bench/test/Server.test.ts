import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Server from "../src/Server.ts"
import { extent, shapes } from "./support.ts"

describe("Server", () => {
  describe("run", () => {
    it.live(
      "measures both stores at each number of past reservations",
      () =>
        Effect.map(Server.run({ ...extent, concurrency: 2, past: [4, 20] }), (sections) =>
          expect(shapes(sections)).toEqual([
            [3, true],
            [3, true]
          ])
        ),
      60_000
    )
  })
})
