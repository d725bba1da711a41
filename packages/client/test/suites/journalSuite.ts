/**
 * The contract of a settlement journal, over any store.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { SettlementJournal } from "effect-cycles"
import { owner, record } from "../node/records.ts"

export { owner, record } from "../node/records.ts"

const open = (whose = owner) => Effect.flatMap(SettlementJournal.SettlementJournal, (journal) => journal.open(whose))

const ids = (journal: SettlementJournal.Journal) =>
  Effect.map(Stream.runCollect(journal.pending), (records) => records.map((one) => one.reservationId))

/** The contract; `make` gives a store of its own each time. */
export const journalSuite = (name: string, make: () => Layer.Layer<SettlementJournal.SettlementJournal>): void => {
  const test = (
    what: string,
    body: Effect.Effect<void, SettlementJournal.JournalError, SettlementJournal.SettlementJournal>
  ) => it.live(what, () => Effect.scoped(Effect.provide(body, make())))

  describe(`SettlementJournal (${name})`, () => {
    test(
      "gives back what was put, digit by digit",
      Effect.gen(function* () {
        const journal = yield* open()
        const one = record("r1", { mode: "event", notBeforeMs: 5 })
        yield* journal.put(one)
        expect(yield* Stream.runCollect(journal.pending)).toEqual([one])
      }).pipe(Effect.scoped)
    )

    test(
      "replaces the record of the same reservation",
      Effect.gen(function* () {
        const journal = yield* open()
        yield* journal.put(record("r1"))
        yield* journal.put(record("r1", { mode: "event" }))
        const records = yield* Stream.runCollect(journal.pending)
        expect(records.map((one) => one.mode)).toEqual(["event"])
      }).pipe(Effect.scoped)
    )

    test(
      "forgets what was removed, and only that",
      Effect.gen(function* () {
        const journal = yield* open()
        const odd = "a/b\\c ..: é"
        yield* journal.put(record("r1"))
        yield* journal.put(record(odd))
        yield* journal.remove(record("r1").reservationId)
        yield* journal.remove(record("never").reservationId)
        // A removal need not be durable when it returns; the next write has it done.
        yield* journal.put(record(odd))
        expect(yield* ids(journal)).toEqual([odd])
      }).pipe(Effect.scoped)
    )

    test(
      "moves a record to the dead letters, and forgets one on request",
      Effect.gen(function* () {
        const journal = yield* open()
        const letter = { record: record("r1"), reason: "BUDGET_FROZEN: frozen", diedAtMs: 7 }
        yield* journal.put(letter.record)
        yield* journal.bury(letter)
        expect(yield* ids(journal)).toEqual([])
        expect(yield* Stream.runCollect(journal.deadLetters)).toEqual([letter])
        yield* journal.forget(letter.record.reservationId)
        expect(yield* Stream.runCollect(journal.deadLetters)).toEqual([])
      }).pipe(Effect.scoped)
    )

    test(
      "keeps owners apart",
      Effect.gen(function* () {
        const mine = yield* open()
        const theirs = yield* open({ ...owner, fingerprint: "8baba538fb970da4" })
        yield* mine.put(record("r1"))
        expect(yield* ids(theirs)).toEqual([])
      }).pipe(Effect.scoped)
    )

    test(
      "a record with odd numbers is in nobody's way",
      Effect.gen(function* () {
        const journal = yield* open()
        const odd = [
          record("r1", { recordedAtMs: 2 ** 60 }),
          record("r2", { notBeforeMs: 2 ** 60 }),
          record("r3", { notBeforeMs: 0.5 }),
          record("r4", { notBeforeMs: 1e300 })
        ]
        yield* Effect.forEach(
          [record("r0"), ...odd, record("r5")],
          (one) => (odd.includes(one) ? Effect.ignore(journal.put(one)) : journal.put(one)),
          { concurrency: "unbounded", discard: true }
        )
        const found = yield* ids(journal)
        expect(found).toContain("r0")
        expect(found).toContain("r5")
      }).pipe(Effect.scoped)
    )

    test(
      "takes a thousand records at once",
      Effect.gen(function* () {
        const journal = yield* open()
        yield* Effect.forEach(
          Array.from({ length: 1_000 }, (_, i) => record(`r${i}`)),
          (one) => journal.put(one),
          { concurrency: "unbounded", discard: true }
        )
        expect((yield* ids(journal)).length).toBe(1_000)
      }).pipe(Effect.scoped)
    )
  })
}
