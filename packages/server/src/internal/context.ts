/**
 * The arguments of commands and queries besides the request: the store, the time, and the caller.
 */
import type { DecisionRequest } from "@effect-cycles/protocol/Decision"
import type { ReservationCreateRequest } from "@effect-cycles/protocol/Reservation"
import type { Tenant } from "./model.ts"
import type { Meter } from "./policies.ts"
import type { OpenMetadata } from "./parse.ts"
import type { Store } from "./store.ts"

/** The dependencies of a command. */
export interface Context {
  readonly store: Store
  /** The time of the request, in epoch milliseconds. */
  readonly nowMs: number
  /** Generates a unique id, by default a UUID. */
  readonly makeId: () => string
  /** The time of the last settlement by tenant, in epoch milliseconds. */
  readonly lastSettled: Map<string, number>
  /** Counts calls for rate limits. */
  readonly meter: Meter
  /** Reports an accepted request with fields that have no effect. */
  readonly warn: (message: string) => void
  /** Returns an error code if a rule of a test denies the request. */
  readonly deny: (request: BudgetRequest) => string | undefined
}

/** The authenticated tenant of a request. */
export interface Caller {
  readonly tenant: Tenant
}

/** A request that is checked against budgets. */
export type BudgetRequest = OpenMetadata<ReservationCreateRequest> | OpenMetadata<DecisionRequest>
