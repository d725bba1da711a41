/**
 * A reservation as the client holds it: where it is in its life, what has been spent so far, and its heartbeat.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Caps from "@effect-cycles/protocol/Caps"
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import type { Metrics } from "@effect-cycles/protocol/Metrics"
import type { ReservationCreateResponse } from "@effect-cycles/protocol/Reservation"
import type * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { LeaseLost } from "../../Heartbeat.ts"
import type { Shape } from "../../Reservation.ts"
import type { Beat } from "../lease/heartbeat.ts"
import * as Lifecycle from "./lifecycle.ts"
import type { Prepared } from "./options.ts"

/** A reservation as the client holds it. */
export interface Held {
  /** Absent in a dry run. */
  readonly id: ReservationId | undefined
  readonly prepared: Prepared
  /** What the user sees of it. */
  readonly handle: Shape
  /** When the body could begin, by the monotonic clock. */
  readonly startedAtMs: number
  state: Lifecycle.State
  /** The total that was recorded, if anything was. */
  recorded: Amount.Amount | undefined
  /** Whether what was recorded is an estimate of the caller's. */
  isRecordedEstimated: boolean
  metrics: Metrics | undefined
  /** Whether something was spent whose amount could not be told. */
  isSpendUnknown: boolean
  beat: Beat | undefined
  /** Whether it claims a key of the caller's own. */
  isClaiming: boolean
  /** Why the lease can't be kept any longer. */
  lost: LeaseLost | undefined
  /** Told when the lease is lost, where the policy is to stop the body. */
  onLost: Deferred.Deferred<LeaseLost> | undefined
}

/** The reservation that an answer gave. */
export const make = (prepared: Prepared, answer: ReservationCreateResponse, startedAtMs: number): Held => {
  const { action, estimate, subject } = prepared.request
  /** Something was spent. Where nobody can tell how much, that is remembered before it is raised. */
  const spend = (
    total: () => Result.Result<Amount.Amount, Amount.UnitMismatch>
  ): Effect.Effect<void, Amount.UnitMismatch> =>
    Effect.suspend(() => {
      const wasUnknown = held.isSpendUnknown
      held.isSpendUnknown = true
      const told = total()
      if (Result.isFailure(told)) return Effect.fail(told.failure)
      held.isSpendUnknown = wasUnknown
      held.recorded = told.success
      return Effect.void
    })

  const held: Held = {
    id: answer.reservationId,
    prepared,
    startedAtMs,
    state: Lifecycle.advance("reserving", "allowed"),
    recorded: undefined,
    isRecordedEstimated: false,
    metrics: undefined,
    isSpendUnknown: false,
    beat: undefined,
    isClaiming: prepared.isCallersKey,
    lost: undefined,
    onLost: undefined,
    handle: {
      id: answer.reservationId,
      idempotencyKey: prepared.key,
      decision: answer.decision,
      caps: answer.caps,
      action,
      subject,
      estimate,
      scopes: answer.affectedScopes,
      balances: answer.balances ?? [],
      isToolAllowed: (name) => answer.caps === undefined || Caps.isToolAllowed(answer.caps, name),
      record: (options) =>
        Effect.suspend(() => {
          if (options.metrics !== undefined) held.metrics = { ...held.metrics, ...options.metrics }
          held.isRecordedEstimated = options.isEstimated === true
          return spend(() => inUnit(estimate.unit, options.actual))
        }),
      add: (amount) => spend(() => plus(held.recorded ?? Amount.zero(estimate.unit), amount))
    }
  }
  return held
}

/**
 * An amount that the user told, where it is of the unit of a reservation. It is made anew: a plain object with the same fields
 * has the same type. Throws where it is no amount.
 */
export const inUnit = (unit: Amount.Unit, told: Amount.Amount): Result.Result<Amount.Amount, Amount.UnitMismatch> =>
  plus(Amount.zero(unit), told)

/** The sum of amounts whose units may differ. Throws above 2^63-1. */
const plus = (self: Amount.Amount, that: Amount.Amount): Result.Result<Amount.Amount, Amount.UnitMismatch> =>
  self.unit === that.unit
    ? Result.succeed(Amount.sum(self, that))
    : Result.fail(new Amount.UnitMismatch({ expected: self.unit, actual: that.unit }))

/** Notes that the lease is lost, once, and tells who waits for it. */
export const lose = (held: Held, reason: string): LeaseLost => {
  const lost = held.lost ?? new LeaseLost({ reservationId: held.id ?? "", reason })
  held.lost = lost
  return lost
}
