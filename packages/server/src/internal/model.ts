/**
 * What the ledger keeps. Amounts are bigint, instants are epoch milliseconds.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import type { Subject } from "@effect-cycles/protocol/Subject"

/** Somebody who has budgets. */
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

/** A key of a tenant; the secret itself is not kept. */
export interface ApiKey {
  readonly id: string
  /** SHA-256 of the secret, which has 192 random bits: no slow hash is needed. */
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

/** The books of one scope in one unit. `remaining` follows from the others. */
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
  /** What an act on exactly this scope has to keep to. */
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

/** How a policy changes the lifetime of reservations. */
export interface TtlOverride {
  readonly defaultTtlMs: number | undefined
  readonly maxTtlMs: number | undefined
  readonly maxExtensions: number | undefined
}

/** How many calls a policy allows in a minute. */
export interface RateLimits {
  readonly maxReservationsPerMinute: number | undefined
  readonly maxCommitsPerMinute: number | undefined
}

/** An estimate that is held, or was. */
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
  /** The scopes whose budgets hold the estimate. */
  readonly heldScopes: ReadonlyArray<string>
  readonly overagePolicy: OveragePolicy
  readonly extensions: number
  readonly maxExtensions: number
  readonly metadata: unknown
  readonly committedMetadata: unknown
}

/** An answer that is repeated when its key comes again. */
export interface StoredResponse {
  /** Operation and owner, and the key. */
  readonly id: string
  /** The reservation that was settled or extended, if any. */
  readonly parentId: string | undefined
  /** The request that was answered, as JSON text. */
  readonly request: string
  readonly status: number
  /** The answer, as JSON text. */
  readonly body: string
  /** Whose `remaining_ttl_ms` is measured anew, if any. */
  readonly reservationId: string | undefined
  readonly expiresAtMs: number | undefined
  /** When it may be forgotten. */
  readonly forgetAtMs: number
}

/** What is left of a budget; below zero when there is more debt or less allocation than use. */
export const remaining = (budget: Budget): bigint => budget.allocated - budget.spent - budget.reserved - budget.debt
