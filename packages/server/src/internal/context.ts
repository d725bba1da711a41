/**
 * What a command of the ledger, or a question to it, is given besides the request itself: what it works on, when, and for
 * whom. Where these come from is the business of whoever calls.
 */
import type { DecisionRequest } from "@effect-cycles/protocol/Decision"
import type { ReservationCreateRequest } from "@effect-cycles/protocol/Reservation"
import type { Tenant } from "./model.ts"
import type { Meter } from "./policies.ts"
import type { OpenMetadata } from "./parse.ts"
import type { Store } from "./store.ts"

/** What a command needs besides its request. */
export interface Context {
  readonly store: Store
  readonly nowMs: number
  /** A new name, a UUID. */
  readonly makeId: () => string
  /** When the last reservation of a tenant was settled. */
  readonly lastSettled: Map<string, number>
  /** Counts calls for rate limits. */
  readonly meter: Meter
  /** Rules of a test that refuse what they like. */
  readonly deny: (request: BudgetRequest) => string | undefined
}

/** Who is asking. */
export interface Caller {
  readonly tenant: Tenant
}

/** A request for a budget. */
export type BudgetRequest = OpenMetadata<ReservationCreateRequest> | OpenMetadata<DecisionRequest>
