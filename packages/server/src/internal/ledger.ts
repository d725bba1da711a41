/**
 * The commands of the ledger: reserve, decide, commit, release, extend and events. `accounting.ts` computes the amounts.
 * Callers are already authorized.
 *
 * The ledger is deterministic: the time and new ids are inputs, so the same commands lead to the same state. A command either
 * completes or throws an `ErrorResponse` before it changes anything, so all scopes of a reservation change together.
 *
 * @see ERROR SEMANTICS, OVERDRAFT RECONCILIATION and IDEMPOTENCY in cycles-protocol-v0.yaml
 */
import type { DecisionRequest } from "@effect-cycles/protocol/Decision"
import type { EventCreateRequest } from "@effect-cycles/protocol/Event"
import * as Limits from "@effect-cycles/protocol/Limits"
import type {
  CommitRequest,
  ExtendRequest,
  ReleaseRequest,
  ReservationCreateRequest
} from "@effect-cycles/protocol/Reservation"
import * as Subject from "@effect-cycles/protocol/Subject"
import type { JsonResponse } from "./response.ts"
import { idempotent } from "./response.ts"
import * as Accounting from "./accounting.ts"
import { canonicalReserveBody } from "./canonical.ts"
import type { BudgetRequest, Caller, Context } from "./context.ts"
import type { Budget, Reservation } from "./model.ts"
import * as Policies from "./policies.ts"
import type { OpenMetadata } from "./parse.ts"
import { tenantMismatch, ErrorResponse, tenantClosed } from "./errorResponse.ts"
import {
  reservationExpired,
  reservationFinalized,
  ownedReservation,
  checkSettleable,
  nextSettlementTime
} from "./reservations.ts"
import { dayMs } from "./store.ts"

// ---------------------------------------------------------------------------------------------------------------------
// reserve and decide
// ---------------------------------------------------------------------------------------------------------------------

/** `POST /v1/reservations` */
export const reserve = (
  context: Context,
  caller: Caller,
  request: OpenMetadata<ReservationCreateRequest>,
  body: string
): JsonResponse => {
  checkSubjectTenant(caller, request.subject)
  return idempotent(
    context,
    { id: `reserve ${caller.tenant.id} ${request.idempotencyKey}`, body, canonicalize: canonicalReserveBody },
    () => {
      const { nowMs, store } = context
      const isDryRun = request.dryRun === true
      const scopes = Subject.scopes(request.subject)
      const evaluation = evaluate(context, caller, request, scopes)
      const scopePath = scopes[scopes.length - 1] ?? ""
      if (evaluation.denial !== undefined) {
        if (!isDryRun || evaluation.denial.status === 400) throw Accounting.toErrorResponse(evaluation.denial)
        return {
          payload: {
            decision: "DENY",
            affected_scopes: scopes,
            scope_path: scopePath,
            reason_code: Accounting.reasonCodeOf(evaluation.denial)
          },
          retentionMs: dayMs
        }
      }
      const policy = Policies.effectivePolicy(context, caller.tenant.id, scopes)
      const caps = evaluation.caps ?? policy.caps
      const unit = request.estimate.unit
      const amount = request.estimate.amount
      const decision = caps === undefined ? "ALLOW" : "ALLOW_WITH_CAPS"
      if (isDryRun) {
        return {
          payload: {
            decision,
            affected_scopes: scopes,
            scope_path: scopePath,
            reserved: Accounting.money(unit, amount),
            caps,
            balances: evaluation.budgets.map(Accounting.balanceRow)
          },
          retentionMs: dayMs
        }
      }
      Policies.checkRateLimit(context, policy, "reservations")
      const defaultTtlMs = policy.ttl?.defaultTtlMs ?? caller.tenant.defaultTtlMs
      const ttlMs = Math.min(request.ttlMs ?? defaultTtlMs, policy.ttl?.maxTtlMs ?? caller.tenant.maxTtlMs)
      const graceMs = request.gracePeriodMs ?? Limits.defaultGracePeriodMs
      const reservation: Reservation = {
        id: context.makeId(),
        tenantId: caller.tenant.id,
        status: "ACTIVE",
        idempotencyKey: request.idempotencyKey,
        subject: request.subject,
        action: request.action,
        unit,
        amount,
        committed: undefined,
        createdAtMs: nowMs,
        expiresAtMs: nowMs + ttlMs,
        graceMs,
        finalizedAtMs: undefined,
        scopePath,
        affectedScopes: scopes,
        heldScopes: evaluation.budgets.map((budget) => budget.scope),
        overagePolicy: request.overagePolicy ?? policy.overagePolicy ?? caller.tenant.overagePolicy,
        extensions: 0,
        maxExtensions: policy.ttl?.maxExtensions ?? caller.tenant.maxExtensions,
        metadata: request.metadata,
        committedMetadata: undefined
      }
      const after = evaluation.budgets.map((budget) => Accounting.hold(budget, amount))
      after.forEach(store.budgets.put)
      store.reservations.put(reservation)
      return {
        payload: {
          decision,
          reservation_id: reservation.id,
          affected_scopes: scopes,
          expires_at_ms: reservation.expiresAtMs,
          remaining_ttl_ms: ttlMs,
          scope_path: scopePath,
          reserved: Accounting.money(unit, amount),
          caps,
          balances: after.map(Accounting.balanceRow)
        },
        retentionMs: Math.max(dayMs, ttlMs + graceMs),
        reservation
      }
    }
  )
}

