/**
 * The ledger: what reserve, commit, release, extend, decide and events do to the books. The figures are worked out in
 * `books.ts`; what a key permits has been seen to before.
 *
 * It is a deterministic function of commands and time. Everything that varies, the instant and new names, comes in with the
 * command; the same commands give the same books. A command runs to its end or throws a `Refusal` before it has changed
 * anything, so that all scopes of a reservation move together or not at all.
 *
 * Source: ERROR SEMANTICS, OVERDRAFT RECONCILIATION and IDEMPOTENCY of the protocol.
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
import type { Answer } from "./answer.ts"
import { once } from "./answer.ts"
import * as Books from "./books.ts"
import { formOfReserve } from "./canonical.ts"
import type { Asked, Caller, Context } from "./context.ts"
import type { Budget, Reservation } from "./model.ts"
import * as Policies from "./policies.ts"
import type { OpenMetadata } from "./read.ts"
import { otherTenant, Refusal, tenantClosed } from "./refusal.ts"
import { expired, finalized, mine, settleable, settledAt } from "./reservations.ts"
import type { Store } from "./store.ts"
import { dayMs } from "./store.ts"

// ---------------------------------------------------------------------------------------------------------------------
// time
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Does what has fallen due: expired reservations give back what they held, old things are forgotten. It does so much at a
 * time and no more, so that nobody waits for it long; whether something may be left is returned.
 */
export const sweep = ({ nowMs, store }: Pick<Context, "nowMs" | "store">): boolean => {
  const reservations = store.reservations.due(nowMs - 1, atATime)
  for (const reservation of reservations) {
    if (reservation.status === "ACTIVE") expire(store, reservation)
    else store.reservations.remove(reservation.id)
  }
  const forgotten = store.answers.forget(nowMs - 1, atATime)
  return reservations.length === atATime || forgotten === atATime
}

const atATime = 1_000

const expire = (store: Store, reservation: Reservation): void => {
  Books.freed(store, reservation).forEach(store.budgets.put)
  store.reservations.put({ ...reservation, status: "EXPIRED" })
}

// ---------------------------------------------------------------------------------------------------------------------
// reserve and decide
// ---------------------------------------------------------------------------------------------------------------------

