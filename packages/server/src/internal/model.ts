/**
 * The objects that the ledger stores. Amounts are bigints, times are epoch milliseconds.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import type { Subject } from "@effect-cycles/protocol/Subject"

/** An owner of budgets. */
export interface Tenant {
  readonly id: string
  readonly name: string
  readonly parentId: string | undefined
  readonly status: "ACTIVE" | "SUSPENDED" | "CLOSED"
  readonly createdAtMs: number
  readonly updatedAtMs: number | undefined
  readonly overagePolicy: OveragePolicy
  readonly defaultTtlMs: number
  readonly maxTtlMs: number
  readonly maxExtensions: number
  readonly expiryPolicy: string | undefined
  readonly metadata: unknown
  readonly suspendedAtMs: number | undefined
  readonly closedAtMs: number | undefined
}

/** An API key of a tenant, without its secret. */
export interface ApiKey {
  readonly id: string
  /** SHA-256 of the secret. A slow hash is unnecessary, because the secret has 192 random bits. */
  readonly hash: string
  readonly prefix: string
  readonly tenantId: string
  readonly name: string
  readonly description: string | undefined
  readonly permissions: ReadonlyArray<string>
  readonly scopeFilter: ReadonlyArray<string> | undefined
  readonly metadata: unknown
  readonly createdAt: string
  readonly expiresAt: string
  readonly expiresAtMs: number
  readonly revokedAt: string | undefined
  readonly revokedReason: string | undefined
}

/** The budget of one scope in one unit. The remaining amount is derived: see `remaining`. */
export interface Budget {
  readonly id: string
  readonly tenantId: string
  readonly scope: string
  readonly unit: string
  readonly allocated: bigint
  readonly spent: bigint
  readonly reserved: bigint
  readonly debt: bigint
  readonly overdraftLimit: bigint
  readonly isOverLimit: boolean
  readonly status: "ACTIVE" | "FROZEN" | "CLOSED"
  readonly overagePolicy: string | undefined
  readonly rolloverPolicy: string | undefined
  readonly periodStart: string | undefined
  readonly periodEnd: string | undefined
  /** The caps of reservations on exactly this scope. */
  readonly caps: unknown
  readonly createdAtMs: number
  readonly updatedAtMs: number | undefined
}

/** Rules for the scopes that a pattern matches. */
export interface Policy {
  readonly id: string
  readonly tenantId: string
  readonly name: string
  readonly description: string | undefined
  readonly scopePattern: string
  readonly priority: number
  readonly caps: unknown
  readonly overagePolicy: OveragePolicy | undefined
  readonly ttlOverride: TtlOverride | undefined
  readonly rateLimits: RateLimits | undefined
  readonly status: "ACTIVE" | "DISABLED"
  readonly effectiveFrom: string | undefined
  readonly effectiveUntil: string | undefined
  readonly createdAtMs: number
  readonly updatedAtMs: number | undefined
}

/** How a policy overrides the lifetime of reservations, in milliseconds. */
export interface TtlOverride {
  readonly defaultTtlMs: number | undefined
  readonly maxTtlMs: number | undefined
  readonly maxExtensions: number | undefined
}

/** The number of calls per minute that a policy allows. */
export interface RateLimits {
  readonly maxReservationsPerMinute: number | undefined
  readonly maxCommitsPerMinute: number | undefined
}

/** A reservation, active or ended. */
export interface Reservation {
  readonly id: string
  readonly tenantId: string
  readonly status: "ACTIVE" | "COMMITTED" | "RELEASED" | "EXPIRED"
  readonly idempotencyKey: string
  readonly subject: Subject
  readonly action: Action
  readonly unit: string
  readonly amount: bigint
  readonly committed: bigint | undefined
  readonly createdAtMs: number
  readonly expiresAtMs: number
  readonly graceMs: number
  readonly finalizedAtMs: number | undefined
  readonly scopePath: string
  readonly affectedScopes: ReadonlyArray<string>
  /** The scopes whose budgets include the amount in `reserved`. */
  readonly heldScopes: ReadonlyArray<string>
  readonly overagePolicy: OveragePolicy
  readonly extensions: number
  readonly maxExtensions: number
  readonly metadata: unknown
  readonly committedMetadata: unknown
}

/** A response that is repeated when the idempotency key is used again. */
export interface StoredResponse {
  /** The operation, the owner and the idempotency key. */
  readonly id: string
  /** The reservation that the request settled or extended, if any. */
  readonly parentId: string | undefined
  /** The body of the request. */
  readonly request: string
  readonly status: number
  /** The body of the response. */
  readonly body: string
  /** The reservation whose `remaining_ttl_ms` is recomputed when the response is repeated, if any. */
  readonly reservationId: string | undefined
  readonly expiresAtMs: number | undefined
  /** When the response may be removed. */
  readonly forgetAtMs: number
}

/** The remaining amount of a budget. It is negative if debt or a reduced allocation exceeds the rest. */
export const remaining = (budget: Budget): bigint => budget.allocated - budget.spent - budget.reserved - budget.debt
