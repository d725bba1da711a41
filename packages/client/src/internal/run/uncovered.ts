/** Spend without an estimate, and the warning about a unit without a budget. */
import type { Unit } from "@effect-cycles/protocol/Amount"
import * as Effect from "effect/Effect"
import * as Log from "../runtime/log.ts"
import type { Ledger } from "./ledger.ts"
import type { Call } from "./lines.ts"

/** Logs that no run has a budget in the unit. Called once for each run and unit. */
export const warnUncovered = ({ id, reference: { name } }: Ledger, unit: Unit): Effect.Effect<void> =>
  Log.warning(`The run ${name} (${id}) has no budget in ${unit}: spend in this unit is counted and not limited`)

/** Charges an event to a run, and warns if it is the first spend in a unit without a budget. */
export const chargeEvent = (run: Ledger, event: Call): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { unit } = event.amount
    run.chargeEvent(event)
    return run.budgets.markUncovered(unit) ? warnUncovered(run, unit) : Effect.void
  })
