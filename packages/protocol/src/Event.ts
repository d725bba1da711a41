/**
 * Events: direct debits for spend that wasn't reserved.
 *
 * @see schemas `EventCreateRequest` and `EventCreateResponse` of the Cycles protocol
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as Action from "./Action.ts"
import * as Amount from "./Amount.ts"
import { Balance } from "./Balance.ts"
import { EvidenceRef } from "./Evidence.ts"
import { EventId, IdempotencyKey } from "./Identifiers.ts"
import { struct } from "./internal/fieldNames.ts"
import * as Wire from "./internal/schema.ts"
import { Metrics } from "./Metrics.ts"
import { OveragePolicy } from "./Reservation.ts"
import * as Subject from "./Subject.ts"

/**
 * Schema of the request that charges spend without a reservation.
 *
 * @see `POST /v1/events` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const EventCreateRequest = struct({
  /** The key under which the request can be repeated. */
  idempotencyKey: IdempotencyKey,
  /** The subject whose budgets are charged. */
  subject: Subject.Subject,
  /** The action that was performed. */
  action: Action.Action,
  /** The amount that was spent. */
  actual: Amount.Sendable,
  /** What happens if a budget can't cover the amount. Default `ALLOW_IF_AVAILABLE`, which never refuses. */
  overagePolicy: Schema.optional(OveragePolicy),
  /** Measurements of the action. */
  metrics: Schema.optional(Metrics),
  /** When the spend happened by the client's clock, in epoch milliseconds. Only for information. */
  clientTimeMs: Schema.optional(Wire.natural),
  /** Arbitrary JSON. */
  metadata: Schema.optional(Wire.jsonObject)
})

/**
 * A request that charges spend without a reservation.
 *
 * @category models
 * @since 0.1.0
 */
export type EventCreateRequest = typeof EventCreateRequest.Type

/**
 * Schema of the response to an event.
 *
 * @see `POST /v1/events` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const EventCreateResponse = struct({
  /** Always `APPLIED`. */
  status: Schema.Literal("APPLIED"),
  /** The server's id of the event. */
  eventId: EventId,
  /** The amount that was charged. Present only if it is less than the amount of the request. */
  charged: Schema.optionalKey(Amount.Amount),
  /** The balances of the affected scopes after the charge. */
  balances: Schema.optionalKey(Schema.Array(Balance)),
  /** A reference to the signed evidence of the event. */
  cyclesEvidence: Schema.optionalKey(EvidenceRef)
})

/**
 * The response to an event.
 *
 * @category models
 * @since 0.1.0
 */
export type EventCreateResponse = typeof EventCreateResponse.Type
