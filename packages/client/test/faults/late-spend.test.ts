/**
 * Spend that becomes known late, and bodies that complete while they are interrupted: known spend is charged.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import { CyclesServer } from "@effect-cycles/server"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type { Amount } from "effect-cycles"
import { Cycles, CyclesConfig, Reservation } from "effect-cycles"
import { provideUnclosed } from "../support/collaborators.ts"
import { action, books, live, operations, tokens } from "../support/live.ts"
import { outcomeOf } from "../support/outcomes.ts"

const stage = live({ retry: CyclesConfig.retryPolicy({ jitter: false }) })

const options = { action, estimate: tokens(100) }

/** Records or adds, a second after the body has ended. */
const later = (spend: Effect.Effect<void, Amount.UnitMismatch, Reservation.Reservation>) =>
  Effect.asVoid(Effect.forkDetach(Effect.delay(spend, "1 second")))

/** Asserts the charged amount, and that nothing is reserved. */
const expectCharged = (spent: number) =>
  Effect.gen(function* () {
    yield* TestClock.adjust("2 minutes")
    expect(yield* books).toEqual({ spent, reserved: 0 })
    yield* CyclesTest.expectNothingReserved()
  })

describe("spend recorded after the settlement", () => {
  it.effect("by a detached fiber is charged, less the committed amount (record)", () =>
    Effect.gen(function* () {
      yield* later(Reservation.record({ actual: tokens(8) })).pipe(
        Cycles.withCycles({ ...options, actual: () => tokens(1) })
      )
      yield* expectCharged(8)
    }).pipe(Effect.provide(stage))
  )

  it.effect("by a detached fiber is charged (add)", () =>
    Effect.gen(function* () {
      yield* Reservation.record({ actual: tokens(1) }).pipe(
        Effect.andThen(later(Reservation.add(tokens(7)))),
        Cycles.withCycles(options)
      )
      yield* expectCharged(8)
    }).pipe(Effect.provide(stage))
  )

  it.effect("by eight detached fibers is charged in full", () =>
    Effect.gen(function* () {
      yield* Effect.forEach(Array.from({ length: 8 }), () => later(Reservation.add(tokens(1))), { discard: true }).pipe(
        Cycles.withCycles({ ...options, actual: tokens(1), onFailure: "partial" })
      )
      yield* TestClock.adjust("2 minutes")
      // Whether `actual` includes the amount that is added later isn't specified.
      expect([8, 9]).toContain((yield* books).spent)
    }).pipe(Effect.provide(stage))
  )

  it.effect("after a release is charged in full", () =>
    Effect.gen(function* () {
      yield* later(Reservation.record({ actual: tokens(8) })).pipe(
        Effect.andThen(Effect.fail("the body fails")),
        Cycles.withCycles(options),
        Effect.exit
      )
      yield* expectCharged(8)
    }).pipe(Effect.provide(stage))
  )

  it.effect("by a detached fiber of a stream is charged", () =>
    Effect.gen(function* () {
      yield* Stream.fromEffect(later(Reservation.record({ actual: tokens(8) }))).pipe(
        Cycles.withCyclesStream({ ...options, usage: () => tokens(1) }),
        Stream.runDrain
      )
      yield* expectCharged(8)
    }).pipe(Effect.provide(stage))
  )

  it.effect("by a detached fiber is charged as an event with the id of its reservation", () =>
    Effect.gen(function* () {
      yield* later(Reservation.record({ actual: tokens(8) })).pipe(
        Cycles.withCycles({ ...options, actual: () => tokens(1) })
      )
      yield* TestClock.adjust("2 minutes")
      const { reservations } = yield* CyclesServer.CyclesServer
      const id = (yield* reservations)[0]?.id ?? "none"
      const events = yield* CyclesTest.requests("event")
      expect(events).toHaveLength(1)
      expect(events[0]?.body).toContain(id)
    }).pipe(Effect.provide(stage))
  )

  for (const [what, settle] of [
    ["commit", (active: Reservation.Active<"TOKENS">) => active.commit({ actual: tokens(1) })],
    ["release", (active: Reservation.Active<"TOKENS">) => active.release()]
  ] as const) {
    it.effect(`through a handle after its ${what} is charged`, () =>
      Effect.gen(function* () {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const reservation = yield* Cycles.reserve(options)
            yield* settle(reservation)
            yield* reservation.record({ actual: tokens(8) })
          })
        )
        yield* expectCharged(8)
      }).pipe(Effect.provide(stage))
    )
  }

  it.effect("through a handle after its scope has closed is charged", () =>
    Effect.gen(function* () {
      const reservation = yield* Effect.scoped(Cycles.reserve(options))
      yield* reservation.record({ actual: tokens(8) })
      yield* expectCharged(8)
    }).pipe(Effect.provide(stage))
  )
})

