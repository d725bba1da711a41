/**
 * Replay of the journal: the records that a client finds when it starts and with each scan, and how it settles them.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, CyclesClient, CyclesConfig, Identifiers, SettlementJournal } from "effect-cycles"
import { provideUnclosed } from "./support/collaborators.ts"
import { noJournal } from "./support/journal.ts"
import { action, books, operations, tokens } from "./support/live.ts"
import { withSettlement } from "./support/settled.ts"

type JournalRecord = SettlementJournal.JournalRecord

/** A journal that an earlier run left behind. Tests can inspect its records. */
const makeJournal = (changes?: Partial<SettlementJournal.Journal>) => {
  const records = new Map<string, JournalRecord>()
  const letters: Array<SettlementJournal.DeadLetter> = []
  const journal: SettlementJournal.Journal = {
    ...noJournal,
    put: (record) => Effect.sync(() => void records.set(record.reservationId, record)),
    remove: ({ reservationId }) => Effect.sync(() => void records.delete(reservationId)),
    bury: (letter) =>
      Effect.sync(() => {
        records.delete(letter.record.reservationId)
        letters.push(letter)
      }),
    pending: Stream.suspend(() => Stream.fromIterable(Array.from(records.values()))),
    ...changes
  }
  const layer = Layer.succeed(SettlementJournal.SettlementJournal, {
    [SettlementJournal.TypeId]: SettlementJournal.TypeId,
    isDurable: true,
    open: () => Effect.succeed(journal)
  })
  return { records, letters, layer, reasons: () => letters.map((letter) => letter.reason) }
}

/** A server with faults, without a client. */
const stage = CyclesTest.layerServer({ budgets: [{ unit: "TOKENS", allocated: 1_000 }] })

/** Reserves 100 tokens for an earlier run, and returns the record of its charge of 42. */
const left = (changes?: Partial<JournalRecord>, ttlMs?: number) =>
  Effect.gen(function* () {
    const { apiKey, baseUrl, tenant } = yield* CyclesServer.CyclesServer
    const client = yield* CyclesClient.make({ baseUrl, apiKey })
    const key = globalThis.crypto.randomUUID()
    const { reservationId = Identifiers.ReservationId.make("none") } = yield* client.reserve({
      idempotencyKey: Identifiers.IdempotencyKey.make(`reserve-${key}`),
      subject: { tenant },
      action,
      estimate: tokens(100),
      ttlMs,
      gracePeriodMs: 0
    })
    const settlement = { idempotency_key: key, actual: { unit: "TOKENS", amount: 42 } }
    const record: JournalRecord = {
      reservationId,
      baseUrl,
      mode: "commit",
      commitBody: JSON.stringify(settlement),
      eventBody: JSON.stringify({ ...settlement, subject: { tenant }, action }),
      recordedAtMs: yield* Clock.currentTimeMillis,
      notBeforeMs: 0,
      ...changes
    }
    return record
  })

/** The client of this run. */
const restarted = ({ layer }: ReturnType<typeof makeJournal>, config?: Partial<CyclesConfig.CyclesConfig>) =>
  Layer.unwrap(
    Effect.map(CyclesServer.CyclesServer, ({ apiKey, baseUrl, tenant }) =>
      Cycles.layer({ baseUrl, apiKey, subject: { tenant }, ...config })
    )
  ).pipe(Layer.provide(layer), Layer.fresh)

const settling = Effect.map(operations, (all) =>
  all.filter((operation) => operation === "commit" || operation === "event")
)

/** Runs a test at an instant. A clock before 2026 counts as wrong. */
const from =
  (epochMs: number) =>
  <A, E, R>(test: Effect.Effect<A, E, R>) =>
    Effect.andThen(TestClock.setTime(epochMs), test)

const hourMs = 3_600_000

const dayMs = 24 * hourMs