/** `POST /v1/reservations` */
export const reserve = (
  context: Context,
  caller: Caller,
  request: OpenMetadata<ReservationCreateRequest>,
  body: string
): Answer => {
  own(caller, request.subject)
  return once(
    context,
    { id: `reserve ${caller.tenant.id} ${request.idempotencyKey}`, body, form: formOfReserve },
    () => {
      const { nowMs, store } = context
      const isDryRun = request.dryRun === true
      const scopes = Subject.scopes(request.subject)
      const looked = look(context, caller, request, scopes)
      const scopePath = scopes[scopes.length - 1] ?? ""
      if (looked.refused !== undefined) {
        if (!isDryRun || looked.refused.status === 400) throw Books.toRefusal(looked.refused)
        return {
          answer: {
            decision: "DENY",
            affected_scopes: scopes,
            scope_path: scopePath,
            reason_code: Books.reasonOf(looked.refused)
          },
          keepMs: dayMs
        }
      }
      const policy = Policies.matching(context, caller.tenant.id, scopes)
      const caps = looked.caps ?? policy.caps
      const unit = request.estimate.unit
      const amount = request.estimate.amount
      const decision = caps === undefined ? "ALLOW" : "ALLOW_WITH_CAPS"
      if (isDryRun) {
        return {
          answer: {
            decision,
            affected_scopes: scopes,
            scope_path: scopePath,
            reserved: Books.money(unit, amount),
            caps,
            balances: looked.budgets.map(Books.balance)
          },
          keepMs: dayMs
        }
      }
      Policies.limit(context, policy, "reservations")
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
        heldScopes: looked.budgets.map((budget) => budget.scope),
        overagePolicy: request.overagePolicy ?? policy.overagePolicy ?? caller.tenant.overagePolicy,
        extensions: 0,
        maxExtensions: policy.ttl?.maxExtensions ?? caller.tenant.maxExtensions,
        metadata: request.metadata,
        committedMetadata: undefined
      }
      const after = looked.budgets.map((budget) => Books.hold(budget, amount))
      after.forEach(store.budgets.put)
      store.reservations.put(reservation)
      return {
        answer: {
          decision,
          reservation_id: reservation.id,
          affected_scopes: scopes,
          expires_at_ms: reservation.expiresAtMs,
          remaining_ttl_ms: ttlMs,
          scope_path: scopePath,
          reserved: Books.money(unit, amount),
          caps,
          balances: after.map(Books.balance)
        },
        keepMs: Math.max(dayMs, ttlMs + graceMs),
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
): Answer => {
  own(caller, request.subject)
  return once(context, { id: `decide ${caller.tenant.id} ${request.idempotencyKey}`, body }, () => {
    const scopes = Subject.scopes(request.subject)
    const { caps, refused } = look(context, caller, request, scopes)
    if (refused !== undefined) {
      if (refused.status === 400) throw Books.toRefusal(refused)
      return {
        answer: {
          decision: "DENY",
          reason_code: Books.reasonOf(refused),
          affected_scopes: scopes
        },
        keepMs: dayMs
      }
    }
    const all = caps ?? Policies.matching(context, caller.tenant.id, scopes).caps
    return {
      answer: {
        decision: all === undefined ? "ALLOW" : "ALLOW_WITH_CAPS",
        caps: all,
        affected_scopes: scopes
      },
      keepMs: dayMs
    }
  })
}

/** The budgets on a path, and whether they allow an estimate. */
const look = (
  context: Context,
  caller: Caller,
  request: Asked,
  scopes: ReadonlyArray<string>
): { readonly budgets: ReadonlyArray<Budget>; readonly caps: unknown; readonly refused: Books.Refused | undefined } => {
  const { amount, unit } = request.estimate
  const { budgets, refused } = Books.find(context.store, caller.tenant.id, scopes, unit)
  const denied = context.deny(request)
  const caps = budgets.find((budget) => budget.scope === scopes[scopes.length - 1])?.caps
  return {
    budgets,
    caps,
    refused:
      refused ??
      (denied === undefined ? undefined : { status: 409, code: denied, message: `Denied by rule: ${denied}` }) ??
      Books.againstEstimate(budgets, amount)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// commit, release, extend
// ---------------------------------------------------------------------------------------------------------------------

/** `POST /v1/reservations/{id}/commit` */
export const commit = (
  context: Context,
  caller: Caller,
  rid: string,
  request: OpenMetadata<CommitRequest>,
  body: string
): Answer => {
  const { nowMs, store } = context
  const reservation = mine(context, caller, rid)
  return once(context, { id: `commit ${rid} ${request.idempotencyKey}`, parentId: rid, body }, () => {
    settleable(reservation, nowMs)
    const { amount: actual, unit } = request.actual
    if (unit !== reservation.unit) {
      throw new Refusal(400, "UNIT_MISMATCH", "Provided units does not match the stored ones")
    }
    Policies.limit(context, Policies.matching(context, caller.tenant.id, reservation.affectedScopes), "commits")
    const budgets = Books.freed(store, reservation)
    if (actual > reservation.amount && reservation.overagePolicy === "REJECT") {
      throw new Refusal(409, "BUDGET_EXCEEDED", "The actual amount exceeds what was reserved, and the policy is REJECT")
    }
    const { after, charged } =
      actual <= reservation.amount
        ? { after: budgets.map((budget) => Books.spend(budget, actual)), charged: actual }
        : Books.overage(budgets, reservation.amount, actual, reservation.overagePolicy)
    after.forEach(store.budgets.put)
    store.reservations.put({
      ...reservation,
      status: "COMMITTED",
      committed: charged,
      finalizedAtMs: settledAt(context, caller.tenant.id),
      committedMetadata: request.metadata
    })
    const released = reservation.amount - charged
    return {
      answer: {
        status: "COMMITTED",
        charged: Books.money(unit, charged),
        released: released > 0n ? Books.money(unit, released) : undefined,
        balances: after.map(Books.balance)
      },
      keepMs: monthMs
    }
  })
}

/** `POST /v1/reservations/{id}/release` */
export const release = (
  context: Context,
  caller: Caller | "admin",
  rid: string,
  request: OpenMetadata<ReleaseRequest>,
  body: string
): Answer => {
  const { nowMs, store } = context
  const reservation = mine(context, caller, rid)
  return once(context, { id: `release ${rid} ${request.idempotencyKey}`, parentId: rid, body }, () => {
    const tenant = store.tenants.get(reservation.tenantId)
    if (tenant?.status === "CLOSED") throw tenantClosed(tenant.id)
    settleable(reservation, nowMs)
    const after = Books.freed(store, reservation)
    after.forEach(store.budgets.put)
    store.reservations.put({
      ...reservation,
      status: "RELEASED",
      finalizedAtMs: settledAt(context, reservation.tenantId)
    })
    return {
      answer: {
        status: "RELEASED",
        released: Books.money(reservation.unit, reservation.amount),
        balances: after.map(Books.balance)
      },
      keepMs: monthMs
    }
  })
}

/** `POST /v1/reservations/{id}/extend` */
export const extend = (
  context: Context,
  caller: Caller,
  rid: string,
  request: OpenMetadata<ExtendRequest>,
  body: string
): Answer => {
  const { nowMs, store } = context
  const reservation = mine(context, caller, rid)
  if (reservation.status === "EXPIRED") throw expired()
  return once(context, { id: `extend ${rid} ${request.idempotencyKey}`, parentId: rid, body }, () => {
    if (reservation.status !== "ACTIVE") throw finalized()
    if (nowMs > reservation.expiresAtMs) throw expired()
    if (reservation.extensions >= reservation.maxExtensions) {
      throw new Refusal(
        409,
        "MAX_EXTENSIONS_EXCEEDED",
        `Maximum reservation extensions (${reservation.maxExtensions}) reached`
      )
    }
    const expiresAtMs = reservation.expiresAtMs + request.extendByMs
    store.reservations.put({ ...reservation, expiresAtMs, extensions: reservation.extensions + 1 })
    return {
      answer: {
        status: "ACTIVE",
        expires_at_ms: expiresAtMs,
        remaining_ttl_ms: expiresAtMs - nowMs,
        balances: Books.held(store, reservation).map(Books.balance)
      },
      // Not a moment longer than the lease that it gave: in the grace period there is nothing to extend.
      keepMs: expiresAtMs - nowMs,
      reservation: { id: rid, expiresAtMs }
    }
  })
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
): Answer => {
  own(caller, request.subject)
  return once(context, { id: `event ${caller.tenant.id} ${request.idempotencyKey}`, body }, () => {
    const scopes = Subject.scopes(request.subject)
    const { amount: actual, unit } = request.actual
    const found = Books.find(context.store, caller.tenant.id, scopes, unit)
    const policy =
      request.overagePolicy ??
      Policies.matching(context, caller.tenant.id, scopes).overagePolicy ??
      caller.tenant.overagePolicy
    const refused = found.refused ?? Books.againstEvent(found.budgets, actual, policy)
    if (refused !== undefined) throw Books.toRefusal(refused)
    const { after, charged } = Books.overage(found.budgets, 0n, actual, policy)
    after.forEach(context.store.budgets.put)
    return {
      status: 201,
      answer: {
        status: "APPLIED",
        event_id: context.makeId(),
        charged: charged < actual ? Books.money(unit, charged) : undefined,
        balances: after.map(Books.balance)
      },
      keepMs: 7 * dayMs
    }
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** How long the answer of a settlement is kept. */
const monthMs = 30 * dayMs

/** A subject names no other tenant than its caller. */
const own = (caller: Caller, subject: Subject.Subject): void => {
  if (subject.tenant !== undefined && subject.tenant !== caller.tenant.id) {
    throw otherTenant()
  }
}
