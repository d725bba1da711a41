/**
 * The ledger: what reserve, commit, release, extend, decide and events do to the books.
 *
 * It is a deterministic function of commands and time. Everything that varies, the instant and new names, comes in with the
 * command; the same commands give the same books. A command runs to its end or throws a `Refusal` before it has changed
 * anything, so that all scopes of a reservation move together or not at all.
 *
 * Source: ERROR SEMANTICS, OVERDRAFT RECONCILIATION and IDEMPOTENCY of the protocol.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { DecisionRequest } from "@effect-cycles/protocol/Decision"
import type { EventCreateRequest } from "@effect-cycles/protocol/Event"
import * as Json from "@effect-cycles/protocol/Json"
import * as Limits from "@effect-cycles/protocol/Limits"
import type {
  CommitRequest,
  ExtendRequest,
  OveragePolicy,
  ReleaseRequest,
  ReservationCreateRequest
} from "@effect-cycles/protocol/Reservation"
import * as Subject from "@effect-cycles/protocol/Subject"
import type { Answer } from "./answer.ts"
import { once } from "./answer.ts"
import { asked, canonical } from "./canonical.ts"
import type { Budget, Reservation, Tenant } from "./model.ts"
import { remaining } from "./model.ts"
import * as Policies from "./policies.ts"
import type { OpenMetadata } from "./read.ts"
import { forbidden, invalid, notFound, Refusal, tenantClosed } from "./refusal.ts"
import type { Store } from "./store.ts"
import { budgetId, dayMs } from "./store.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A request for a budget. */
export type Asked = OpenMetadata<ReservationCreateRequest> | OpenMetadata<DecisionRequest>

/** What a command needs besides its request. */
export interface Context {
  readonly store: Store
  readonly nowMs: number
  /** A new name, a UUID. */
  readonly makeId: () => string
  /** When the last reservation of a tenant was settled. */
  readonly lastSettled: Map<string, number>
  /** Counts calls for rate limits. */
  readonly meter: Policies.Meter
  /** Rules of a test that refuse what they like. */
  readonly deny: (request: Asked) => string | undefined
}

/** Who is asking. */
export interface Caller {
  readonly tenant: Tenant
}

