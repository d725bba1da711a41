/**
 * Adds the remaining amount to a denial. Error responses of the protocol don't have it, so the client reads the
 * balances.
 *
 * This is best effort: the denial is returned without it if the balances aren't there within a second. After a read
 * that fails, is too slow or has too many budgets, the client doesn't read for a minute, so that it doesn't delay every
 * denial.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Balance } from "@effect-cycles/protocol/Balance"
import { BudgetExceeded } from "../../CyclesError.ts"
import { nowMs } from "../config/time.ts"
import { balancesOf } from "../protocol/client.ts"
import type { Engine } from "../reservation/engine.ts"
import type { Prepared } from "../reservation/options.ts"
import { exitWithin } from "../runtime/bounded.ts"

/** The longest wait for the balances. */
const limitMs = 1_000

/** The largest page of the protocol. Without all budgets of a tenant the remaining amount stays unknown. */
const pageSize = 200

/** The time without reads after a read without a result, in milliseconds. */
const pauseMs = 60_000

/** The end of the pause of each client, by the monotonic clock. */
const pausedUntilMs = new WeakMap<Engine, number>()

/** Returns the denial with the remaining amount of the scope that has least left. */
export const withRemaining = (
  engine: Engine,
  prepared: Prepared,
  error: BudgetExceeded
): Effect.Effect<BudgetExceeded> =>
  Effect.clockWith((clock) => {
    const isPaused = nowMs(clock) < (pausedUntilMs.get(engine) ?? 0)
    // The denial of a block of a pool has it already, for all calls that wait for the block.
    if (error.code !== "BUDGET_EXCEEDED" || error.remaining !== undefined || isPaused) return Effect.succeed(error)
    const { dimensions: _, tenant, ...others } = prepared.subject
    const query = { ...(tenant === undefined ? others : { tenant }), limit: pageSize }
    const read = balancesOf(engine.sender.send)(query)
    return Effect.map(exitWithin(engine.timers, Math.min(limitMs, engine.config.timeoutMs), read), (exit) => {
      if (exit === undefined || Exit.isFailure(exit) || exit.value.hasMore === true) {
        pausedUntilMs.set(engine, nowMs(clock) + pauseMs)
        return error
      }
      const least = leastOf(exit.value.balances, prepared)
      return least === undefined
        ? error
        : new BudgetExceeded({ ...error, remaining: least.remaining, limitingScope: least.scopePath })
    })
  })

const leastOf = (balances: ReadonlyArray<Balance>, { estimate, scopes }: Prepared): Balance | undefined => {
  let least: Balance | undefined
  for (const balance of balances) {
    if (balance.remaining.unit !== estimate.unit || !scopes.includes(balance.scopePath)) continue
    if (least === undefined || balance.remaining.amount < least.remaining.amount) least = balance
  }
  return least
}
