/** The warning about a unit without a budget. */
import type { Unit } from "@effect-cycles/protocol/Amount"
import type * as Effect from "effect/Effect"
import * as Log from "../runtime/log.ts"
import type { Ledger } from "./ledger.ts"

/** Logs that no run has a budget in the unit. Called once for each run and unit. */
export const warnUncovered = ({ id, reference: { name } }: Ledger, unit: Unit): Effect.Effect<void> =>
  Log.warning(`The run ${name} (${id}) has no budget in ${unit}: spend in this unit is counted and not limited`)