type Refused = {
  readonly code: string
  readonly message: string
  readonly status: number
  readonly details?: Record<string, unknown>
}

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
  freed(store, reservation).forEach(store.budgets.put)
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
    { id: `reserve ${caller.tenant.id} ${request.idempotencyKey}`, body, form: canonicalReserve },
    () => {
      const { nowMs, store } = context
      const isDryRun = request.dryRun === true
      const scopes = Subject.scopes(request.subject)
      const looked = look(context, caller, request, scopes)
      const scopePath = scopes[scopes.length - 1] ?? ""
      if (looked.refused !== undefined) {
        if (!isDryRun || looked.refused.status === 400) throw toRefusal(looked.refused)
        return {
          answer: {
            decision: "DENY",
            affected_scopes: scopes,
            scope_path: scopePath,
            reason_code: reasonOf(looked.refused)
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
            reserved: money(unit, amount),
            caps,
            balances: looked.budgets.map(balance)
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
      const after = looked.budgets.map((budget) => ({ ...budget, reserved: budget.reserved + amount }))
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
          reserved: money(unit, amount),
          caps,
          balances: after.map(balance)
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
      if (refused.status === 400) throw toRefusal(refused)
      return {
        answer: {
          decision: "DENY",
          reason_code: reasonOf(refused),
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
): { readonly budgets: ReadonlyArray<Budget>; readonly caps: unknown; readonly refused: Refused | undefined } => {
  const { amount, unit } = request.estimate
  const { budgets, refused } = find(context.store, caller, scopes, unit)
  const denied = context.deny(request)
  const caps = budgets.find((budget) => budget.scope === scopes[scopes.length - 1])?.caps
  return {
    budgets,
    caps,
    refused:
      refused ??
      (denied === undefined ? undefined : { status: 409, code: denied, message: `Denied by rule: ${denied}` }) ??
      firstRefusal(
        budgets,
        (budget) => state(budget) ?? overLimit(budget) ?? debtOutstanding(budget) ?? exceeded(budget, amount)
      )
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
    const budgets = freed(store, reservation)
    if (actual > reservation.amount && reservation.overagePolicy === "REJECT") {
      throw new Refusal(409, "BUDGET_EXCEEDED", "The actual amount exceeds what was reserved, and the policy is REJECT")
    }
    const { after, charged } =
      actual <= reservation.amount
        ? { after: budgets.map((budget) => spend(budget, actual)), charged: actual }
        : overage(budgets, reservation.amount, actual, reservation.overagePolicy)
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
        charged: money(unit, charged),
        released: released > 0n ? money(unit, released) : undefined,
        balances: after.map(balance)
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
    const after = freed(store, reservation)
    after.forEach(store.budgets.put)
    store.reservations.put({
      ...reservation,
      status: "RELEASED",
      finalizedAtMs: settledAt(context, reservation.tenantId)
    })
    return {
      answer: {
        status: "RELEASED",
        released: money(reservation.unit, reservation.amount),
        balances: after.map(balance)
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
        balances: held(store, reservation).map(balance)
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
    const found = find(context.store, caller, scopes, unit)
    const policy =
      request.overagePolicy ??
      Policies.matching(context, caller.tenant.id, scopes).overagePolicy ??
      caller.tenant.overagePolicy
    const refused =
      found.refused ??
      firstRefusal(
        found.budgets,
        (budget) => state(budget) ?? (policy === "REJECT" ? exceeded(budget, actual) : undefined)
      )
    if (refused !== undefined) throw toRefusal(refused)
    const { after, charged } = overage(found.budgets, 0n, actual, policy)
    after.forEach(context.store.budgets.put)
    return {
      status: 201,
      answer: {
        status: "APPLIED",
        event_id: context.makeId(),
        charged: charged < actual ? money(unit, charged) : undefined,
        balances: after.map(balance)
      },
      keepMs: 7 * dayMs
    }
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// the books
// ---------------------------------------------------------------------------------------------------------------------

const spend = (budget: Budget, amount: bigint): Budget => checked({ ...budget, spent: budget.spent + amount })

/**
 * Charges more than was held: `base` has been covered by the hold, what goes beyond it has to be found. The budgets come with
 * the hold already given back.
 *
 * A budget that can't go into debt cuts the charge to what it has left, under ALLOW_WITH_OVERDRAFT too; the others go into
 * debt for what of that they can't cover.
 */
const overage = (
  budgets: ReadonlyArray<Budget>,
  base: bigint,
  actual: bigint,
  policy: OveragePolicy
): { readonly after: ReadonlyArray<Budget>; readonly charged: bigint } => {
  const isOverdraftAllowed = (budget: Budget): boolean =>
    policy === "ALLOW_WITH_OVERDRAFT" && budget.overdraftLimit > 0n
  const least = budgets.reduce(
    (least, budget) => (!isOverdraftAllowed(budget) && remaining(budget) < least ? remaining(budget) : least),
    actual
  )
  const charged = least > base ? least : base
  return {
    after: budgets.map((budget) => {
      const rest = remaining(budget)
      if (!isOverdraftAllowed(budget)) {
        return { ...spend(budget, charged), isOverLimit: budget.isOverLimit || (charged < actual && rest < actual) }
      }
      if (rest >= charged) return spend(budget, charged)
      // What the hold and the rest of the budget cover is spent; what lies beyond is debt.
      const paid = rest > base ? rest : base
      const debt = budget.debt + charged - paid
      if (debt > budget.overdraftLimit) {
        throw new Refusal(409, "OVERDRAFT_LIMIT_EXCEEDED", `Overdraft limit exceeded for: ${budget.scope}`)
      }
      return checked({ ...budget, spent: budget.spent + paid, debt })
    }),
    charged
  }
}

/** A budget whose figures an answer can hold. */
const checked = (budget: Budget): Budget => {
  if (budget.spent > Limits.maxInt64 || budget.debt > Limits.maxInt64 || remaining(budget) < Limits.minInt64) {
    throw invalid(`The books of ${budget.scope} can't hold this amount`)
  }
  return budget
}

/** The budgets of a path in a unit, from the top down. */
const find = (
  store: Store,
  caller: Caller,
  scopes: ReadonlyArray<string>,
  unit: string
): { readonly budgets: ReadonlyArray<Budget>; readonly refused: Refused | undefined } => {
  const budgets: Array<Budget> = []
  for (const scope of scopes) {
    const budget = store.budgets.get(budgetId(scope, unit))
    if (budget !== undefined && budget.tenantId === caller.tenant.id) budgets.push(budget)
  }
  if (budgets.length > 0) return { budgets, refused: undefined }
  for (const scope of scopes) {
    const units = unitsOf(store, caller, scope)
    if (units.length > 0) {
      return {
        budgets,
        refused: {
          status: 400,
          code: "UNIT_MISMATCH",
          message: `Budget at scope '${scope}' exists but in a different unit (requested: ${unit}, expected: [${units.join(", ")}])`,
          details: { scope, requested_unit: unit, expected_units: units }
        }
      }
    }
  }
  return {
    budgets,
    refused: {
      status: 404,
      code: "NOT_FOUND",
      message: `Budget not found for provided scope: ${scopes[scopes.length - 1] ?? ""}`
    }
  }
}

const unitsOf = (store: Store, caller: Caller, scope: string): ReadonlyArray<string> =>
  Amount.knownUnits.filter((unit) => store.budgets.get(budgetId(scope, unit))?.tenantId === caller.tenant.id)

/** What the first budget of a path, from the top down, has against a request. */
const firstRefusal = (
  budgets: ReadonlyArray<Budget>,
  refusal: (budget: Budget) => Refused | undefined
): Refused | undefined => {
  for (const budget of budgets) {
    const refused = refusal(budget)
    if (refused !== undefined) return refused
  }
  return undefined
}

const state = ({ scope, status }: Budget): Refused | undefined => {
  switch (status) {
    case "FROZEN":
      return { status: 409, code: "BUDGET_FROZEN", message: `Budget is frozen for scope: ${scope}` }
    case "CLOSED":
      return { status: 409, code: "BUDGET_CLOSED", message: `Budget is closed for scope: ${scope}` }
    case "ACTIVE":
      return undefined
  }
}

const overLimit = ({ isOverLimit, scope }: Budget): Refused | undefined =>
  isOverLimit
    ? {
        status: 409,
        code: "OVERDRAFT_LIMIT_EXCEEDED",
        message: `Overdraft limit exceeded for: ${scope} is over-limit, no new reservations allowed`
      }
    : undefined

const debtOutstanding = ({ debt, overdraftLimit, scope }: Budget): Refused | undefined =>
  debt > 0n && overdraftLimit === 0n
    ? { status: 409, code: "DEBT_OUTSTANDING", message: `Outstanding debt blocks new reservation for: ${scope}` }
    : undefined

const exceeded = (budget: Budget, amount: bigint): Refused | undefined =>
  remaining(budget) < amount
    ? { status: 409, code: "BUDGET_EXCEEDED", message: `Budget exceeded for: ${budget.scope}` }
    : undefined

/** The budgets that hold a reservation. One that was made later isn't among them. */
const held = (store: Store, reservation: Reservation): ReadonlyArray<Budget> => {
  const budgets: Array<Budget> = []
  for (const scope of reservation.heldScopes) {
    const budget = store.budgets.get(budgetId(scope, reservation.unit))
    if (budget !== undefined) budgets.push(budget)
  }
  return budgets
}

/** These budgets without what they hold. */
const freed = (store: Store, reservation: Reservation): ReadonlyArray<Budget> =>
  held(store, reservation).map((budget) => ({ ...budget, reserved: budget.reserved - reservation.amount }))

// ---------------------------------------------------------------------------------------------------------------------
// checks
// ---------------------------------------------------------------------------------------------------------------------

const own = (caller: Caller, subject: Subject.Subject): void => {
  if (subject.tenant !== undefined && subject.tenant !== caller.tenant.id) {
    throw forbidden("Tenant provided in the request body does not match tenant resolved from authorization token")
  }
}

/** A reservation of the caller's. */
export const mine = (context: Pick<Context, "store">, caller: Caller | "admin", id: string): Reservation => {
  const reservation = context.store.reservations.get(id)
  if (reservation === undefined) throw notFound(id)
  if (caller !== "admin" && reservation.tenantId !== caller.tenant.id) {
    throw forbidden("Reservation is owned by another tenant")
  }
  return reservation
}

/** The refusal of what has expired. */
export const expired = (): Refusal =>
  new Refusal(410, "RESERVATION_EXPIRED", "Provided reservation has already expired")

const finalized = (): Refusal =>
  new Refusal(409, "RESERVATION_FINALIZED", "Reservation finalized: Reservation already finalized")

/**
 * The instant of a settlement. Those of one tenant in the same millisecond are told apart by one or two, so that windows
 * over their times can be drawn between them.
 */
const settledAt = (context: Context, tenantId: string): number => {
  const last = context.lastSettled.get(tenantId) ?? 0
  const at = last >= context.nowMs ? Math.min(last + 1, context.nowMs + 2) : context.nowMs
  context.lastSettled.set(tenantId, at)
  return at
}

const settleable = (reservation: Reservation, nowMs: number): void => {
  if (reservation.status === "EXPIRED") throw expired()
  if (reservation.status !== "ACTIVE") throw finalized()
  if (nowMs > reservation.expiresAtMs + reservation.graceMs) throw expired()
}

const toRefusal = (refused: Refused): Refusal =>
  new Refusal(refused.status, refused.code, refused.message, { details: refused.details })

const reasonOf = (refused: Refused): string => (refused.code === "NOT_FOUND" ? "BUDGET_NOT_FOUND" : refused.code)

// ---------------------------------------------------------------------------------------------------------------------
// idempotency
// ---------------------------------------------------------------------------------------------------------------------

const monthMs = 30 * dayMs

/** The defaults of grace and dry run are the same body as their absence; that of the lifetime is not. */
const canonicalReserve = (body: string): string => {
  const { dry_run, grace_period_ms, ...rest } = { dry_run: undefined, grace_period_ms: undefined, ...asked(body) }
  return canonical({
    ...rest,
    ...(dry_run === undefined || dry_run === false ? undefined : { dry_run }),
    ...(grace_period_ms === undefined || grace_period_ms === Limits.defaultGracePeriodMs
      ? undefined
      : { grace_period_ms })
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// rows
// ---------------------------------------------------------------------------------------------------------------------

/** An amount on the wire. */
export const money = (unit: string, amount: bigint): { readonly unit: string; readonly amount: number | bigint } => ({
  unit,
  amount: Json.encodeInteger(amount)
})

/** A balance on the wire. */
export const balance = (budget: Budget): object => {
  const { scope, unit } = budget
  return {
    scope: scope.slice(scope.lastIndexOf("/") + 1),
    scope_path: scope,
    remaining: money(unit, remaining(budget)),
    reserved: money(unit, budget.reserved),
    spent: money(unit, budget.spent),
    allocated: money(unit, budget.allocated),
    debt: budget.debt > 0n ? money(unit, budget.debt) : undefined,
    overdraft_limit: budget.overdraftLimit > 0n ? money(unit, budget.overdraftLimit) : undefined,
    is_over_limit: budget.isOverLimit ? true : undefined
  }
}
