/**
 * Settlements of guarded calls.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Amount, Settlement } from "effect-cycles"
import { Cycles } from "effect-cycles"

/** Guards an effect. Returns the settlement that `onSettled` received, and the value. */
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

/** Guards an effect and returns its settlement. */
export const settlementOf = <A, E, R, U extends Amount.Unit>(
  body: Effect.Effect<A, E, R>,
  options: Cycles.GuardOptions<A, [], U, "warn", "report">
) => Effect.map(withSettlement(options)(body), ([settlement]) => settlement)

/** Returns a list that receives every settlement from now on. */
export const watchSettlements = Effect.gen(function* () {
  const seen: Array<Settlement.Settlement> = []
  yield* Stream.runForEach(Cycles.settlements, ({ settlement }) => Effect.sync(() => seen.push(settlement))).pipe(
    Effect.forkDetach({ startImmediately: true })
  )
  yield* Effect.yieldNow
  return seen
})
