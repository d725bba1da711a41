/** The spend of a tool call: the total that its handler records, and the amount to commit after a success. */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { Reservation } from "effect-cycles/Reservation"
import type * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import { assumeSuccess } from "./assume.ts"
import type { Budget } from "./budget.ts"

/** A value that a callback threw. The call dies with it after the settlement. */
export interface Thrown {
  readonly thrown: unknown
}

/** The spend of one call. */
export class Spend {
  /** The reservation for the handler. It keeps the recorded total. */
  readonly reservation: Reservation
  readonly #inner: Reservation
  #recorded: { readonly amount: Amount.Amount; readonly isEstimated: boolean } | undefined = undefined

  constructor(inner: Reservation) {
    this.#inner = inner
    const { unit } = inner.estimate
    this.reservation = {
      ...inner,
      record: (options) =>
        Effect.suspend(() => {
          const { actual, isEstimated } = options
          if (actual.unit === unit) this.#recorded = { amount: actual, isEstimated: isEstimated === true }
          return inner.record(options)
        }),
      add: (added) =>
        Effect.suspend(() => {
          if (added.unit === unit) {
            const before = this.#recorded ?? { amount: Amount.zero(unit), isEstimated: false }
            this.#recorded = { ...before, amount: Amount.sum(before.amount, added) }
          }
          return inner.add(added)
        })
    }
  }

  /** Records the total of a call that has succeeded. Returns the value that `actual` threw, if it threw one. */
  record<T extends Tool.Any>(tool: T, actual: Budget<T>["actual"], result: unknown): Effect.Effect<Thrown | undefined> {
    if (actual === undefined) return Effect.as(this.#recorded === undefined ? this.#estimate : Effect.void, undefined)
    return Effect.suspend(() => {
      try {
        assumeSuccess<T>(tool, result)
        return this.#actual(tool, typeof actual === "function" ? actual(result) : actual)
      } catch (thrown) {
        return Effect.as(this.#estimate, { thrown })
      }
    })
  }

  /** The client commits the estimate if the unit differs. */
  #actual(tool: Tool.Any, actual: Amount.Amount): Effect.Effect<Thrown | undefined> {
    const recorded = this.#recorded
    const { unit } = this.#inner.estimate
    if (
      recorded !== undefined &&
      !recorded.isEstimated &&
      actual.unit === unit &&
      actual.amount < recorded.amount.amount
    ) {
      return Effect.as(
        Effect.logWarning(
          `The actual amount ${actual} of the tool ${tool.name} is below the recorded total; ${recorded.amount} is committed`
        ),
        undefined
      )
    }
    return Effect.matchEffect(this.#inner.record({ actual }), {
      onFailure: (mismatch) => Effect.succeed({ thrown: mismatch }),
      onSuccess: () => Effect.undefined
    })
  }

  /** Records an unknown amount: the estimate, or the recorded total if it is larger. */
  get #estimate(): Effect.Effect<void> {
    const { estimate } = this.#inner
    const recorded = this.#recorded?.amount
    const actual = recorded !== undefined && recorded.amount > estimate.amount ? recorded : estimate
    return Effect.orDie(this.#inner.record({ actual, isEstimated: true }))
  }
}
