/**
 * The journal: a record is never replaced by other spend, and spend is journaled before the caller continues.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, CyclesConfig, SettlementJournal } from "effect-cycles"
import { JournalFiles, JournalSqlite } from "effect-cycles/node"
import { owner, record } from "../node/records.ts"
import { temporaryFolder } from "../node/support.ts"
import type { FaultyJournal, JournalFault } from "../support/collaborators.ts"
import { faultyJournal, provideUnclosed } from "../support/collaborators.ts"
import { action, books, live, tokens } from "../support/live.ts"
import { outcomeOf, outcomeWithin } from "../support/outcomes.ts"
import { settlementOf } from "../support/settled.ts"

const retry = CyclesConfig.retryPolicy({ jitter: false })

const options = { action, estimate: tokens(100) }

const lost = Fault.requestLost

/** A server with faults and a journal, without a client. */
const stage = (journal: FaultyJournal) =>
  Layer.merge(CyclesTest.layerServer({ budgets: [{ unit: "TOKENS", allocated: 100_000 }] }), journal.layer)

/** A client process that uses the server and the journal of the stage. */
const process = Layer.unwrap(
  Effect.map(CyclesServer.CyclesServer, ({ apiKey, baseUrl, tenant }) =>
    Cycles.layer({ baseUrl, apiKey, subject: { tenant }, retry, flushTimeout: 0 })
  )
).pipe(Layer.fresh)

const job = (key: string, actual: number) =>
  Cycles.withCycles(Effect.void, { ...options, ttl: "24 hours", idempotencyKey: key, actual: tokens(actual) })

describe("repeated run under a caller-supplied key", () => {
  it.effect("fails with AlreadySettled while the journal contains the spend of the first run, which is charged", () => {
    const journal = faultyJournal()
    return Effect.gen(function* () {
      yield* CyclesTest.always("commit", lost)
      yield* job("job-1", 40).pipe(Effect.provide(process))
      yield* CyclesTest.clearFaults("commit")
      const exit = yield* Effect.provide(Effect.exit(job("job-1", 30)), process)
      yield* Effect.provide(TestClock.adjust("5 minutes"), process)
      expect({ second: outcomeOf(exit), spent: (yield* books).spent }).toEqual({ second: "AlreadySettled", spent: 40 })
    }).pipe(Effect.provide(stage(journal)))
  })

  it.effect("fails with AlreadySettled while the first run's settlement is pending in the same process", () => {
    const journal = faultyJournal()
    return Effect.gen(function* () {
      yield* Effect.gen(function* () {
        yield* CyclesTest.inject("commit", lost)
        yield* job("job-1", 40)
        expect(outcomeOf(yield* Effect.exit(job("job-1", 30)))).toBe("AlreadySettled")
        yield* TestClock.adjust("5 minutes")
      }).pipe(Effect.provide(process))
      expect((yield* books).spent).toBe(40)
    }).pipe(Effect.provide(stage(journal)))
  })

  it.effect("doesn't run the body again", () => {
    const journal = faultyJournal()
    return Effect.gen(function* () {
      let runs = 0
      const body = Effect.sync(() => void (runs += 1))
      const again = Cycles.withCycles(body, { ...options, idempotencyKey: "job-1", actual: tokens(40) })
      yield* CyclesTest.always("commit", lost)
      yield* Effect.provide(again, process)
      yield* Effect.exit(again).pipe(Effect.provide(process))
      expect(runs).toBe(1)
    }).pipe(Effect.provide(stage(journal)))
  })

  it.effect("loses no spend of a hundred first runs", () => {
    const journal = faultyJournal()
    return Effect.gen(function* () {
      const run = (actual: number) =>
        Effect.forEach(Array.from({ length: 100 }), (_, i) => Effect.exit(job(`job-${i}`, actual)), {
          concurrency: 10
        }).pipe(Effect.provide(process))
      yield* CyclesTest.always("commit", lost)
      yield* run(40)
      yield* CyclesTest.clearFaults("commit")
      yield* run(30)
      yield* Effect.provide(TestClock.adjust("5 minutes"), process)
      expect((yield* books).spent).toBe(100 * 40)
    }).pipe(Effect.provide(stage(journal)))
  })
})

