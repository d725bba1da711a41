/**
 * Tracers, loggers, metrics and journals that throw, die or hang: the outcome of the body stays the same, and the spend
 * is settled.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, CyclesConfig, Identifiers } from "effect-cycles"
import type { JournalFault, JournalOperation } from "../support/collaborators.ts"
import {
  faultyJournal,
  provideUnclosed,
  throwingLogger,
  throwingMetrics,
  throwingTracer
} from "../support/collaborators.ts"
import { action, books, live, operations, tokens } from "../support/live.ts"
import { outcomeWithin } from "../support/outcomes.ts"
import { leaveRecord } from "../support/journal.ts"
import { watchSettlements } from "../support/settled.ts"

const retry = CyclesConfig.retryPolicy({ jitter: false })

const wealthy = { budgets: [{ unit: "TOKENS", allocated: 100_000 }] } as const

const options = { action, estimate: tokens(100) }

const guarded = Cycles.withCycles(Effect.succeed("result"), { ...options, actual: () => tokens(42) })

/** Every form of a guard, each with a body that spends 42. */
const forms: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown, Cycles.Cycles>]> = [
  ["withCycles", guarded],
  [
    "withCyclesStream",
    Stream.make(1).pipe(Cycles.withCyclesStream({ ...options, usage: () => tokens(42) }), Stream.runDrain)
  ],
  [
    "reserve",
    Effect.scoped(Effect.flatMap(Cycles.reserve(options), (reservation) => reservation.commit({ actual: tokens(42) })))
  ],
  [
    "reserve in a scope that closes",
    Effect.scoped(Effect.flatMap(Cycles.reserve(options), (reservation) => reservation.record({ actual: tokens(42) })))
  ],
  ["settle: background", Cycles.withCycles(Effect.void, { ...options, actual: tokens(42), settle: "background" })],
  ["settle: wait", Cycles.withCycles(Effect.void, { ...options, actual: tokens(42), settle: "wait" })]
]

/** Asserts that the outcome is the body's success, the spend is in the ledger, and nothing is unsettled. */
const succeeds = <A, E, R>(form: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const outcome = yield* outcomeWithin("3 minutes", form)
    const flush = yield* Cycles.flush("1 second").pipe(Effect.forkDetach({ startImmediately: true }))
    yield* TestClock.adjust("1 minute")
    expect({ outcome, ...(yield* books), flush: flush.pollUnsafe() }).toMatchObject({
      outcome: "success",
      spent: 42,
      reserved: 0,
      flush: { _tag: "Success", value: { isComplete: true, pending: 0 } }
    })
    yield* CyclesTest.expectNothingReserved()
  })

/** Asserts that the outcome is the body's success and the spend is charged, even if the journal fails. */
const survives = <A, E, R>(form: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const outcome = yield* outcomeWithin("3 minutes", form)
    expect({ outcome, ...(yield* books) }).toEqual({ outcome: "success", spent: 42, reserved: 0 })
    yield* CyclesTest.expectNothingReserved()
  })

describe("tracer that throws", () => {
  for (const method of ["span", "attribute", "end"] as const) {
    for (const [form, run] of forms) {
      it.effect(`doesn't prevent ${form} from committing (${method})`, () =>
        succeeds(run).pipe(provideUnclosed(live({ retry })), throwingTracer(method, "commit"))
      )
    }

    it.effect(`doesn't prevent a reservation from being made (${method})`, () =>
      succeeds(guarded).pipe(provideUnclosed(live({ retry })), throwingTracer(method, "reserve"))
    )

    it.effect(`doesn't prevent a reservation from being released (${method})`, () =>
      Effect.gen(function* () {
        const outcome = yield* outcomeWithin("1 minute", Cycles.withCycles(Effect.fail({ _tag: "Mine" }), options))
        expect({ outcome, ...(yield* books) }).toEqual({ outcome: "Mine", spent: 0, reserved: 0 })
      }).pipe(provideUnclosed(live({ retry })), throwingTracer(method, "release"))
    )

    it.effect(`doesn't prevent spend from being recovered (${method})`, () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("commit", Fault.error(410, "RESERVATION_EXPIRED"))
        const outcome = yield* outcomeWithin("3 minutes", guarded)
        expect({ outcome, spent: (yield* books).spent }).toEqual({ outcome: "success", spent: 42 })
      }).pipe(provideUnclosed(live({ retry })), throwingTracer(method, "event"))
    )

    it.effect(`doesn't prevent an event from being charged (${method})`, () =>
      Effect.gen(function* () {
        const outcome = yield* outcomeWithin("1 minute", Cycles.event({ action, actual: tokens(42) }))
        expect({ outcome, ...(yield* books) }).toEqual({ outcome: "success", spent: 42, reserved: 0 })
      }).pipe(provideUnclosed(live({ retry })), throwingTracer(method, "event"))
    )

    it.effect(`doesn't prevent a lease from being extended (${method})`, () =>
      Effect.gen(function* () {
        const body = Effect.sleep("3 minutes")
        const run = Cycles.withCycles(body, { ...options, actual: tokens(42), heartbeat: "cancel" })
        const fiber = yield* Effect.forkDetach(run, { startImmediately: true })
        // An expired lease would be settled by an event, which isn't a commit of this reservation.
        yield* TestClock.adjust("3 minutes")
        expect(fiber.pollUnsafe()).toMatchObject({ _tag: "Success" })
        expect(yield* operations).not.toContain("event")
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(provideUnclosed(live({ retry })), throwingTracer(method, "extend"))
    )
  }
})

