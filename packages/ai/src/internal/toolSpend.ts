/** The spend of a tool call: the total that its handler records, and the amount to commit after a success. */
import type * as Amount from "@effect-cycles/protocol/Amount"
import type { Recorded, Reservation } from "effect-cycles/Reservation"
import type * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { assumeSuccess } from "./assume.ts"
import type { Budget } from "./budget.ts"

/** A value that a callback threw. The call dies with it after the settlement. */
export interface Thrown {
  readonly thrown: unknown
}

/** The spend of one call. */
export class Spend {
  readonly #reservation: Reservation

  constructor(reservation: Reservation) {
    this.#reservation = reservation
  }

  /** Records the total of a call that has succeeded. Returns the value that `actual` threw, if it threw one. */
  record<T extends Tool.Any>(tool: T, actual: Budget<T>["actual"], result: unknown): Effect.Effect<Thrown | undefined> {
    return Effect.flatMap(this.#reservation.recorded, (option) => {
      const recorded = Option.getOrUndefined(option)
      if (actual === undefined) {
        return Effect.as(recorded === undefined ? this.#estimate(recorded) : Effect.void, undefined)
      }
      try {
        assumeSuccess<T>(tool, result)
        return this.#actual(tool, recorded, typeof actual === "function" ? actual(result) : actual)
      } catch (thrown) {
        return Effect.as(this.#estimate(recorded), { thrown })
      }
    })
  }

  /** The client commits the estimate if the unit differs. */
  #actual(tool: Tool.Any, recorded: Recorded | undefined, actual: Amount.Amount): Effect.Effect<Thrown | undefined> {
    const { unit } = this.#reservation.estimate
    if (
      recorded !== undefined &&
      !recorded.isEstimated &&
      actual.unit === unit &&
      actual.amount < recorded.actual.amount
    ) {
      return Effect.as(
        Effect.logWarning(
          `The actual amount ${actual} of the tool ${tool.name} is below the recorded total; ${recorded.actual} is committed`
        ),
        undefined
      )
    }
    return Effect.matchEffect(this.#reservation.record({ actual }), {
      onFailure: (mismatch) => Effect.succeed({ thrown: mismatch }),
      onSuccess: () => Effect.undefined
    })
  }

  /** Records an unknown amount: the estimate, or the recorded total if it is larger. */
  #estimate(recorded: Recorded | undefined): Effect.Effect<void> {
    const { estimate } = this.#reservation
    const actual = recorded !== undefined && recorded.actual.amount > estimate.amount ? recorded.actual : estimate
    return Effect.orDie(this.#reservation.record({ actual, isEstimated: true }))
  }
}
