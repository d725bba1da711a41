/**
 * The remaining amount in a denial. Error responses of the protocol don't contain it, so the client reads the balances.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { Amount, Cycles, CyclesError } from "effect-cycles"
import { action, tokens } from "./support/live.ts"

const reserve = (dryRun: boolean) =>
  Effect.flip(Effect.void.pipe(Cycles.withCycles({ action, estimate: tokens(1_000), subject: { agent: "a" }, dryRun })))

const layer = CyclesTest.layer({
  budgets: [
    { unit: "TOKENS", allocated: 700 },
    { unit: "TOKENS", allocated: 58, scope: "agent:a" },
    { unit: "TOKENS", allocated: 5, scope: "agent:b" },
    { unit: "USD_MICROCENTS", allocated: 1 }
  ]
})

const expectUnknown = (denial: unknown): void => {
  expect(denial).toBeInstanceOf(CyclesError.BudgetExceeded)
  expect(denial).not.toHaveProperty("remaining")
}

describe("denial", () => {
  it.effect.each([
    ["reserve", false],
    ["dry run", true]
  ] as const)(
    "of a %s contains the amount left in its unit, and the scope of its subject with the least left",
    ([, dryRun]) =>
      Effect.gen(function* () {
        const error = yield* reserve(dryRun)
        expect(error).toMatchObject({
          _tag: "BudgetExceeded",
          remaining: Amount.makeSigned("TOKENS", 58n),
          limitingScope: "tenant:acme/agent:a"
        })
        expect(error.message).toContain("58 TOKENS left in tenant:acme/agent:a")
      }).pipe(Effect.provide(layer))
  )

  it.effect.each([
    ["are refused", Fault.error(403, "FORBIDDEN")],
    ["aren't JSON", Fault.garbage],
    ["can't be requested", Fault.connectionRefused]
  ] as const)("doesn't contain the remaining amount if the balances %s", ([, fault]) =>
    Effect.gen(function* () {
      yield* CyclesTest.always("balances", fault)
      expectUnknown(yield* reserve(false))
    }).pipe(Effect.provide(layer))
  )

  it.effect("is returned without the remaining amount after one second if the balances don't arrive", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("balances", Fault.noResponse)
      const fiber = yield* Effect.forkChild(reserve(false), { startImmediately: true })
      yield* TestClock.adjust("999 millis")
      expect(fiber.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust("1 millis")
      expectUnknown(yield* Fiber.join(fiber))
    }).pipe(Effect.provide(layer))
  )

  it.effect("isn't delayed within a minute after the balances didn't arrive, and reads them again after it", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("balances", Fault.noResponse)
      const slow = yield* Effect.forkChild(reserve(false), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      expectUnknown(yield* Fiber.join(slow))
      yield* TestClock.adjust("59 seconds")
      expectUnknown(yield* reserve(false))
      expect((yield* CyclesTest.requests("balances")).length).toBe(1)
      yield* TestClock.adjust("1 second")
      expect(yield* reserve(false)).toMatchObject({ limitingScope: "tenant:acme/agent:a" })
    }).pipe(Effect.provide(layer))
  )

  it.effect("can be interrupted while the balances are read", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("balances", Fault.noResponse)
      const fiber = yield* Effect.forkChild(reserve(false), { startImmediately: true })
      yield* TestClock.adjust("10 millis")
      yield* Fiber.interrupt(fiber)
      yield* CyclesTest.expectNothingReserved()
    }).pipe(Effect.provide(layer))
  )

  it.effect("of a frozen budget doesn't read the balances", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("reserve", Fault.error(409, "BUDGET_FROZEN"))
      expect(yield* reserve(false)).toMatchObject({ _tag: "BudgetExceeded", code: "BUDGET_FROZEN" })
      expect(yield* CyclesTest.requests("balances")).toEqual([])
    }).pipe(Effect.provide(layer))
  )
})