describe("reserve in a scope that closes", () => {
  it.effect("returns no handle when the scope has closed", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      yield* Scope.close(scope, Exit.void)
      const exit = yield* Cycles.reserve(options).pipe(Scope.provide(scope), Effect.exit)
      expect(outcomeOf(exit)).not.toBe("success")
      yield* CyclesTest.expectNothingReserved()
    }).pipe(Effect.provide(stage))
  )

  it.effect("returns no handle when the scope closes before the response", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("reserve", Fault.requestLate(5_000))
      const scope = yield* Scope.make()
      const fiber = yield* Cycles.reserve(options).pipe(
        Scope.provide(scope),
        Effect.forkDetach({ startImmediately: true })
      )
      yield* Effect.forkDetach(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      expect(outcomeOf(fiber.pollUnsafe())).not.toBe("success")
      yield* CyclesTest.expectNothingReserved()
    }).pipe(provideUnclosed(stage))
  )

  it.effect("returns no handle to a finalizer of the same scope", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      let outcome = "never"
      yield* Scope.addFinalizer(
        scope,
        Effect.gen(function* () {
          outcome = outcomeOf(yield* Cycles.reserve(options).pipe(Scope.provide(scope), Effect.exit))
        }).pipe(Effect.provideContext(yield* Effect.context<Cycles.Cycles>()))
      )
      yield* Effect.forkDetach(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      expect(outcome).not.toBe("success")
      yield* CyclesTest.expectNothingReserved()
    }).pipe(provideUnclosed(stage))
  )
})

describe("body that completes while it is interrupted", () => {
  const paid = Effect.uninterruptible(Effect.as(Effect.sleep("5 seconds"), { total: 42 }))

  const measured = { ...options, actual: (result: { readonly total: number }) => tokens(result.total) }

  for (const heartbeat of ["warn", "failOnFinalize", "cancel"] as const) {
    it.effect(`commits the actual amount of its result (heartbeat: ${heartbeat})`, () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.forkDetach(Cycles.withCycles(paid, { ...measured, heartbeat }), {
          startImmediately: true
        })
        yield* TestClock.adjust("1 second")
        yield* Effect.forkDetach(Fiber.interrupt(fiber), { startImmediately: true })
        yield* expectCharged(42)
        expect(outcomeOf(fiber.pollUnsafe())).not.toBe("never")
      }).pipe(Effect.provide(stage))
    )
  }

  it.effect("commits the actual amount of its result when a timeout interrupts it", () =>
    Effect.gen(function* () {
      yield* Effect.forkDetach(Effect.timeout(Cycles.withCycles(paid, measured), "1 second"), {
        startImmediately: true
      })
      yield* expectCharged(42)
    }).pipe(Effect.provide(stage))
  )

  it.effect("commits the actual amount of its result when it loses a race", () =>
    Effect.gen(function* () {
      yield* Effect.forkDetach(Effect.race(Cycles.withCycles(paid, measured), Effect.sleep("1 second")), {
        startImmediately: true
      })
      yield* expectCharged(42)
    }).pipe(Effect.provide(stage))
  )

  it.effect("commits the actual amount of its result, not the recorded part", () =>
    Effect.gen(function* () {
      const body = Effect.andThen(Reservation.record({ actual: tokens(7) }), paid)
      const fiber = yield* Effect.forkDetach(Cycles.withCycles(body, measured), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Effect.forkDetach(Fiber.interrupt(fiber), { startImmediately: true })
      yield* expectCharged(42)
    }).pipe(Effect.provide(stage))
  )
})

describe("lease that ends with the client's commit", () => {
  for (const heartbeat of ["failOnFinalize", "cancel"] as const) {
    it.effect(`doesn't fail withCycles (heartbeat: ${heartbeat})`, () =>
      Effect.gen(function* () {
        // The server has committed; the response comes after the next extend was refused.
        yield* CyclesTest.inject("commit", Fault.late(5_000))
        const run = Cycles.withCycles(Effect.as(Effect.sleep("5 seconds"), "result"), {
          ...options,
          actual: tokens(42),
          ttl: "10 seconds",
          heartbeat
        })
        const fiber = yield* Effect.forkDetach(run, { startImmediately: true })
        yield* TestClock.adjust("30 seconds")
        expect(yield* operations).toContain("commit")
        expect(fiber.pollUnsafe()).toMatchObject({ _tag: "Success", value: "result" })
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(stage))
    )

    it.effect(`doesn't fail a commit by hand (heartbeat: ${heartbeat})`, () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("commit", Fault.late(5_000))
        const run = Effect.scoped(
          Effect.gen(function* () {
            const reservation = yield* Cycles.reserve({ ...options, ttl: "10 seconds", heartbeat })
            yield* Effect.sleep("5 seconds")
            return yield* reservation.commit({ actual: tokens(42) })
          })
        )
        const fiber = yield* Effect.forkDetach(run, { startImmediately: true })
        yield* TestClock.adjust("30 seconds")
        expect(outcomeOf(fiber.pollUnsafe())).toBe("success")
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(stage))
    )
  }
})
