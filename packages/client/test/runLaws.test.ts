/** The laws of trees of runs: see `support/runTrees.ts` for the programs. */
import { CyclesServer } from "@effect-cycles/server"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Run } from "effect-cycles"
import { rich } from "./support/runs.ts"
import {
  all,
  bookOf,
  chargedByLines,
  expectCharged,
  play,
  Story,
  expectWithinBudgets,
  trees,
  turnsPlayed,
  withinEstimates,
  timeout
} from "./support/runTrees.ts"

it.effect.prop(
  "the sum over a tree of runs and over its lines is the amount that the server charged, and nothing stays held",
  { story: Story },
  ({ story }) =>
    Effect.gen(function* () {
      const played = yield* play(story)
      const summary = yield* played.root.run.summary
      expectCharged(summary, played.members)
      const { reserved, spent } = yield* (yield* CyclesServer.CyclesServer).books("TOKENS")
      expect({ reserved: Number(reserved), spent: Number(spent) }).toEqual({
        reserved: 0,
        spent: bookOf(summary).charged
      })
    }).pipe(Effect.provide(rich())),
  { arbitrary: { runs: trees(300) }, timeout }
)

it.effect.prop(
  "a tree that is restored from a snapshot has spent its earlier spend and the estimates of its open calls",
  { story: Story },
  ({ story }) =>
    Effect.gen(function* () {
      const { snapshots } = yield* play(story)
      for (const { snapshot, summary } of snapshots) {
        const run = yield* Run.make({ restore: JSON.parse(JSON.stringify(snapshot)), parent: "none" })
        const restored = yield* run.summary
        for (const one of all(restored)) expect(chargedByLines(one)).toBe(bookOf(one).charged)
        expect(all(restored).map(({ id }) => id)).toEqual(all(summary).map(({ id }) => id))
        all(restored).forEach((one, index) => {
          const before = all(summary)[index]
          if (before === undefined) throw new Error("a run that isn't in the summary")
          const { charged, held } = bookOf(before)
          expect(bookOf(one).charged).toBeGreaterThanOrEqual(charged)
          expect(bookOf(one).charged).toBeLessThanOrEqual(charged + held)
          // Without children, nothing is held for carved budgets.
          if (one.children.length === 0) expect(bookOf(one).charged).toBe(charged + held)
        })
      }
    }).pipe(Effect.scoped, Effect.provide(rich())),
  { arbitrary: { runs: trees(100) }, timeout }
)

it.effect.prop(
  "no branch spends more than it inherited at any time, if calls stay within their estimates",
  { story: Story },
  ({ story }) =>
    Effect.gen(function* () {
      let turnsChecked = 0
      yield* play({ ...story, calls: withinEstimates(story.calls) }, (root, members) => {
        turnsChecked += 1
        expectWithinBudgets(root, members)
      })
      expect(turnsChecked).toBe(turnsPlayed + 1)
    }).pipe(Effect.provide(rich())),
  { arbitrary: { runs: trees(300) }, timeout }
)