describe("store", () => {
  const stores: ReadonlyArray<readonly [string, () => Layer.Layer<SettlementJournal.SettlementJournal>]> = [
    ["memory", () => SettlementJournal.layerMemory],
    ["files", () => JournalFiles.layer({ folder: temporaryFolder() })],
    ["SQLite", () => JournalSqlite.layer({ filename: `${temporaryFolder()}/journal.sqlite` })]
  ]
  const other = record("r1", { commitBody: '{"idempotency_key":"commit-k","actual":{"unit":"TOKENS","amount":7}}' })

  for (const [name, make] of stores) {
    it.live(`in ${name} keeps two different records of one reservation`, () =>
      Effect.gen(function* () {
        const journal = yield* (yield* SettlementJournal.SettlementJournal).open(owner)
        yield* journal.put(record("r1"))
        yield* Effect.exit(journal.put(other))
        expect(yield* Stream.runCollect(journal.pending)).toContainEqual(record("r1"))
      }).pipe(Effect.scoped, Effect.provide(make()))
    )

    it.live(`in ${name} removes only the given one of two records of a reservation`, () =>
      Effect.gen(function* () {
        const journal = yield* (yield* SettlementJournal.SettlementJournal).open(owner)
        yield* journal.put(record("r1"))
        yield* journal.remove(other)
        // A removal is durable with the next write.
        yield* journal.put(record("r2"))
        expect(yield* Stream.runCollect(journal.pending)).toContainEqual(record("r1"))
      }).pipe(Effect.scoped, Effect.provide(make()))
    )
  }
})

