/**
 * The contract of a settlement journal, over any store.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Identifiers, SettlementJournal } from "effect-cycles"
import { owner, record } from "../node/records.ts"

const open = (journalOwner = owner) =>
  Effect.flatMap(SettlementJournal.SettlementJournal, (journal) => journal.open(journalOwner))

const pending = (journal: SettlementJournal.Journal) => Stream.runCollect(journal.pending)

const ids = (journal: SettlementJournal.Journal) =>
  Effect.map(pending(journal), (records) => records.map((one) => one.reservationId))

const letters = (journal: SettlementJournal.Journal) => Stream.runCollect(journal.deadLetters)

/** A commit of another amount: the body of another settlement. */
const body = (amount: number) => `{"idempotency_key":"commit-k","actual":{"unit":"TOKENS","amount":${amount}}}`

const letterOf = (record: SettlementJournal.JournalRecord, diedAtMs = 7): SettlementJournal.DeadLetter => ({
  record,
  reason: "BUDGET_FROZEN: frozen",
  diedAtMs
})

const idOf = (id: string) => Identifiers.ReservationId.make(id, { disableChecks: true })

/** The contract; `make` returns a new store each time. */
export const journalSuite = (name: string, make: () => Layer.Layer<SettlementJournal.SettlementJournal>): void => {
  const test = (
    what: string,
    body: Effect.Effect<void, SettlementJournal.JournalError, SettlementJournal.SettlementJournal | Scope.Scope>
  ) => it.live(what, () => Effect.scoped(Effect.provide(body, make())))

  describe(`SettlementJournal (${name})`, () => {
    describe("put", () => {
      test(
        "stores records exactly, without rounding a number",
        Effect.gen(function* () {
          const journal = yield* open()
          const one = record("r1", { mode: "event", notBeforeMs: 5 })
          const without = record("r2", { eventBody: undefined })
          yield* journal.put(one)
          yield* journal.put(without)
          expect(yield* pending(journal)).toEqual([one, without])
        })
      )

      test(
        "replaces the record with the same reservation and body",
        Effect.gen(function* () {
          const journal = yield* open()
          yield* journal.put(record("r1"))
          const later = record("r1", { mode: "event", eventBody: '{"a":1}', recordedAtMs: 3, notBeforeMs: 4 })
          yield* journal.put(later)
          expect(yield* pending(journal)).toEqual([later])
        })
      )

      test(
        "keeps records of one reservation with different bodies, and replaces only the one with the same body",
        Effect.gen(function* () {
          const journal = yield* open()
          const all = [1, 2, 3].map((n) => record("r1", { commitBody: body(n), recordedAtMs: n }))
          yield* Effect.forEach(all, journal.put)
          expect(yield* pending(journal)).toEqual(all)
          const changed = all.map((one) => ({ ...one, mode: "event" as const }))
          yield* Effect.forEach(changed.toReversed(), journal.put)
          expect(yield* pending(journal)).toEqual(changed)
        })
      )

      test(
        "keeps all records of 40 concurrent writers of one reservation",
        Effect.gen(function* () {
          const journal = yield* open()
          const all = Array.from({ length: 40 }, (_, n) => record("r1", { commitBody: body(n), recordedAtMs: n }))
          yield* Effect.forEach(all, journal.put, { concurrency: "unbounded", discard: true })
          expect(yield* pending(journal)).toEqual(all)
        })
      )

      test(
        "accepts a thousand concurrent records",
        Effect.gen(function* () {
          const journal = yield* open()
          yield* Effect.forEach(
            Array.from({ length: 1_000 }, (_, i) => record(`r${i}`)),
            (one) => journal.put(one),
            { concurrency: "unbounded", discard: true }
          )
          expect((yield* ids(journal)).length).toBe(1_000)
        })
      )
    })

    describe("pending", () => {
      test(
        "emits the oldest record first",
        Effect.gen(function* () {
          const journal = yield* open()
          for (const n of [3, 1, 2, 5, 4]) yield* journal.put(record(`r${n}`, { recordedAtMs: n }))
          expect(yield* ids(journal)).toEqual(["r1", "r2", "r3", "r4", "r5"])
        })
      )

      test(
        "emits no record of another owner",
        Effect.gen(function* () {
          const one = yield* open()
          const another = yield* open({ ...owner, fingerprint: "8baba538fb970da4" })
          yield* one.put(record("r1"))
          yield* one.bury(letterOf(record("r2")))
          expect(yield* ids(another)).toEqual([])
          expect(yield* letters(another)).toEqual([])
          expect(yield* another.isDecided(idOf("r1"))).toBe(false)
        })
      )

      test(
        "emits the records of every handle of an owner",
        Effect.gen(function* () {
          const one = yield* open()
          const other = yield* open()
          yield* one.put(record("r1"))
          yield* other.put(record("r2"))
          expect(yield* ids(one)).toEqual(["r1", "r2"])
          expect(yield* ids(other)).toEqual(["r1", "r2"])
        })
      )

      test(
        "emits the other records if one has invalid numbers",
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
        })
      )

      test(
        "returns malformed reservation ids unchanged, each as a separate record",
        Effect.gen(function* () {
          const journal = yield* open()
          const odd = [
            "",
            "\ud800",
            "\ud801",
            "\udc00x",
            "utf16:",
            "utf16:00d8",
            "x".repeat(10_000),
            "a\u0000b",
            "é",
            "e\u0301"
          ]
          const all = odd.map((id, n) => record("r", { reservationId: idOf(id), recordedAtMs: n }))
          yield* Effect.forEach(all, journal.put, { concurrency: "unbounded", discard: true })
          yield* journal.put(record("ordinary", { recordedAtMs: 100 }))
          expect(yield* ids(journal)).toEqual([...odd, "ordinary"])
          for (const one of all) {
            expect(yield* journal.isDecided(one.reservationId)).toBe(true)
            yield* journal.putOpen(one)
            yield* journal.removeOpen(one.reservationId)
          }
          yield* Effect.forEach(all, (one) => journal.bury(letterOf(one, one.recordedAtMs)))
          expect(yield* ids(journal)).toEqual(["ordinary"])
          expect((yield* letters(journal)).map((letter) => letter.record)).toEqual(all)
          yield* Effect.forEach(all, (one) => journal.forget(letterOf(one)))
          expect(yield* letters(journal)).toEqual([])
        })
      )
    })

    describe("remove", () => {
      test(
        "removes only the given record",
        Effect.gen(function* () {
          const journal = yield* open()
          const odd = "a/b\\c ..: é"
          yield* journal.put(record("r1"))
          yield* journal.put(record(odd))
          yield* journal.remove(record("r1"))
          yield* journal.remove(record("never"))
          // A removal may not be durable when it returns. The next write completes it.
          yield* journal.put(record(odd))
          expect(yield* ids(journal)).toEqual([odd])
        })
      )

      test(
        "leaves records of the same reservation with other bodies",
        Effect.gen(function* () {
          const journal = yield* open()
          const all = [1, 2, 3].map((n) => record("r1", { commitBody: body(n), recordedAtMs: n }))
          yield* Effect.forEach(all, journal.put)
          yield* journal.remove(record("r1", { commitBody: body(9) }))
          yield* journal.remove(record("r1", { commitBody: body(1), mode: "event", recordedAtMs: 8 }))
          yield* journal.put(record("r2", { recordedAtMs: 10 }))
          expect((yield* pending(journal)).map((one) => one.commitBody)).toEqual([
            body(2),
            body(3),
            record("r2").commitBody
          ])
          yield* journal.remove(record("r1", { commitBody: body(3) }))
          yield* journal.put(record("r1", { commitBody: body(4), recordedAtMs: 4 }))
          expect((yield* pending(journal)).map((one) => one.recordedAtMs)).toEqual([2, 4, 10])
        })
      )
    })

    describe("bury", () => {
      test(
        "moves a record to the dead letters, from which forget removes it",
        Effect.gen(function* () {
          const journal = yield* open()
          const letter = letterOf(record("r1"))
          yield* journal.put(letter.record)
          yield* journal.bury(letter)
          expect(yield* ids(journal)).toEqual([])
          expect(yield* letters(journal)).toEqual([letter])
          yield* journal.forget(letter)
          expect(yield* letters(journal)).toEqual([])
        })
      )

      test(
        "keeps dead letters with different bodies apart, and their records too",
        Effect.gen(function* () {
          const journal = yield* open()
          const all = [1, 2, 3].map((n) => record("r1", { commitBody: body(n), recordedAtMs: n }))
          yield* Effect.forEach(all, journal.put)
          yield* Effect.forEach(all.slice(0, 2), (one) => journal.bury(letterOf(one, one.recordedAtMs)))
          expect(yield* pending(journal)).toEqual(all.slice(2))
          expect((yield* letters(journal)).map((letter) => letter.record)).toEqual(all.slice(0, 2))
          yield* journal.bury({ ...letterOf(record("r1", { commitBody: body(1) })), reason: "TOO_OLD: again" })
          expect((yield* letters(journal)).map((letter) => letter.reason)).toEqual([
            "BUDGET_FROZEN: frozen",
            "TOO_OLD: again"
          ])
          yield* journal.forget(letterOf(record("r1", { commitBody: body(2) })))
          expect((yield* letters(journal)).map((letter) => letter.record.commitBody)).toEqual([body(1)])
        })
      )
    })

    describe("isDecided", () => {
      test(
        "is true from put to remove, and from bury to forget",
        Effect.gen(function* () {
          const journal = yield* open()
          const { reservationId } = record("r1")
          const other = record("r1", { commitBody: body(1) })
          const seen: Array<boolean> = []
          const look = Effect.map(journal.isDecided(reservationId), (is) => seen.push(is))
          yield* look
          yield* journal.put(record("r1"))
          yield* look
          yield* journal.put(other)
          yield* journal.remove(record("r1"))
          yield* journal.put(record("r2"))
          yield* look
          yield* journal.bury(letterOf(other))
          yield* look
          yield* journal.forget(letterOf(other))
          yield* look
          expect(seen).toEqual([false, true, true, true, false])
        })
      )

      test(
        "doesn't count an open record",
        Effect.gen(function* () {
          const journal = yield* open()
          yield* journal.putOpen(record("r1"))
          expect(yield* journal.isDecided(idOf("r1"))).toBe(false)
          yield* journal.removeOpen(idOf("r1"))
        })
      )
    })

    describe("putOpen", () => {
      test(
        "adds nothing to pending",
        Effect.gen(function* () {
          const journal = yield* open()
          yield* journal.putOpen(record("r1"))
          yield* journal.putOpen(record("r1", { commitBody: body(1) }))
          expect(yield* ids(journal)).toEqual([])
          yield* journal.put(record("r1", { commitBody: body(2) }))
          expect((yield* pending(journal)).map((one) => one.commitBody)).toEqual([body(2)])
        })
      )

      test(
        "isn't adopted by any handle while the handle that wrote it is alive",
        Effect.gen(function* () {
          const one = yield* open()
          const other = yield* open()
          yield* one.putOpen(record("r1"))
          expect(yield* one.adoptOpen).toBe(0)
          expect(yield* other.adoptOpen).toBe(0)
          expect(yield* ids(other)).toEqual([])
        })
      )

      test(
        "keeps a handle alive after its scope has closed, until the record is removed or decided",
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const outlived = yield* Effect.provideService(open(), Scope.Scope, scope)
          const other = yield* open()
          yield* outlived.putOpen(record("r1"))
          yield* outlived.putOpen(record("r2"))
          yield* Scope.close(scope, Exit.void)
          expect(yield* other.adoptOpen).toBe(0)
          yield* outlived.removeOpen(idOf("r1"))
          yield* outlived.put(record("r2"))
          expect(yield* other.adoptOpen).toBe(0)
          expect(yield* ids(other)).toEqual(["r2"])
        })
      )

      test(
        "allows removeOpen and another putOpen in any order",
        Effect.gen(function* () {
          const journal = yield* open()
          yield* journal.removeOpen(idOf("never"))
          for (const n of [1, 2, 3]) {
            yield* journal.putOpen(record("r1", { commitBody: body(n) }))
            yield* journal.removeOpen(idOf("r1"))
          }
          yield* journal.put(record("r1"))
          yield* journal.removeOpen(idOf("r1"))
          expect(yield* pending(journal)).toEqual([record("r1")])
        })
      )
    })

    test(
      "allows every operation after the scope of the handle has closed",
      Effect.gen(function* () {
        const journal = yield* Effect.scoped(open())
        yield* journal.put(record("r1"))
        yield* journal.put(record("r2", { recordedAtMs: 1 }))
        yield* journal.putOpen(record("r3"))
        yield* journal.removeOpen(idOf("r3"))
        yield* journal.remove(record("r1"))
        yield* journal.bury(letterOf(record("r4")))
        expect(yield* ids(journal)).toEqual(["r2"])
        expect(yield* journal.isDecided(idOf("r4"))).toBe(true)
        expect(yield* letters(journal)).toEqual([letterOf(record("r4"))])
        yield* journal.forget(letterOf(record("r4")))
        expect(yield* letters(journal)).toEqual([])
        expect(yield* journal.adoptOpen).toBe(0)
      })
    )
  })
}
