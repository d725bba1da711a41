/** The admission of a guarded call by the run of its caller. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { BudgetExceeded } from "../../CyclesError.ts"
import { isBudgetExceeded } from "../../CyclesError.ts"
import type { Handle } from "../reservation/handle.ts"
import type { Prepared } from "../reservation/options.ts"
import type { Ledger } from "../run/ledger.ts"
import type { Ticket } from "../run/ticket.ts"
import type { Restore } from "../run/waiting.ts"
import { warnUncovered } from "../run/uncovered.ts"

/**
 * Holds the estimate in the run of the caller, and makes the reservation only if there is room. If there is no
 * reservation in the end, returns the hold.
 */
export const withinRun = <E>(
  restore: Restore,
  prepared: Prepared,
  isInside: boolean,
  acquired: Effect.Effect<Handle, E>
): Effect.Effect<Handle, E | BudgetExceeded> =>
  prepared.run === undefined ? acquired : admitted(restore, prepared.run, prepared, isInside, acquired)

const admitted = <E>(
  restore: Restore,
  run: Ledger,
  prepared: Prepared,
  isInside: boolean,
  acquired: Effect.Effect<Handle, E>
): Effect.Effect<Handle, E | BudgetExceeded> =>
  Effect.suspend((): Effect.Effect<Handle, E | BudgetExceeded> => {
    const asked = { action: prepared.action, amount: prepared.estimate, step: prepared.step }
    const admission = prepared.isDryRun ? run.check(asked, true) : run.admit(asked, isInside)
    if (admission === undefined) return acquired
    return "result" in admission
      ? Effect.flatMap(admission.result(restore), (result) => opened(run, prepared, result, acquired))
      : opened(run, prepared, admission, acquired)
  })

const opened = <E>(
  run: Ledger,
  prepared: Prepared,
  admission: Ticket | BudgetExceeded,
  acquired: Effect.Effect<Handle, E>
): Effect.Effect<Handle, E | BudgetExceeded> =>
  Effect.suspend((): Effect.Effect<Handle, E | BudgetExceeded> => {
    if (isBudgetExceeded(admission)) {
      prepared.life.fire("refused")
      return Effect.fail(admission)
    }
    const held = Effect.map(
      Effect.onError(acquired, (cause) =>
        Effect.sync(() => {
          const error = Cause.squash(cause)
          admission.giveBack(isBudgetExceeded(error) ? error : undefined)
        })
      ),
      (handle) => {
        handle.ticket = admission
        return handle
      }
    )
    return admission.isFirstUncovered ? Effect.andThen(warnUncovered(run, prepared.estimate.unit), held) : held
  })
