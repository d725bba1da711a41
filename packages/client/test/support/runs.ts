/**
 * Guarded calls within runs, and what a run shows about them.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { Cycles, CyclesError } from "effect-cycles"
import type { Amount, Run } from "effect-cycles"
import { action, live, tokens } from "./live.ts"

/** A client and a server with a million of every unit. */
export const rich = (config?: Parameters<typeof live>[0]) =>
  live(config, {
    server: {
      budgets: (["TOKENS", "USD_MICROCENTS", "RISK_POINTS", "CREDITS"] as const).map((unit) => ({
        unit,
        allocated: 1_000_000
      }))
    }
  })

/** A guarded call in tokens. */
export const spend = (estimate: number, actual = estimate) =>
  Cycles.withCycles(Effect.void, { action, estimate: tokens(estimate), actual: tokens(actual) })

/** A guarded call in tokens that runs until the latch opens. */
export const spendAfter = (latch: Deferred.Deferred<void>, estimate: number, actual = estimate) =>
  Cycles.withCycles(Deferred.await(latch), { action, estimate: tokens(estimate), actual: tokens(actual) })

/** A guarded call in any unit. */
export const spendIn = (amount: Amount.Amount) => Cycles.withCycles(Effect.void, { action, estimate: amount })

/** The least amount that is left in a unit. */
export const remaining = (run: Run.Run, unit: Amount.Unit = "TOKENS") =>
  Effect.map(run.remaining(unit), (left) => Option.getOrUndefined(Option.map(left, ({ amount }) => Number(amount))))

/** The spent and the held amount of a run in tokens. */
export const amounts = (run: Run.Run) =>
  Effect.gen(function* () {
    const spent = yield* run.spent("TOKENS")
    const held = yield* run.held("TOKENS")
    return { spent: Number(spent.amount), held: Number(held.amount) }
  })

/** Runs an effect that must be denied, and returns the fields of the denial that users read. */
export const denialOf = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(self), (error) => {
    if (!CyclesError.isBudgetExceeded(error)) throw error
    const { code, remaining, run, scopes } = error
    return { code, scopes, remaining: remaining === undefined ? undefined : Number(remaining.amount), name: run?.name }
  })

/** Runs an effect and returns its warnings and errors in the log. */
export const warningsOf = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const warnings: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      if (logLevel === "Warn" || logLevel === "Error") warnings.push(String(message))
    })
    return Effect.map(Effect.provide(self, Logger.layer([logger])), () => warnings)
  })

/** Lets other fibers run until they wait. */
export const settle = Effect.forEach(Array.from({ length: 100 }), () => Effect.yieldNow, { discard: true })