describe("settle: background", () => {
  const background = { ...options, settle: "background", actual: tokens(42) } as const

  /** Asserts that the record is in the journal when the caller continues, even if writing takes long. */
  const expectDurable = <A, E, R>(run: Effect.Effect<A, E, R>) => {
    const journal = faultyJournal()
    journal.always("put", 100)
    return Effect.gen(function* () {
      yield* CyclesTest.always("commit", Fault.noResponse)
      const fiber = yield* Effect.forkDetach(
        Effect.andThen(
          Effect.exit(run),
          Effect.map(journal.records, (records) => records.length)
        ),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 second")
      expect(fiber.pollUnsafe()).toMatchObject({ _tag: "Success", value: 1 })
    }).pipe(provideUnclosed(live({ retry }, { journal: journal.layer })))
  }

  it.effect("withCycles returns when the record is in the journal", () =>
    expectDurable(Cycles.withCycles(Effect.void, background))
  )

  it.effect("withCycles fails once the recorded spend is in the journal", () =>
    expectDurable(Cycles.withCycles(Effect.fail("the body fails"), { ...background, onFailure: "estimate" }))
  )

  it.effect("withCyclesStream ends when the record is in the journal", () =>
    expectDurable(
      Stream.make(1).pipe(
        Cycles.withCyclesStream({ ...options, settle: "background", usage: () => tokens(42) }),
        Stream.runDrain
      )
    )
  )

  it.effect("a commit by hand returns when the record is in the journal", () =>
    expectDurable(
      Effect.scoped(
        Effect.flatMap(Cycles.reserve({ ...options, settle: "background" }), (reservation) =>
          reservation.commit({ actual: tokens(42) })
        )
      )
    )
  )

  it.effect("a scope closes when the record is in the journal", () =>
    expectDurable(
      Effect.scoped(
        Effect.flatMap(Cycles.reserve({ ...options, settle: "background" }), (reservation) =>
          reservation.record({ actual: tokens(42) })
        )
      )
    )
  )
})

describe("journal that can't be opened", () => {
  /** Makes the server unreachable until the attempts are used up, and asserts that the ledger has the spend later. */
  const spendSurvives = (journal: FaultyJournal) =>
    Effect.gen(function* () {
      yield* CyclesTest.always("commit", lost)
      yield* settlementOf(Effect.void, { ...options, actual: tokens(42) })
      yield* TestClock.adjust("30 seconds")
      yield* CyclesTest.clearFaults("commit")
      yield* TestClock.adjust("10 minutes")
      expect(yield* books).toEqual({ spent: 42, reserved: 0 })
    }).pipe(provideUnclosed(live({ retry }, { journal: journal.layer })))

  const faults: ReadonlyArray<JournalFault> = ["fail", "throw", "die"]

  for (const fault of faults) {
    it.effect(`doesn't lose spend that the server can't charge at first (${fault})`, () => {
      const journal = faultyJournal()
      journal.plan("open", fault)
      return spendSurvives(journal)
    })
  }

  it.effect("doesn't delay the client when opening hangs", () => {
    const journal = faultyJournal()
    journal.plan("open", "hang")
    return Effect.gen(function* () {
      const made = yield* Effect.forkDetach(provideUnclosed(live({ retry }, { journal: journal.layer }))(Effect.void), {
        startImmediately: true
      })
      // The client opens the journal once it has derived the owner, which takes real time in the thread pool.
      yield* journal.opening
      yield* TestClock.adjust("50 seconds")
      expect(outcomeOf(made.pollUnsafe())).toBe("success")
    })
  })

  it.effect("is opened again later, and receives the spend", () => {
    const journal = faultyJournal()
    journal.plan("open", "fail")
    return Effect.gen(function* () {
      yield* CyclesTest.always("commit", lost)
      yield* settlementOf(Effect.void, { ...options, actual: tokens(42) })
      yield* TestClock.adjust("5 minutes")
      expect(yield* journal.records).toHaveLength(1)
    }).pipe(provideUnclosed(live({ retry }, { journal: journal.layer })))
  })
})

describe("journal that can't be written", () => {
  const faults: ReadonlyArray<JournalFault> = ["fail", "die", "hang"]

  for (const fault of faults) {
    it.effect(`receives the spend once it has recovered (${fault})`, () => {
      const journal = faultyJournal()
      journal.plan("put", fault)
      return Effect.gen(function* () {
        yield* CyclesTest.always("commit", lost)
        expect(yield* outcomeWithin("1 minute", settlementOf(Effect.void, { ...options, actual: tokens(42) }))).toBe(
          "success"
        )
        yield* TestClock.adjust("5 minutes")
        expect(yield* journal.records).toHaveLength(1)
      }).pipe(provideUnclosed(live({ retry }, { journal: journal.layer })))
    })
  }

  it.effect("receives the spend with the next attempt to charge it, without waiting for a scan", () => {
    const journal = faultyJournal()
    journal.plan("put", "fail")
    return Effect.gen(function* () {
      yield* CyclesTest.always("commit", lost)
      yield* settlementOf(Effect.void, { ...options, actual: tokens(42) })
      expect(yield* journal.records).toEqual([])
      yield* TestClock.adjust("2 seconds")
      expect(yield* journal.records).toHaveLength(1)
    }).pipe(provideUnclosed(live({ retry, scanInterval: "1 hour" }, { journal: journal.layer })))
  })

  it.effect("receives spend as an event once it has recovered, if the lease has ended meanwhile", () => {
    const journal = faultyJournal()
    journal.plan("put", "fail", "fail")
    return Effect.gen(function* () {
      yield* CyclesTest.always(
        "commit",
        Fault.response({ status: 410, body: { error: "RESERVATION_EXPIRED", message: "" } })
      )
      yield* CyclesTest.always("event", lost)
      yield* settlementOf(Effect.void, { ...options, actual: tokens(42) })
      yield* TestClock.adjust("5 minutes")
      expect(yield* journal.records).toMatchObject([{ mode: "event" }])
    }).pipe(provideUnclosed(live({ retry }, { journal: journal.layer })))
  })
})
