/**
 * Random programs in shadow mode and while the server is away: calls that succeed, fail, die, hang and are interrupted,
 * over a server with faults.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, CyclesConfig, Reservation, Run } from "effect-cycles"
import type { Settlement } from "effect-cycles"
import { action, books, live, operations, tokens } from "./support/live.ts"
import { outcomeOf } from "./support/outcomes.ts"
import { below, chunks, endNameOf, endOf, Ends, turns } from "./support/runTrees.ts"

const Call = Schema.Struct({
  kind: Schema.Literals(["effect", "stream", "reserve", "nested"]),
  estimate: Schema.Literals([0, 10, 50, 100]),
  /** The spend, in percent of the estimate. */
  percent: Schema.Literals([0, 30, 100, 150]),
  ends: Ends,
  isLate: Schema.Boolean,
  hasKey: Schema.Boolean,
  startsAfter: below(30),
  turns: below(10),
  interruptedAfter: Schema.Literals([3, 10, 30, 10_000]),
  onFailure: Schema.Literals(["partial", "estimate", "release"]),
  onCrash: Schema.Literals(["expire", "recorded", "estimate"]),
  settle: Schema.Literals(["attempt", "background", "wait"])
})

const faults = {
  none: Fault.none,
  denied: Fault.denied,
  refused: Fault.connectionRefused,
  "request lost": Fault.requestLost,
  "response lost": Fault.responseLost,
  hangs: Fault.noResponse,
  failed: Fault.status(503),
  broken: Fault.error(500, "INTERNAL_ERROR"),
  garbage: Fault.response({ body: "<html></html>" }),
  unauthorized: Fault.error(401, "UNAUTHORIZED"),
  throttled: Fault.error(429, "LIMIT_EXCEEDED")
} as const

const outages = ["none", "refused", "request lost", "response lost", "hangs", "failed", "broken"] as const

const Story = Schema.Struct({
  budget: Schema.UndefinedOr(Schema.Literals([0, 100, 300])),
  calls: Schema.Array(Call).check(Schema.isMinLength(1), Schema.isMaxLength(8)),
  onReserve: Schema.Array(Schema.Literals(["none", "denied", "garbage", "unauthorized", "throttled", ...outages])),
  onEvent: Schema.Array(Schema.Literals(outages))
})

/** The guarded program of a call. `charge` is called with the spend of its settlement, and with late spend. */
const programOf = (
  call: typeof Call.Type,
  charge: (amount: number) => void,
  id: number
): Effect.Effect<void, unknown, Cycles.Cycles> => {
  const actual = tokens(Math.floor((call.estimate * call.percent) / 100))
  let settled: number | undefined
  const options = {
    action,
    estimate: tokens(call.estimate),
    onFailure: call.onFailure,
    onCrash: call.onCrash,
    settle: call.settle,
    ...(call.hasKey ? { idempotencyKey: `job-${id}` } : {}),
    onSettled: (settlement: Settlement.Settlement) =>
      Effect.sync(() => {
        settled = "actual" in settlement ? Number(settlement.actual.amount) : 0
        charge(settled)
      })
  }
  /** Records 200 a minute after the end. The part above the settled amount is charged. */
  const late = (reservation: Reservation.Reservation) =>
    Effect.forkDetach(
      Effect.delay(
        Effect.andThen(
          reservation.record({ actual: tokens(200) }),
          Effect.sync(() => charge(settled === undefined ? 0 : 200 - settled))
        ),
        "1 minute"
      )
    )
  const body = Effect.gen(function* () {
    const reservation = yield* Reservation.Reservation
    yield* turns(call.turns)
    yield* reservation.record({ actual })
    if (call.isLate) yield* late(reservation)
    yield* endOf(call.ends)
  })
  switch (call.kind) {
    case "effect":
      return Cycles.withCycles(body, options)
    case "nested":
      return Cycles.withCycles(Cycles.withCycles(body, options), {
        action,
        estimate: tokens(1),
        onSettled: (settlement) =>
          Effect.sync(() => charge("actual" in settlement ? Number(settlement.actual.amount) : 0))
      })
    case "reserve":
      return Effect.scoped(
        Effect.gen(function* () {
          const reservation = yield* Cycles.reserve(options)
          yield* turns(call.turns)
          yield* reservation.record({ actual })
          yield* endOf(call.ends)
        })
      )
    case "stream":
      return chunks(call.turns, call.ends).pipe(
        Cycles.withCyclesStream({ ...options, usage: () => tokens(Number(actual.amount)) }),
        Stream.runDrain
      )
  }
}

/** Runs a story to its end, and returns the exits of its calls. */
const play = (story: typeof Story.Type, charge: (amount: number) => void) =>
  Effect.gen(function* () {
    yield* CyclesTest.inject("reserve", Fault.none, ...story.onReserve.map((name) => faults[name]))
    yield* CyclesTest.inject("event", Fault.none, ...story.onEvent.map((name) => faults[name]))
    const run = yield* Run.make({ budget: story.budget === undefined ? [] : tokens(story.budget) })
    const fibers: Array<readonly [fiber: Fiber.Fiber<unknown, unknown>, after: number]> = []
    for (const [id, call] of story.calls.entries()) {
      const program = Effect.andThen(turns(call.startsAfter), programOf(call, charge, id))
      fibers.push([yield* Effect.forkChild(Run.within(program, run)), call.startsAfter + call.interruptedAfter])
    }
    const interrupted: Array<Fiber.Fiber<unknown, unknown>> = []
    for (let turn = 0; turn < 120; turn++) {
      yield* Effect.yieldNow
      for (const [fiber, after] of fibers) {
        if (after === turn) interrupted.push(yield* Effect.forkChild(Fiber.interrupt(fiber)))
      }
    }
    yield* TestClock.adjust("1 minute")
    for (const [fiber] of fibers) interrupted.push(yield* Effect.forkChild(Fiber.interrupt(fiber)))
    yield* TestClock.adjust("2 hours")
    yield* Effect.forEach(interrupted, Fiber.await)
    yield* CyclesTest.clearFaults()
    yield* TestClock.adjust("10 minutes")
    expect(yield* Cycles.flush()).toEqual({ isComplete: true, pending: 0 })
    return { exits: yield* Effect.forEach(fibers, ([fiber]) => Fiber.await(fiber)), summary: yield* run.summary }
  }).pipe(Effect.scoped)