describe("recovery", () => {
  it.effect("charges the records of an earlier process with their keys and bytes, and removes them", () =>
    Effect.gen(function* () {
      const journal = makeJournal()
      const record = yield* left()
      journal.records.set(record.reservationId, record)
      yield* TestClock.adjust(0).pipe(Effect.provide(restarted(journal)))
      expect(yield* CyclesTest.requests("commit")).toMatchObject([{ body: record.commitBody }])
      expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      expect([journal.records.size, journal.letters]).toEqual([0, []])
    }).pipe(Effect.provide(stage))
  )

  it.effect("sends events up to 7 days less an hour old, and buries older ones", () =>
    Effect.gen(function* () {
      const nowMs = Date.UTC(2026, 5, 1)
      const journal = makeJournal()
      const limitMs = 7 * dayMs - hourMs
      const young = yield* left({ mode: "event", recordedAtMs: nowMs - limitMs })
      const old = yield* left({ mode: "event", recordedAtMs: nowMs - limitMs - 1 })
      journal.records.set(young.reservationId, young).set(old.reservationId, old)
      yield* TestClock.adjust(0).pipe(Effect.provide(restarted(journal)))
      expect(yield* settling).toEqual(["event"])
      expect((yield* books).spent).toBe(42)
      expect(journal.letters).toMatchObject([
        { record: old, reason: expect.stringContaining("TOO_OLD"), diedAtMs: nowMs }
      ])
      expect(journal.records.size).toBe(0)
    }).pipe(Effect.provide(stage), from(Date.UTC(2026, 5, 1)))
  )

  it.effect("CR-DURABLE-002: journals event mode before it sends the event", () =>
    Effect.gen(function* () {
      const journal = makeJournal()
      const record = yield* left({}, 1_000)
      journal.records.set(record.reservationId, record)
      yield* TestClock.adjust(1_001)
      yield* CyclesTest.inject("event", Fault.noResponse)
      yield* Effect.gen(function* () {
        yield* TestClock.adjust(0)
        expect(yield* settling).toEqual(["commit", "event"])
        expect(Array.from(journal.records.values())).toMatchObject([{ mode: "event", notBeforeMs: 0 }])
        yield* TestClock.adjust(10_000)
      }).pipe(Effect.provide(restarted(journal, { flushTimeout: 0 })))
      yield* TestClock.adjust(0).pipe(Effect.provide(restarted(journal)))
      expect(yield* settling).toEqual(["commit", "event", "event"])
      const keys = (yield* CyclesTest.requests()).flatMap(({ idempotencyKey, operation }) =>
        operation === "reserve" ? [] : [idempotencyKey]
      )
      expect(new Set(keys).size).toBe(1)
      expect(yield* books).toEqual({ spent: 42, reserved: 0 })
    }).pipe(Effect.provide(stage))
  )

  it.effect("CR-DURABLE-003: sends nothing before the server's Retry-After, even on a flush", () =>
    Effect.gen(function* () {
      const journal = makeJournal()
      const nowMs = yield* Clock.currentTimeMillis
      const record = yield* left({ notBeforeMs: nowMs + 20_000 })
      journal.records.set(record.reservationId, record)
      yield* Effect.gen(function* () {
        const flushing = yield* Effect.forkChild(Cycles.flush("5 seconds"), { startImmediately: true })
        yield* TestClock.adjust(19_999)
        expect(yield* settling).toEqual([])
        expect(flushing.pollUnsafe()).toMatchObject({ _tag: "Success", value: { isComplete: false, pending: 1 } })
        yield* TestClock.adjust(1)
        expect(yield* settling).toEqual(["commit"])
      }).pipe(Effect.provide(restarted(journal)))
      expect(yield* books).toEqual({ spent: 42, reserved: 0 })
    }).pipe(Effect.provide(stage))
  )

  it.effect("waits up to one hour, and not for a longer delay, after which the wall clock was set back", () =>
    Effect.gen(function* () {
      const nowMs = yield* Clock.currentTimeMillis
      const attempts = (notBeforeMs: number) =>
        Effect.gen(function* () {
          const journal = makeJournal()
          const record = yield* left({ notBeforeMs }, 2 * hourMs)
          journal.records.set(record.reservationId, record)
          return yield* Effect.gen(function* () {
            yield* TestClock.adjust(1)
            return (yield* settling).length
          }).pipe(Effect.provide(restarted(journal, { scanInterval: "1 day" })))
        })
      expect(yield* attempts(nowMs + hourMs)).toBe(0)
      expect(yield* attempts(nowMs + 500 * dayMs)).toBe(1)
    }).pipe(Effect.provide(stage))
  )

  it.effect("CR-DURABLE-004: replays with the current API key, and keeps records that a wrong one can't charge", () =>
    Effect.gen(function* () {
      const journal = makeJournal()
      const record = yield* left()
      journal.records.set(record.reservationId, record)
      yield* TestClock.adjust(0).pipe(Effect.provide(restarted(journal, { apiKey: Redacted.make("cyc_live_revoked") })))
      expect(yield* settling).toEqual(["commit"])
      expect(journal.records.size).toBe(1)
      yield* TestClock.adjust(0).pipe(Effect.provide(restarted(journal)))
      expect(yield* settling).toEqual(["commit", "commit"])
      expect([journal.records.size, yield* books]).toEqual([0, { spent: 42, reserved: 0 }])
    }).pipe(Effect.provide(stage))
  )

  it.effect("ignores the records of another server, and buries a record without an amount", () =>
    Effect.gen(function* () {
      const journal = makeJournal()
      const elsewhere = yield* left({ baseUrl: "https://elsewhere.example" })
      const damaged = yield* left({ commitBody: '{"idempotency_key":"k"}' })
      const good = yield* left()
      for (const record of [elsewhere, damaged, good]) journal.records.set(record.reservationId, record)
      yield* TestClock.adjust(0).pipe(Effect.provide(restarted(journal)))
      expect(yield* settling).toEqual(["commit"])
      expect(Array.from(journal.records.values())).toEqual([elsewhere])
      expect(journal.reasons()).toEqual(["the record has no readable amount"])
    }).pipe(Effect.provide(stage))
  )

  it.effect("charges at most four records at a time", () =>
    Effect.gen(function* () {
      const journal = makeJournal()
      for (let i = 0; i < 9; i++) {
        const record = yield* left()
        journal.records.set(record.reservationId, record)
      }
      yield* CyclesTest.always("commit", Fault.requestLate(100))
      yield* Effect.gen(function* () {
        const sent: Array<number> = []
        // The first one is an idle probe.
        yield* TestClock.adjust(100)
        for (let i = 0; i < 4; i++) {
          sent.push((yield* settling).length)
          yield* TestClock.adjust(100)
        }
        expect(sent).toEqual([5, 9, 9, 9])
      }).pipe(Effect.provide(restarted(journal)))
      expect(yield* books).toEqual({ spent: 9 * 42, reserved: 0 })
    }).pipe(Effect.provide(stage))
  )

  it.effect("scans the journal again after the interval, plus or minus a fifth", () =>
    Effect.gen(function* () {
      const journal = makeJournal()
      const record = yield* left({}, 600_000)
      yield* Effect.gen(function* () {
        yield* TestClock.adjust(0)
        journal.records.set(record.reservationId, record)
        yield* TestClock.adjust(79_999)
        expect(yield* settling).toEqual([])
        yield* TestClock.adjust(40_001)
        expect(yield* settling).toEqual(["commit"])
      }).pipe(Effect.provide(restarted(journal, { scanInterval: "100 seconds" })))
    }).pipe(Effect.provide(stage))
  )
})

