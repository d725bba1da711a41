/** The laws of trees of runs in shadow mode, and while the server is away. `support/runTrees.ts` has the programs. */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { CyclesConfig, Run } from "effect-cycles"
import { books, operations } from "./support/live.ts"
import { outcomeOf } from "./support/outcomes.ts"
import { rich } from "./support/runs.ts"
import * as Trees from "./support/runTrees.ts"

const retry = CyclesConfig.retryPolicy({ jitter: false })

/** The denials of all runs of a tree. */
const denialsOf = (summary: Run.Summary) => Trees.all(summary).map(({ denials }) => denials)

/** Expects that a call ended as its body does without a guard, or was interrupted by the story. */
const expectOwnEnd = (
  call: (typeof Trees.Call)["Type"],
  exit: Exit.Exit<unknown, unknown> | undefined,
  ...others: ReadonlyArray<string>
) => {
  const mayBeInterrupted = call.interruptedAfter !== 10_000 && call.kind !== "event"
  const end = call.kind === "event" ? "success" : Trees.endNameOf(call.ends)
  expect([end, ...(mayBeInterrupted ? ["interrupt"] : []), ...others]).toContain(outcomeOf(exit))
}

describe("trees of runs in shadow mode", () => {
  it.effect.prop(
    "return the result of each body, hold nothing in the end, and charge nothing",
    { story: Trees.OutageStory },
    ({ story }) =>
      Effect.gen(function* () {
        let planted: ReadonlyArray<number> | undefined
        const played = yield* Trees.play(story, (root) => {
          planted ??= denialsOf(root)
        })
        story.calls.forEach((call, i) => expectOwnEnd(call, played.exits[i]))
        const summary = yield* played.root.run.summary
        Trees.expectEnded(summary)
        // A carved budget that doesn't fit is denied, because no client takes part in it. No call is.
        expect(denialsOf(summary)).toEqual(planted)
        for (const { uncertain } of Trees.all(summary)) expect(uncertain).toBe(0)
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
        expect(yield* (yield* CyclesServer.CyclesServer).reservations).toEqual([])
        expect((yield* operations).every((operation) => operation === "reserve")).toBe(true)
      }).pipe(Effect.provide(rich({ mode: "shadow", retry }))),
    { arbitrary: { runs: Trees.trees(60) }, timeout: Trees.timeout }
  )

  it.effect.prop(
    "spend in no branch more than it inherited, if calls stay within their estimates",
    { story: Trees.OutageStory },
    ({ story }) =>
      Trees.play({ ...story, calls: Trees.withinEstimates(story.calls) }, Trees.expectWithinBudgets).pipe(
        Effect.provide(rich({ mode: "shadow", retry }))
      ),
    { arbitrary: { runs: Trees.trees(60) }, timeout: Trees.timeout }
  )

  it.effect.prop(
    "count in each run the calls that enforcement denies, one after the other",
    { nodes: Trees.Story.fields.nodes, calls: Schema.Array(Trees.Call).check(Schema.isMaxLength(20)) },
    ({ calls, nodes }) =>
      Effect.gen(function* () {
        const program = Effect.gen(function* () {
          const members = yield* Trees.plant(nodes)
          const spent: Array<ReadonlyArray<number>> = []
          const planted: Array<number> = []
          for (const { run } of members) planted.push((yield* run.summary).denials)
          for (const [index, call] of calls.entries()) {
            const member = members[call.run % members.length]
            if (member === undefined) throw new Error("a story without a run")
            // A nested call that is denied changes what the call around it spends. A stream that has no room is cut.
            const kind = call.kind === "nested" || call.kind === "stream" ? "reserve" : call.kind
            const ends = call.ends === "never" ? "well" : call.ends
            yield* Effect.exit(
              Run.within(
                Trees.programOf({ ...call, kind, ends }, () => {}),
                member.run
              )
            )
            if (member.endsAfter === 5 && index === 5) yield* Scope.close(member.scope, Exit.void)
            spent.push(
              yield* Effect.forEach(members, ({ run }) => Effect.map(run.spent("TOKENS"), (s) => Number(s.amount)))
            )
          }
          const summaries = yield* Effect.forEach(members, ({ run }) => run.summary)
          for (const { scope } of members) yield* Scope.close(scope, Exit.void)
          return {
            spent,
            calls: summaries.map(({ calls }) => calls),
            denied: summaries.map(({ denials }, i) => denials - (planted[i] ?? 0)),
            wouldDeny: summaries.map(({ wouldDeny }) => wouldDeny)
          }
        })
        const enforced = yield* Effect.provide(program, rich())
        const shadow = yield* Effect.provide(program, rich({ mode: "shadow" }))
        expect(shadow).toEqual({ ...enforced, denied: enforced.wouldDeny, wouldDeny: enforced.denied })
      }),
    { arbitrary: { runs: Trees.trees(60) }, timeout: Trees.timeout }
  )
})

describe('trees of runs with onUnreachable: "allow"', () => {
  const client = { onUnreachable: "allow", retry } as const

  it.effect.prop(
    "run without a server within their budgets, and are charged once afterwards",
    { story: Trees.Story },
    ({ story: { calls, nodes } }) =>
      Effect.gen(function* () {
        yield* CyclesTest.always("any", Fault.connectionRefused)
        const played = yield* Trees.play({ calls, nodes }, undefined, CyclesTest.clearFaults())
        expect(played.flushed).toEqual({ isComplete: true, pending: 0 })
        const summary = yield* played.root.run.summary
        Trees.expectCharged(summary, played.members)
        expect(yield* books).toEqual({ spent: Trees.bookOf(summary).charged, reserved: 0 })
        // Only a run denies a call.
        calls.forEach((call, i) => {
          const exit = played.exits[i]
          // An event isn't a guarded call: it is retried, and fails in the end.
          expectOwnEnd(call, exit, call.kind === "event" ? "TransportError" : "BudgetExceeded")
        })
      }).pipe(Effect.provide(rich(client))),
    { arbitrary: { runs: Trees.trees(60) }, timeout: Trees.timeout }
  )

  it.effect.prop(
    "are charged once if the server is away now and then",
    { story: Trees.OutageStory },
    ({ story }) =>
      Effect.gen(function* () {
        // An event that fails may have been charged: its caller repeats it with the same key.
        const calls = story.calls.map((call) => (call.kind === "event" ? { ...call, kind: "effect" as const } : call))
        const played = yield* Trees.play({ ...story, calls }, undefined, CyclesTest.clearFaults())
        expect(played.flushed).toEqual({ isComplete: true, pending: 0 })
        const summary = yield* played.root.run.summary
        Trees.expectCharged(summary, played.members)
        expect(yield* books).toEqual({ spent: Trees.bookOf(summary).charged, reserved: 0 })
        calls.forEach((call, i) => expectOwnEnd(call, played.exits[i], "BudgetExceeded"))
      }).pipe(Effect.provide(rich(client))),
    { arbitrary: { runs: Trees.trees(60) }, timeout: Trees.timeout }
  )

  it.effect.prop(
    "spend in no branch more than it inherited, if calls stay within their estimates",
    { story: Trees.OutageStory },
    ({ story }) =>
      Trees.play(
        { ...story, calls: Trees.withinEstimates(story.calls) },
        Trees.expectWithinBudgets,
        CyclesTest.clearFaults()
      ).pipe(Effect.provide(rich(client))),
    { arbitrary: { runs: Trees.trees(60) }, timeout: Trees.timeout }
  )
})