/** `POST /v1/decide` */
export const decide = (
  context: Context,
  caller: Caller,
  request: OpenMetadata<DecisionRequest>,
  body: string
): JsonResponse => {
  checkSubjectTenant(caller, request.subject)
  return idempotent(context, { id: `decide ${caller.tenant.id} ${request.idempotencyKey}`, body }, () => {
    const scopes = Subject.scopes(request.subject)
    const { caps, denial } = evaluate(context, caller, request, scopes)
    if (denial !== undefined) {
      if (denial.status === 400) throw Accounting.toErrorResponse(denial)
      return {
        payload: {
          decision: "DENY",
          reason_code: Accounting.reasonCodeOf(denial),
          affected_scopes: scopes
        },
        retentionMs: dayMs
      }
    }
    const effectiveCaps = caps ?? Policies.effectivePolicy(context, caller.tenant.id, scopes).caps
    return {
      payload: {
        decision: effectiveCaps === undefined ? "ALLOW" : "ALLOW_WITH_CAPS",
        caps: effectiveCaps,
        affected_scopes: scopes
      },
      retentionMs: dayMs
    }
  })
}

/** Finds the budgets of a path, and checks whether they and the rules of `denyWhen` allow an estimate. */
const evaluate = (
  context: Context,
  caller: Caller,
  request: BudgetRequest,
  scopes: ReadonlyArray<string>
): {
  readonly budgets: ReadonlyArray<Budget>
  readonly caps: unknown
  readonly denial: Accounting.Denial | undefined
} => {
  const { amount, unit } = request.estimate
  const { budgets, denial } = Accounting.find(context.store, caller.tenant.id, scopes, unit)
  const ruleCode = context.deny(request)
  const caps = budgets.find((budget) => budget.scope === scopes[scopes.length - 1])?.caps
  return {
    budgets,
    caps,
    denial:
      denial ??
      (ruleCode === undefined ? undefined : { status: 409, code: ruleCode, message: `Denied by rule: ${ruleCode}` }) ??
      Accounting.checkEstimate(budgets, amount)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// commit, release, extend
// ---------------------------------------------------------------------------------------------------------------------

/** `POST /v1/reservations/{id}/commit` */
export const commit = (
  context: Context,
  caller: Caller,
  reservationId: string,
  request: OpenMetadata<CommitRequest>,
  body: string
): JsonResponse => {
  const { nowMs, store } = context
  const reservation = ownedReservation(context, caller, reservationId)
  return idempotent(
    context,
    { id: `commit ${reservationId} ${request.idempotencyKey}`, parentId: reservationId, body },
    () => {
      checkSettleable(reservation, nowMs)
      const { amount: actual, unit } = request.actual
      if (unit !== reservation.unit) {
        throw new ErrorResponse(400, "UNIT_MISMATCH", "Provided units does not match the stored ones")
      }
      Policies.checkRateLimit(
        context,
        Policies.effectivePolicy(context, caller.tenant.id, reservation.affectedScopes),
        "commits"
      )
      const budgets = Accounting.withoutHold(store, reservation)
      if (actual > reservation.amount && reservation.overagePolicy === "REJECT") {
        throw new ErrorResponse(
          409,
          "BUDGET_EXCEEDED",
          "The actual amount exceeds the reserved amount, and the policy is REJECT"
        )
      }
      const { after, charged } =
        actual <= reservation.amount
          ? { after: budgets.map((budget) => Accounting.spend(budget, actual)), charged: actual }
          : Accounting.overage(budgets, reservation.amount, actual, reservation.overagePolicy)
      after.forEach(store.budgets.put)
      store.reservations.put({
        ...reservation,
        status: "COMMITTED",
        committed: charged,
        finalizedAtMs: nextSettlementTime(context, caller.tenant.id),
        committedMetadata: request.metadata
      })
      const released = reservation.amount - charged
      return {
        payload: {
          status: "COMMITTED",
          charged: Accounting.money(unit, charged),
          released: released > 0n ? Accounting.money(unit, released) : undefined,
          balances: after.map(Accounting.balanceRow)
        },
        retentionMs: settlementRetentionMs
      }
    }
  )
}

/** `POST /v1/reservations/{id}/release` */
export const release = (
  context: Context,
  caller: Caller | "admin",
  reservationId: string,
  request: OpenMetadata<ReleaseRequest>,
  body: string
): JsonResponse => {
  const { nowMs, store } = context
  const reservation = ownedReservation(context, caller, reservationId)
  return idempotent(
    context,
    { id: `release ${reservationId} ${request.idempotencyKey}`, parentId: reservationId, body },
    () => {
      const tenant = store.tenants.get(reservation.tenantId)
      if (tenant?.status === "CLOSED") throw tenantClosed(tenant.id)
      checkSettleable(reservation, nowMs)
      const after = Accounting.withoutHold(store, reservation)
      after.forEach(store.budgets.put)
      store.reservations.put({
        ...reservation,
        status: "RELEASED",
        finalizedAtMs: nextSettlementTime(context, reservation.tenantId)
      })
      return {
        payload: {
          status: "RELEASED",
          released: Accounting.money(reservation.unit, reservation.amount),
          balances: after.map(Accounting.balanceRow)
        },
        retentionMs: settlementRetentionMs
      }
    }
  )
}

/** `POST /v1/reservations/{id}/extend` */
export const extend = (
  context: Context,
  caller: Caller,
  reservationId: string,
  request: OpenMetadata<ExtendRequest>,
  body: string
): JsonResponse => {
  const { nowMs, store } = context
  const reservation = ownedReservation(context, caller, reservationId)
  if (reservation.status === "EXPIRED") throw reservationExpired()
  return idempotent(
    context,
    { id: `extend ${reservationId} ${request.idempotencyKey}`, parentId: reservationId, body },
    () => {
      if (reservation.status !== "ACTIVE") throw reservationFinalized()
      if (nowMs > reservation.expiresAtMs) throw reservationExpired()
      if (reservation.extensions >= reservation.maxExtensions) {
        throw new ErrorResponse(
          409,
          "MAX_EXTENSIONS_EXCEEDED",
          `Maximum reservation extensions (${reservation.maxExtensions}) reached`
        )
      }
      const expiresAtMs = reservation.expiresAtMs + request.extendByMs
      store.reservations.put({ ...reservation, expiresAtMs, extensions: reservation.extensions + 1 })
      return {
        payload: {
          status: "ACTIVE",
          expires_at_ms: expiresAtMs,
          remaining_ttl_ms: expiresAtMs - nowMs,
          balances: Accounting.budgetsHolding(store, reservation).map(Accounting.balanceRow)
        },
        // Repeating the response after the extended lease has ended would report a lease that does not exist.
        retentionMs: expiresAtMs - nowMs,
        reservation: { id: reservationId, expiresAtMs }
      }
    }
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// events
// ---------------------------------------------------------------------------------------------------------------------

/** `POST /v1/events` */
export const event = (
  context: Context,
  caller: Caller,
  request: OpenMetadata<EventCreateRequest>,
  body: string
): JsonResponse => {
  checkSubjectTenant(caller, request.subject)
  return idempotent(context, { id: `event ${caller.tenant.id} ${request.idempotencyKey}`, body }, () => {
    const scopes = Subject.scopes(request.subject)
    const { amount: actual, unit } = request.actual
    const found = Accounting.find(context.store, caller.tenant.id, scopes, unit)
    const policy =
      request.overagePolicy ??
      Policies.effectivePolicy(context, caller.tenant.id, scopes).overagePolicy ??
      caller.tenant.overagePolicy
    const denial = found.denial ?? Accounting.checkEvent(found.budgets, actual, policy)
    if (denial !== undefined) throw Accounting.toErrorResponse(denial)
    const { after, charged } = Accounting.overage(found.budgets, 0n, actual, policy)
    after.forEach(context.store.budgets.put)
    return {
      status: 201,
      payload: {
        status: "APPLIED",
        event_id: context.makeId(),
        charged: charged < actual ? Accounting.money(unit, charged) : undefined,
        balances: after.map(Accounting.balanceRow)
      },
      retentionMs: 7 * dayMs
    }
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** How long the response of a settlement is stored, in milliseconds. */
const settlementRetentionMs = 30 * dayMs

/** Throws a 403 if the subject names another tenant. */
const checkSubjectTenant = (caller: Caller, subject: Subject.Subject): void => {
  if (subject.tenant !== undefined && subject.tenant !== caller.tenant.id) {
    throw tenantMismatch()
  }
}
