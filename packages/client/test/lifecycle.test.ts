/**
 * The table of the lifecycle of a reservation, and its use by the client.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import { Cycles, CyclesConfig } from "effect-cycles"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import * as TestClock from "effect/testing/TestClock"
import * as Lifecycle from "../src/internal/reservation/lifecycle.ts"
import { action, books, live, tokens } from "./support/live.ts"

const retry = CyclesConfig.retryPolicy({ jitter: false })

const options = { action, estimate: tokens(100), actual: tokens(42) }

const lost: Fault.Fault = Fault.requestLost

const expired = Fault.error(410, "RESERVATION_EXPIRED")

/** Runs a guarded call with these faults while six hours pass. */
const run = (
  faults: { readonly [operation in CyclesTest.Target]?: ReadonlyArray<Fault.Fault> | Fault.Fault },
  body: Effect.Effect<unknown, unknown> = Effect.void
) =>
  Effect.gen(function* () {
    for (const operation of Struct.keys(faults)) {
      const fault = faults[operation]
      if (fault === undefined) continue
      yield* "run" in fault ? CyclesTest.always(operation, fault) : CyclesTest.inject(operation, ...fault)
    }
    yield* Effect.forkChild(Effect.exit(Cycles.withCycles(body, options)), { startImmediately: true })
    yield* TestClock.adjust("3 hours")
    yield* CyclesTest.clearFaults()
    yield* TestClock.adjust("3 hours")
  })

/** Spend whose event isn't confirmed until the server has deleted its key. */
const forgotten = Effect.gen(function* () {
  yield* CyclesTest.inject("commit", expired)
  yield* CyclesTest.always("event", lost)
  yield* Effect.forkChild(Effect.exit(Cycles.withCycles(Effect.void, options)), { startImmediately: true })
  yield* TestClock.adjust("8 days")
})

const fails = Effect.fail("the body fails")

const runs = [
  run({}),
  run({}, fails),
  run({ reserve: [Fault.error(409, "BUDGET_EXCEEDED")] }),
  run({ reserve: [lost] }),
  run({ reserve: [lost, lost] }),
  run({ reserve: [lost, lost, lost, lost] }),
  run({ reserve: [lost, lost, Fault.error(409, "BUDGET_EXCEEDED")] }),
  run({ reserve: lost }),
  run({ commit: [lost] }),
  run({ commit: [Fault.error(409, "BUDGET_FROZEN")] }),
  run({ commit: lost }),
  run({ commit: [expired] }),
  run({ commit: [expired], event: [lost] }),
  run({ commit: [expired], event: [Fault.error(409, "BUDGET_FROZEN")] }),
  run({ commit: expired, event: lost }),
  run({ release: [lost] }, fails),
  run({ release: lost }, fails),
  run({ commit: [lost, lost, lost, lost, lost, lost, Fault.error(409, "BUDGET_FROZEN")] }),
  forgotten
]

describe("lifecycle", () => {
  const events: ReadonlyArray<Lifecycle.Event> = [
    "allowed",
    "refused",
    "ambiguous",
    "abandoned",
    "gaveUp",
    "commitDecided",
    "releaseDecided",
    "confirmed",
    "expired",
    "unknown",
    "rejected",
    "exhausted",
    "replayed"
  ]

  it.prop(
    "settles at most once and never releases known spend, along every path",
    { walk: Schema.Array(Schema.Literals(events)) },
    ({ walk }) => {
      let state: Lifecycle.State = "reserving"
      let isSpendKnown = false
      let settled = 0
      for (const event of walk) {
        const next = Lifecycle.next(state, event)
        if (next === undefined) continue
        if (event === "commitDecided") isSpendKnown = true
        if (next === "settled" || next === "recovered" || next === "released") settled += 1
        if (isSpendKnown) expect(["releasing", "released", "lapsed"]).not.toContain(next)
        state = next
      }
      expect(settled).toBeLessThanOrEqual(1)
    }
  )

  it("has transitions from every state that isn't final, and from no final state", () => {
    for (const [state, row] of Object.entries(Lifecycle.transitions)) {
      const isEnd = ["refused", "settled", "recovered", "released", "lapsed", "deadLetter"].includes(state)
      expect([state, Object.keys(row).length === 0]).toEqual([state, isEnd])
    }
  })

  it("keeps its state on an event that the state doesn't allow, and reports it to the observer", () => {
    const seen: Array<readonly [string, string, string | undefined]> = []
    const life = new Lifecycle.Lifecycle("reserving", (from, event, to) => void seen.push([from, event, to]))
    life.fire("confirmed")
    life.fire("allowed")
    expect(life.state).toBe("active")
    expect(seen).toEqual([
      ["reserving", "confirmed", undefined],
      ["reserving", "allowed", "active"]
    ])
  })

  describe("client", () => {
    /** Every transition of the table, as `state event`. */
    const all = Object.entries(Lifecycle.transitions).flatMap(([state, row]) =>
      Object.keys(row).map((event) => `${state} ${event}`)
    )

    it.effect("enters every state, and fires every event only in states that allow it", () =>
      Effect.gen(function* () {
        // The clock must be in 2026 or later, because an earlier clock counts as wrong.
        yield* TestClock.setTime(Date.UTC(2026, 5, 1))
        const seen = new Set<string>()
        const impossible: Array<string> = []
        const observe = (from: string, event: string, to: string | undefined) => {
          if (to === undefined) impossible.push(`${from} ${event}`)
          else seen.add(`${from} ${event}`)
        }
        for (const run of runs) {
          yield* run.pipe(
            Effect.provide(live({ retry, flushTimeout: 0, scanInterval: "1 hour" })),
            Effect.provideService(Lifecycle.CurrentObserver, observe)
          )
        }
        expect(impossible).toEqual([])
        expect(all.filter((transition) => !seen.has(transition))).toEqual([])
      })
    )

    it.effect("retries a settlement with the same key after a defect in an attempt, and charges the spend once", () =>
      Effect.gen(function* () {
        let hasThrown = false
        const observe = (_from: string, event: string) => {
          if (event !== "confirmed" || hasThrown) return
          hasThrown = true
          throw new Error("a bug in the client")
        }
        yield* Effect.gen(function* () {
          yield* Cycles.withCycles(Effect.void, options)
          yield* TestClock.adjust("1 second")
          const keys = (yield* CyclesTest.requests("commit")).map(({ idempotencyKey }) => idempotencyKey)
          expect([keys.length, new Set(keys).size]).toEqual([2, 1])
          expect(yield* books).toEqual({ spent: 42, reserved: 0 })
          expect(yield* Cycles.flush("1 second")).toEqual({ isComplete: true, pending: 0 })
        }).pipe(Effect.provide(live({ retry })), Effect.provideService(Lifecycle.CurrentObserver, observe))
      })
    )
  })
})