describe("repeated run after the process died with recorded spend", () => {
  it.effect("fails with AlreadySettled under its caller-supplied key, and the recorded spend is charged", () =>
    Effect.gen(function* () {
      const dead = yield* left(undefined, 60_000)
      const { idempotency_key: key } = JSON.parse(dead.commitBody)
      const journal: ReturnType<typeof makeJournal> = makeJournal({
        adoptOpen: Effect.sync(() => {
          journal.records.set(dead.reservationId, dead)
          return 1
        }),
        isDecided: (id) => Effect.sync(() => journal.records.has(id))
      })
      let runs = 0
      const body = Effect.sync(() => void (runs += 1))
      const error = yield* body.pipe(
        Cycles.withCycles({
          action,
          estimate: tokens(100),
          gracePeriod: 0,
          idempotencyKey: `reserve-${key}`
        }),
        Effect.flip,
        Effect.tap(() => TestClock.adjust("2 minutes")),
        Effect.provide(restarted(journal))
      )
      expect([error._tag, runs, yield* books]).toEqual(["AlreadySettled", 0, { spent: 42, reserved: 0 }])
    }).pipe(Effect.provide(stage))
  )

  it.effect("fails with AlreadySettled before the next scan of a client that was open when the process died", () =>
    Effect.gen(function* () {
      const dead = yield* left(undefined, 60_000)
      const { idempotency_key: key } = JSON.parse(dead.commitBody)
      let isDead = false
      const journal: ReturnType<typeof makeJournal> = makeJournal({
        adoptOpen: Effect.sync(() => {
          if (!isDead) return 0
          journal.records.set(dead.reservationId, dead)
          return 1
        }),
        isDecided: (id) => Effect.sync(() => journal.records.has(id))
      })
      const error = yield* TestClock.adjust("1 second").pipe(
        Effect.andThen(Effect.sync(() => void (isDead = true))),
        Effect.andThen(
          Effect.void.pipe(
            Cycles.withCycles({ action, estimate: tokens(100), gracePeriod: 0, idempotencyKey: `reserve-${key}` })
          )
        ),
        Effect.flip,
        Effect.provide(restarted(journal, { scanInterval: "1 hour" }))
      )
      expect(error).toMatchObject({ _tag: "AlreadySettled", by: "earlier run", status: "COMMITTED" })
    }).pipe(Effect.provide(stage))
  )
})

