import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Settlement } from "effect-cycles"
import { trusted } from "../src/internal/settlement/trusted.ts"

describe("trusted", () => {
  it.effect.prop(
    "makes the settlement that the constructor makes",
    { committed: Settlement.Committed, released: Settlement.Released, rejected: Settlement.Rejected },
    ({ committed, rejected, released }) =>
      Effect.sync(() => {
        const made = [
          trusted(Settlement.Committed, { ...committed }),
          trusted(Settlement.Released, { ...released }),
          trusted(Settlement.Rejected, { ...rejected })
        ]
        expect(made).toStrictEqual([committed, released, rejected])
        expect(made.every(Schema.is(Settlement.Settlement))).toBe(true)
        expect(made.map(Settlement.format)).toEqual([committed, released, rejected].map(Settlement.format))
      })
  )
})
