import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type { Reservation } from "effect-cycles"
import { Amount, Cycles, SettlementJournal } from "effect-cycles"
import { noJournal } from "./support/journal.ts"
import { action, books, live, operations, tokens } from "./support/live.ts"

const options = { action, estimate: tokens(100), actual: () => tokens(42) }

const isFull = Effect.fail(new SettlementJournal.JournalError({ operation: "put", problem: "the disk is full" }))

/** A journal that can't be written. */
const full = Layer.succeed(SettlementJournal.SettlementJournal, {
  [SettlementJournal.TypeId]: SettlementJournal.TypeId,
  isDurable: true,
  open: () => Effect.succeed({ ...noJournal, put: () => isFull, putOpen: () => isFull })
})

describe("scoped", () => {
  describe("scope that outlives the layer", () => {
    it.effect("closes and settles its reservations", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const layer = yield* Scope.make()
        const context = yield* Layer.buildWithScope(live(), layer)
        yield* Cycles.reserve(options).pipe(
          Effect.tap((reservation) => reservation.record({ actual: tokens(42) })),
          Scope.provide(scope),
          Effect.provideContext(context)
        )
        yield* Scope.close(layer, Exit.void)
        yield* Scope.close(scope, Exit.void)
        expect(yield* Effect.provideContext(operations, context)).toEqual(["reserve", "commit"])
      })
    )
  })

  describe("commit", () => {
    const estimate: Amount.Amount = tokens(100)
    const credits: Amount.Amount = Amount.credits(1)
    const actual: Amount.Amount = tokens(42)

    it.effect.each<readonly [string, (reservation: Reservation.Active<string>) => Effect.Effect<unknown, unknown>]>([
      ["a record", (reservation) => reservation.record({ actual: credits })],
      ["an addition", (reservation) => reservation.add(credits)],
      ["a commit", (reservation) => reservation.commit({ actual: credits })]
    ])("charges the actual amount, and not the estimate, after %s of another unit has failed", ([, spend]) =>
      Effect.gen(function* () {
        const reservation = yield* Cycles.reserve({ action, estimate })
        expect(yield* Effect.flip(spend(reservation))).toMatchObject({ _tag: "UnitMismatch" })
        expect(yield* reservation.commit({ actual })).toMatchObject({ _tag: "Committed", isEstimated: false })
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.scoped, Effect.provide(live()))
    )

    it.effect("charges the recorded total if the actual amount is below it", () =>
      Effect.gen(function* () {
        const lines: Array<string> = []
        const reservation = yield* Cycles.reserve({ action, estimate })
        yield* reservation.record({ actual: tokens(80) })
        const settlement = yield* reservation
          .commit({ actual })
          .pipe(Effect.provide(Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))])))
        expect(settlement).toMatchObject({ _tag: "Committed", isEstimated: false })
        expect(yield* books).toEqual({ spent: 80, reserved: 0 })
        expect(lines.join()).toContain(
          "the actual amount 42 TOKENS is below the recorded total; 80 TOKENS is committed"
        )
      }).pipe(Effect.scoped, Effect.provide(live()))
    )

    it.effect("charges the recorded total when its scope closes after a commit with invalid metrics", () =>
      Effect.gen(function* () {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const reservation = yield* Cycles.reserve({ action, estimate })
            yield* reservation.record({ actual: tokens(80) })
            const failed = yield* Effect.flip(reservation.commit({ actual, metrics: { latencyMs: -1 } }))
            expect(failed).toMatchObject({ _tag: "InvalidRequest" })
          })
        )
        expect(yield* books).toEqual({ spent: 80, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("replaces a total that was recorded as an estimate, or corrected by a later record", () =>
      Effect.gen(function* () {
        const first = yield* Cycles.reserve({ action, estimate })
        yield* first.record({ actual: tokens(80), isEstimated: true })
        yield* first.commit({ actual })
        const second = yield* Cycles.reserve({ action, estimate })
        yield* second.record({ actual: tokens(80) })
        yield* second.record({ actual: tokens(10) })
        yield* second.commit({ actual: tokens(10) })
        expect(yield* books).toEqual({ spent: 52, reserved: 0 })
      }).pipe(Effect.scoped, Effect.provide(live()))
    )

    it.effect("charges the actual amount after the journal could not store a recorded total", () =>
      Effect.gen(function* () {
        const reservation = yield* Cycles.reserve({ action, estimate, onCrash: "recorded" })
        yield* reservation.record({ actual: tokens(20) })
        expect(yield* reservation.commit({ actual })).toMatchObject({ _tag: "Committed", isEstimated: false })
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.scoped, Effect.provide(live(undefined, { journal: full })))
    )
  })

  describe("release", () => {
    it.effect.each(["[]", "{}", "42", "null"])("returns the budget if its reason isn't a text: %s", (reason) =>
      Effect.gen(function* () {
        const reservation = yield* Cycles.reserve(options)
        expect(yield* reservation.release(JSON.parse(reason))).toMatchObject({
          _tag: "Released",
          reason: "released_by_caller"
        })
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.scoped, Effect.provide(live()))
    )
  })

  describe("scope that closes while the layer closes", () => {
    it.effect("isn't interrupted if the flush ends before the settlement", () =>
      Effect.gen(function* () {
        const layer = yield* Scope.make()
        const context = yield* Layer.buildWithScope(live({ flushTimeout: "1 second", settle: "wait" }), layer)
        yield* CyclesTest.always("commit", Fault.noResponse).pipe(Effect.provideContext(context))
        const used = yield* Effect.scoped(
          Effect.gen(function* () {
            const reservation = yield* Cycles.reserve(options)
            yield* reservation.record({ actual: tokens(42) })
            return 42
          })
        ).pipe(Effect.provideContext(context), Effect.forkChild({ startImmediately: true }))
        yield* TestClock.adjust(0)
        const closed = yield* Effect.forkChild(Scope.close(layer, Exit.void), { startImmediately: true })
        yield* TestClock.adjust("30 seconds")
        yield* Fiber.join(closed)
        expect(yield* Fiber.join(used)).toBe(42)
      })
    )
  })
})