/** A journal with a record whose commit gets no response. */
const stuck = Effect.gen(function* () {
  const journal = makeJournal()
  const record = yield* left()
  journal.records.set(record.reservationId, record)
  yield* CyclesTest.always("commit", Fault.noResponse)
  return journal
})

describe("flush", () => {
  it.effect("waits for the records of a dead process that a scan is adopting", () =>
    Effect.gen(function* () {
      const dead = yield* left(undefined, 60_000)
      const started = Deferred.makeUnsafe<void>()
      const journal: ReturnType<typeof makeJournal> = makeJournal({
        adoptOpen: Effect.gen(function* () {
          if (!(yield* Deferred.succeed(started, undefined))) return 0
          yield* Effect.sleep(100)
          journal.records.set(dead.reservationId, dead)
          return 1
        })
      })
      const whenFlushed = yield* Effect.gen(function* () {
        yield* Deferred.await(started)
        const fiber = yield* Effect.forkChild(Effect.all([Cycles.flush(), books]), { startImmediately: true })
        yield* TestClock.adjust(100)
        return yield* Fiber.join(fiber)
      }).pipe(Effect.provide(restarted(journal)))
      expect(whenFlushed).toEqual([
        { isComplete: true, pending: 0 },
        { spent: 42, reserved: 0 }
      ])
    }).pipe(Effect.provide(stage))
  )

  it.effect.each<readonly [string, Effect.Effect<number, SettlementJournal.JournalError>]>([
    ["takes longer than the timeout", Effect.never],
    ["fails", Effect.fail(new SettlementJournal.JournalError({ operation: "adoptOpen", problem: "no access" }))]
  ])("isn't complete if the adoption of records %s", ([, adoptOpen]) =>
    Effect.gen(function* () {
      const flushed = yield* Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(Cycles.flush("1 second"), { startImmediately: true })
        yield* TestClock.adjust("1 minute")
        return yield* Fiber.join(fiber)
      }).pipe(provideUnclosed(restarted(makeJournal({ adoptOpen }))))
      expect(flushed).toEqual({ isComplete: false, pending: 0 })
    }).pipe(Effect.provide(stage))
  )

  it.effect("ends after its timeout, to the millisecond, and counts the pending settlements", () =>
    Effect.gen(function* () {
      const journal = yield* stuck
      yield* Effect.gen(function* () {
        const flushing = yield* Effect.forkChild(Cycles.flush("2 seconds"), { startImmediately: true })
        yield* TestClock.adjust(1_999)
        expect(flushing.pollUnsafe()).toBeUndefined()
        yield* TestClock.adjust(1)
        expect(flushing.pollUnsafe()).toMatchObject({ _tag: "Success", value: { isComplete: false, pending: 1 } })
      }).pipe(Effect.provide(restarted(journal, { flushTimeout: 0 })))
      expect(journal.records.size).toBe(1)
    }).pipe(Effect.provide(stage))
  )

  it.effect("runs when the layer closes, for at most flushTimeout, and keeps the record", () =>
    Effect.gen(function* () {
      const journal = yield* stuck
      const close = yield* Deferred.make<void>()
      const isOpen = yield* Deferred.make<void>()
      const run = yield* TestClock.adjust(0).pipe(
        Effect.andThen(Deferred.succeed(isOpen, undefined)),
        Effect.andThen(Deferred.await(close)),
        Effect.provide(restarted(journal, { flushTimeout: "3 seconds" })),
        Effect.forkChild({ startImmediately: true })
      )
      yield* Deferred.await(isOpen)
      expect(yield* settling).toEqual(["commit"])
      yield* Deferred.succeed(close, undefined)
      yield* TestClock.adjust(2_999)
      expect(run.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust(1)
      expect(run.pollUnsafe()).toMatchObject({ _tag: "Success" })
      expect(journal.records.size).toBe(1)
    }).pipe(Effect.provide(stage))
  )
})

