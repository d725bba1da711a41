/**
 * A direct debit: spend that was never reserved.
 *
 * Source: EventCreateRequest and EventCreateResponse of the protocol.
 */
import * as Schema from "effect/Schema"
import * as Action from "./Action.ts"
import * as Amount from "./Amount.ts"
import { Balance } from "./Balance.ts"
import { EvidenceRef } from "./Evidence.ts"
import { EventId, IdempotencyKey } from "./Identifiers.ts"
import { struct } from "./internal/names.ts"
import * as Wire from "./internal/schema.ts"
import { Metrics } from "./Metrics.ts"
import { OveragePolicy } from "./Reservation.ts"
import * as Subject from "./Subject.ts"

/** Charges spend that was never reserved. */
export const EventCreateRequest = struct({
  idempotencyKey: IdempotencyKey,
  subject: Subject.Subject,
  action: Action.Action,
  actual: Amount.Sendable,
  /** Default ALLOW_IF_AVAILABLE, which never refuses. */
  overagePolicy: Schema.optional(OveragePolicy),
  metrics: Schema.optional(Metrics),
  /** When it happened by the client's clock; for information only. */
  clientTimeMs: Schema.optional(Wire.natural),
  metadata: Schema.optional(Wire.jsonObject)
})

/** Charges spend that was never reserved. */
export type EventCreateRequest = typeof EventCreateRequest.Type

/** What was charged. */
export const EventCreateResponse = struct({
  status: Schema.Literal("APPLIED"),
  eventId: EventId,
  /** Only where it was cut. */
  charged: Schema.optionalKey(Amount.Amount),
  balances: Schema.optionalKey(Schema.Array(Balance)),
  cyclesEvidence: Schema.optionalKey(EvidenceRef)
})

/** What was charged. */
export type EventCreateResponse = typeof EventCreateResponse.Type
