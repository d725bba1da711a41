/**
 * A guard whose result comes with its settlement.
 */
import type { Amount } from "effect-cycles"
import type { Settlement } from "effect-cycles"
import { Cycles } from "effect-cycles"
import * as Effect from "effect/Effect"

/** Guards an effect, and returns the settlement that `onSettled` got together with the value. */
export const withSettlement =
  <A, U extends Amount.Unit, const H extends Cycles.Heartbeat = "warn", const K extends string = never>(
    options: Cycles.GuardOptions<A, [], U, H, "report", K>
  ) =>
  <E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.suspend(() => {
      const settlements: Array<Settlement.Settlement> = []
      const guarded = Cycles.withCycles(self, {
        ...options,
        onSettled: (settlement) => Effect.sync(() => settlements.push(settlement))
      })
      return Effect.map(guarded, (value) => {
        const [settlement, ...others] = settlements
        if (settlement === undefined || others.length > 0) throw new Error(`onSettled ran ${settlements.length} times`)
        return [settlement, value] as const
      })
    })