describe("logger that throws", () => {
  for (const [form, run] of forms) {
    it.effect(`doesn't prevent ${form} from committing when the journal fails`, () => {
      const journal = faultyJournal()
      journal.always("put", "fail")
      return survives(run).pipe(provideUnclosed(live({ retry }, { journal: journal.layer })), throwingLogger)
    })
  }

  it.effect("doesn't prevent a refused settlement from being reported", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("commit", Fault.error(409, "BUDGET_FROZEN"))
      const seen = yield* watchSettlements
      expect(yield* outcomeWithin("1 minute", guarded)).toBe("success")
      expect(seen).toMatchObject([{ _tag: "Rejected" }])
    }).pipe(provideUnclosed(live({ retry })), throwingLogger)
  )

  it.effect("doesn't prevent a lease from being extended after an extend that failed", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("extend", Fault.requestLost)
      const run = Cycles.withCycles(Effect.sleep("3 minutes"), { ...options, actual: tokens(42) })
      expect(yield* outcomeWithin("4 minutes", run)).toBe("success")
      expect(yield* operations).not.toContain("event")
    }).pipe(provideUnclosed(live({ retry })), throwingLogger)
  )

  it.effect("doesn't prevent a body from being stopped when its lease is lost", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("extend", Fault.error(409, "MAX_EXTENSIONS_EXCEEDED"))
      const run = Cycles.withCycles(Effect.never, { ...options, actual: tokens(42), heartbeat: "cancel" })
      expect(yield* outcomeWithin("4 minutes", run)).toBe("LeaseLost")
    }).pipe(provideUnclosed(live({ retry })), throwingLogger)
  )
})

describe("metrics that throw", () => {
  for (const name of ["reservations", "settlements"]) {
    it.effect(`don't prevent a guard from committing (${name})`, () =>
      succeeds(guarded).pipe(provideUnclosed(live({ retry })), throwingMetrics(name))
    )

    it.effect(`don't prevent a scope from settling (${name})`, () =>
      succeeds(
        Effect.scoped(
          Effect.flatMap(Cycles.reserve(options), (reservation) => reservation.record({ actual: tokens(42) }))
        )
      ).pipe(provideUnclosed(live({ retry })), throwingMetrics(name))
    )
  }

  it.effect("don't prevent a lease from being extended", () =>
    Effect.gen(function* () {
      const run = Cycles.withCycles(Effect.sleep("3 minutes"), { ...options, actual: tokens(42) })
      expect(yield* outcomeWithin("4 minutes", run)).toBe("success")
      expect(yield* operations).not.toContain("event")
    }).pipe(provideUnclosed(live({ retry })), throwingMetrics("heartbeat"))
  )
})