describe("record of an earlier process", () => {
  it.effect.each([
    ["metadata with a number that JavaScript can't represent", '"metadata":{"userId":1234567890123456789}'],
    ["metrics of another client", '"metrics":{"latency_ms":12.5}'],
    ["nulls", '"metrics":null']
  ] as const)("is sent unchanged: %s", ([, more]) =>
    Effect.gen(function* () {
      const journal = makeJournal()
      const record = yield* left()
      const commitBody = `${record.commitBody.slice(0, -1)},${more}}`
      journal.records.set(record.reservationId, { ...record, commitBody })
      yield* TestClock.adjust(0).pipe(Effect.provide(restarted(journal)))
      expect((yield* CyclesTest.requests("commit"))[0]?.body).toBe(commitBody)
    }).pipe(Effect.provide(stage))
  )

  it.effect("is sent at any age if it is a commit, since a reservation is never charged twice", () =>
    Effect.gen(function* () {
      const journal = makeJournal()
      const old = yield* left({ recordedAtMs: Date.UTC(2026, 0, 2) })
      journal.records.set(old.reservationId, old)
      yield* TestClock.adjust(0).pipe(Effect.provide(restarted(journal)))
      expect([journal.letters, (yield* books).spent]).toEqual([[], 42])
    }).pipe(Effect.provide(stage), from(Date.UTC(2026, 11, 1)))
  )

  it.effect("is sent if it is dated before 2026, under a wrong clock", () =>
    Effect.gen(function* () {
      const journal = makeJournal()
      const old = yield* left({ mode: "event", recordedAtMs: 0 })
      journal.records.set(old.reservationId, old)
      yield* TestClock.adjust(0).pipe(Effect.provide(restarted(journal)))
      expect([journal.letters, (yield* books).spent]).toEqual([[], 42])
    }).pipe(Effect.provide(stage), from(Date.UTC(2026, 5, 1)))
  )

  it.effect("is reported to Cycles.settlements if it is too old", () =>
    Effect.gen(function* () {
      const journal = makeJournal()
      const old = yield* left({ mode: "event", recordedAtMs: Date.UTC(2026, 4, 1) })
      yield* Effect.gen(function* () {
        const settlements = yield* Cycles.settlements.pipe(
          Stream.take(1),
          Stream.runCollect,
          Effect.forkChild({ startImmediately: true })
        )
        journal.records.set(old.reservationId, old)
        yield* Cycles.flush("1 second")
        expect(yield* Fiber.join(settlements)).toMatchObject([{ settlement: { _tag: "Rejected", code: "TOO_OLD" } }])
      }).pipe(Effect.provide(restarted(journal)))
    }).pipe(Effect.provide(stage), from(Date.UTC(2026, 5, 1)))
  )
})

