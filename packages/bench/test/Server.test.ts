import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Server from "../src/Server.ts"
import { extent, measured } from "./support.ts"

describe("Server", () => {
  describe("run", () => {
    it.live(
      "measures both stores, and their cost as the ledger grows",
      () =>
        Effect.map(Server.run({ ...extent, past: [4, 20] }), (sections) => {
          expect(sections.map(({ rows }) => [rows.length, measured(rows)])).toEqual([
            [3, true],
            [2, true],
            [2, true]
          ])
        }),
      60_000
    )
  })
})