describe("journal that throws, dies or hangs", () => {
  const broken: ReadonlyArray<readonly [JournalOperation, JournalFault, string]> = [
    ["put", "throw", "can't write"],
    ["put", "die", "dies when it writes"],
    ["put", "hang", "never finishes writing"],
    ["remove", "throw", "can't remove"],
    ["remove", "die", "dies when it removes"],
    ["remove", "hang", "never finishes removing"]
  ]

  for (const [operation, fault, what] of broken) {
    for (const [form, run] of forms) {
      // In the background no caller waits for a removal.
      if (operation === "remove" && form === "settle: background") continue
      it.effect(`${form} commits and succeeds when the journal ${what}`, () => {
        const journal = faultyJournal()
        journal.always(operation, fault)
        return survives(run).pipe(provideUnclosed(live({ retry }, { journal: journal.layer })))
      })
    }
  }

  for (const operation of ["put", "remove"] as const) {
    it.effect(`returns to the caller after 2 s and one timeout if a ${operation} hangs`, () => {
      const journal = faultyJournal()
      journal.always(operation, "hang")
      return Effect.gen(function* () {
        expect(yield* outcomeWithin("3 seconds", guarded)).toBe("success")
      }).pipe(provideUnclosed(live({ retry, timeout: "1 second" }, { journal: journal.layer })))
    })
  }

  for (const fault of ["throw", "die", "hang"] as const) {
    it.effect(`reports spend that the server refused when burying it fails (${fault})`, () => {
      const journal = faultyJournal()
      journal.always("bury", fault)
      return Effect.gen(function* () {
        yield* CyclesTest.inject("commit", Fault.error(409, "BUDGET_FROZEN"))
        const seen = yield* watchSettlements
        expect(yield* outcomeWithin("1 minute", guarded)).toBe("success")
        expect(seen).toMatchObject([{ _tag: "Rejected" }])
      }).pipe(provideUnclosed(live({ retry }, { journal: journal.layer })))
    })

    it.effect(`flush ends and is incomplete when the journal can't be read (${fault})`, () => {
      const journal = faultyJournal()
      return Effect.gen(function* () {
        journal.always("pending", fault)
        const fiber = yield* Effect.forkDetach(Cycles.flush("1 second"), { startImmediately: true })
        yield* TestClock.adjust("1 minute")
        expect(fiber.pollUnsafe()).toMatchObject({ _tag: "Success", value: { isComplete: false } })
      }).pipe(provideUnclosed(live({ retry }, { journal: journal.layer })))
    })

    it.effect(`settles the journaled spend after a scan that could not read (${fault})`, () => {
      const journal = faultyJournal()
      return Effect.gen(function* () {
        yield* TestClock.adjust(0)
        yield* CyclesTest.always("commit", Fault.requestLost)
        expect(yield* outcomeWithin("30 seconds", guarded)).toBe("success")
        yield* CyclesTest.clearFaults("commit")
        journal.plan("pending", fault)
        yield* TestClock.adjust("10 minutes")
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(provideUnclosed(live({ retry }, { journal: journal.layer })))
    })
  }

  it.effect("commits the estimate of an interrupted body when writing dies", () => {
    const journal = faultyJournal()
    journal.always("put", "die")
    return Effect.gen(function* () {
      const seen = yield* watchSettlements
      const body = Effect.sleep("5 seconds")
      const fiber = yield* Effect.forkDetach(
        Cycles.withCycles(body, { ...options, actual: tokens(42), onFailure: "estimate" }),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 second")
      yield* Effect.forkDetach(Fiber.interrupt(fiber), { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      expect(seen).toMatchObject([{ _tag: "Committed" }])
      expect(yield* books).toEqual({ spent: 100, reserved: 0 })
    }).pipe(provideUnclosed(live({ retry }, { journal: journal.layer })))
  })
})

describe("retry schedule that dies", () => {
  it.effect("leaves the spend to the next scan of the journal", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("commit", Fault.requestLost)
      expect(yield* outcomeWithin("10 minutes", guarded)).toBe("success")
      expect(yield* books).toEqual({ spent: 42, reserved: 0 })
    }).pipe(
      provideUnclosed(
        live({
          retry: Schedule.exponential("1 second").pipe(
            Schedule.modifyDelay(() => Effect.die("a schedule of the caller"))
          )
        })
      )
    )
  )
})

describe("reservation id that can't be part of a path", () => {
  const malformed = "malformed-\ud800"

  it.effect("doesn't prevent other records of the journal from being settled", () => {
    const journal = faultyJournal()
    return Effect.gen(function* () {
      yield* TestClock.adjust(0)
      yield* journal.leave(yield* leaveRecord({ reservationId: Identifiers.ReservationId.make(malformed) }))
      for (let i = 0; i < 8; i++) yield* journal.leave(yield* leaveRecord())
      yield* TestClock.adjust("2 minutes")
      expect((yield* books).spent).toBe(8 * 42)
    }).pipe(provideUnclosed(live({ retry }, { journal: journal.layer, server: wealthy })))
  })

  it.effect("doesn't prevent a flush from ending", () => {
    const journal = faultyJournal()
    return Effect.gen(function* () {
      yield* TestClock.adjust(0)
      yield* journal.leave(yield* leaveRecord({ reservationId: Identifiers.ReservationId.make(malformed) }))
      expect(yield* outcomeWithin("1 minute", Cycles.flush("1 second"))).toBe("success")
    }).pipe(provideUnclosed(live({ retry }, { journal: journal.layer })))
  })

  it.effect("doesn't turn the body's success into a defect", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject(
        "reserve",
        Fault.response({
          status: 200,
          body: { decision: "ALLOW", affected_scopes: [], reservation_id: malformed, remaining_ttl_ms: 60_000 }
        })
      )
      expect(yield* outcomeWithin("1 minute", guarded)).toBe("success")
    }).pipe(provideUnclosed(live({ retry })))
  )
})