describe("journal that fails", () => {
  const broken = { put: () => Effect.fail(new SettlementJournal.JournalError({ operation: "put", problem: "full" })) }

  it.effect("gets the unjournaled spend when the layer closes, if it works then", () =>
    Effect.gen(function* () {
      let isFull = true
      const full = Effect.fail(new SettlementJournal.JournalError({ operation: "put", problem: "full" }))
      const journal = makeJournal({
        put: (record) => (isFull ? full : Effect.sync(() => void journal.records.set(record.reservationId, record)))
      })
      yield* CyclesTest.always("commit", Fault.requestLost)
      yield* Effect.void.pipe(
        Cycles.withCycles({ action, estimate: tokens(100), actual: () => tokens(42) }),
        // Until the attempts of this run are used up.
        Effect.andThen(TestClock.adjust("5 minutes")),
        Effect.andThen(Effect.sync(() => void (isFull = false))),
        Effect.provide(restarted(journal, { flushTimeout: 0 }))
      )
      expect(Array.from(journal.records.values())).toMatchObject([{ mode: "commit" }])
    }).pipe(Effect.provide(stage))
  )

  it.effect("loses no spend while the process runs: unjournaled spend is retried", () =>
    Effect.gen(function* () {
      const journal = makeJournal(broken)
      yield* Effect.gen(function* () {
        yield* CyclesTest.always("commit", Fault.requestLost)
        yield* Effect.void.pipe(Cycles.withCycles({ action, estimate: tokens(100), actual: () => tokens(42) }))
        yield* TestClock.adjust("30 seconds")
        yield* CyclesTest.clearFaults("commit")
        yield* TestClock.adjust("80 seconds")
        expect(yield* Cycles.flush("1 second")).toEqual({ isComplete: true, pending: 0 })
      }).pipe(Effect.provide(restarted(journal, { retry: CyclesConfig.retryPolicy({ jitter: false }) })))
      expect(yield* books).toEqual({ spent: 42, reserved: 0 })
    }).pipe(Effect.provide(stage))
  )

  it.effect("makes a flush incomplete while spend is unjournaled, which counts as pending", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("commit", Fault.requestLost)
      yield* Effect.gen(function* () {
        yield* Effect.void.pipe(Cycles.withCycles({ action, estimate: tokens(100), actual: tokens(42) }))
        // Until the attempts of this run are used up.
        yield* TestClock.adjust("5 minutes")
        expect(yield* Cycles.flush("1 second")).toEqual({ isComplete: false, pending: 1 })
      }).pipe(Effect.provide(restarted(makeJournal(broken), { flushTimeout: 0 })))
    }).pipe(Effect.provide(stage))
  )

  it.effect("makes a flush incomplete if it can't be read", () =>
    Effect.gen(function* () {
      const journal = makeJournal({
        pending: Stream.fail(new SettlementJournal.JournalError({ operation: "read", problem: "gone" }))
      })
      yield* Effect.gen(function* () {
        expect(yield* Cycles.flush("1 second")).toEqual({ isComplete: false, pending: 0 })
      }).pipe(Effect.provide(restarted(journal)))
    }).pipe(Effect.provide(stage))
  )

  it.effect("is read again after a read that hangs and can't be interrupted", () =>
    Effect.gen(function* () {
      const record = yield* left()
      const hanging = Stream.fromEffect(Effect.uninterruptible(Effect.never))
      let reads = 0
      const journal = makeJournal({
        pending: Stream.suspend(() => ((reads += 1) === 1 ? hanging : Stream.make(record)))
      })
      yield* Effect.gen(function* () {
        yield* TestClock.adjust("5 minutes")
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(restarted(journal)))
    }).pipe(Effect.provide(stage))
  )

  it.effect("is reported as not durable if it can't be opened", () =>
    Effect.gen(function* () {
      const layer = Layer.succeed(SettlementJournal.SettlementJournal, {
        [SettlementJournal.TypeId]: SettlementJournal.TypeId,
        isDurable: true,
        open: () => Effect.fail(new SettlementJournal.JournalError({ operation: "open", problem: "no folder" }))
      })
      yield* CyclesTest.inject("commit", Fault.requestLost)
      const [settlement] = yield* Effect.void.pipe(
        withSettlement({ action, estimate: tokens(100) }),
        Effect.provide(restarted({ ...makeJournal(), layer }))
      )
      expect(settlement).toMatchObject({ _tag: "Pending", isJournaled: false })
    }).pipe(Effect.provide(stage))
  )
})