const heldOf = (summary: Run.Summary) =>
  summary.budgets.map(({ held }) => Number(held.amount)).filter((held) => held > 0)

/** The outcomes of a call without a guard: its own end, or an interruption. */
const expectedOf = (call: typeof Call.Type) => [
  endNameOf(call.ends),
  ...(call.interruptedAfter === 10_000 && call.ends !== "never" ? [] : ["interrupt"])
]

const scarce = { server: { budgets: [{ unit: "TOKENS", allocated: 500 }] } } as const

const retry = CyclesConfig.retryPolicy({ jitter: false })

describe("shadow mode", () => {
  it.effect.prop(
    "returns the result of each body, charges nothing, and holds nothing in the end (100 programs)",
    { story: Story },
    ({ story }) =>
      Effect.gen(function* () {
        const { exits, summary } = yield* play(story, () => {})
        for (const [i, call] of story.calls.entries()) {
          const exit = exits[i]
          // A dry run that hangs is waited for, up to the timeout. A call may be interrupted before that.
          const isWaiting = story.onReserve.includes("hangs") ? ["interrupt"] : []
          expect([...expectedOf(call), ...isWaiting]).toContain(outcomeOf(exit))
        }
        expect(summary).toMatchObject({ denials: 0, uncertain: 0 })
        expect(heldOf(summary)).toEqual([])
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
        expect(yield* (yield* CyclesServer.CyclesServer).reservations).toEqual([])
        expect((yield* operations).every((operation) => operation === "reserve")).toBe(true)
      }).pipe(Effect.provide(live({ mode: "shadow", retry }))),
    { arbitrary: { runs: 100 }, timeout: 60_000 }
  )

  it.effect.prop(
    "counts the calls that enforcement denies, one after the other (100 programs)",
    {
      calls: Schema.Array(
        Schema.Struct({
          estimate: Schema.Literals([0, 1, 50, 100, 400, 2_000]),
          percent: Schema.Literals([0, 30, 100]),
          isWithinRun: Schema.Boolean,
          ends: Schema.Literals(["well", "by failing"])
        })
      ).check(Schema.isMinLength(6), Schema.isMaxLength(20)),
      budget: Schema.Literals([0, 300, 600])
    },
    ({ budget, calls }) =>
      Effect.gen(function* () {
        const program = Effect.gen(function* () {
          const run = yield* Run.make({ budget: tokens(budget) })
          const outer = yield* Run.make({})
          const outcomes: Array<string> = []
          for (const { ends, estimate, isWithinRun, percent } of calls) {
            const actual = tokens(Math.floor((estimate * percent) / 100))
            const body = Effect.andThen(
              Reservation.record({ actual }),
              ends === "well" ? Effect.void : Effect.fail("failed")
            )
            const exit = yield* Effect.exit(
              Run.within(Cycles.withCycles(body, { action, estimate: tokens(estimate) }), isWithinRun ? run : outer)
            )
            outcomes.push(outcomeOf(exit))
          }
          const summaries = [yield* run.summary, yield* outer.summary]
          return { outcomes, summaries, spent: [yield* run.spent("TOKENS"), yield* outer.spent("TOKENS")] }
        }).pipe(Effect.scoped)
        const enforced = yield* Effect.provide(program, live({}, scarce))
        const shadow = yield* Effect.provide(program, live({ mode: "shadow" }, scarce))
        expect(shadow.summaries.map(({ wouldDeny }) => wouldDeny)).toEqual(
          enforced.summaries.map(({ denials }) => denials)
        )
        expect(shadow.summaries.map(({ calls }) => calls)).toEqual(enforced.summaries.map(({ calls }) => calls))
        expect(shadow.spent).toEqual(enforced.spent)
        expect(shadow.outcomes).toEqual(calls.map(({ ends }) => (ends === "well" ? "success" : "failure")))
      }),
    { arbitrary: { runs: 100 }, timeout: 60_000 }
  )
})

describe('onUnreachable: "allow"', () => {
  it.effect.prop(
    "charges the spend once, and nothing stays reserved (100 programs)",
    { story: Story },
    ({ story }) =>
      Effect.gen(function* () {
        let charged = 0
        const { exits, summary } = yield* play(story, (amount) => {
          charged += amount
        })
        expect(heldOf(summary)).toEqual([])
        expect(yield* books).toEqual({ spent: charged, reserved: 0 })
        // Without a budget and a refusal, every call runs.
        const isRefused =
          story.budget !== undefined || story.onReserve.some((name) => !outages.some((one) => one === name))
        for (const [i, call] of story.calls.entries()) {
          const exit = exits[i]
          if (isRefused || (exit !== undefined && Exit.isFailure(exit) && outcomeOf(exit) === "interrupt")) continue
          expect(expectedOf(call)).toContain(outcomeOf(exit))
        }
      }).pipe(
        Effect.provide(
          live({ onUnreachable: "allow", retry }, { server: { budgets: [{ unit: "TOKENS", allocated: 1_000_000 }] } })
        )
      ),
    { arbitrary: { runs: 100 }, timeout: 60_000 }
  )
})
