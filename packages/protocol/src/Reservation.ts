/**
 * Reservations on the wire: create, read, list, commit, release and extend.
 *
 * Requests are strict: every limit of the protocol is checked before anything is sent. Answers are open: what is required
 * and its types are checked, what is unknown is carried.
 *
 * Source: the reservation schemas and paths of the protocol.
 */
import * as Schema from "effect/Schema"
import * as Action from "./Action.ts"
import * as Amount from "./Amount.ts"
import { Balance } from "./Balance.ts"
import { Caps } from "./Caps.ts"
import { Decision, ReasonCode } from "./Decision.ts"
import { EvidenceRef, ReservationEvidence } from "./Evidence.ts"
import { IdempotencyKey, ReservationId } from "./Identifiers.ts"
import { struct } from "./internal/names.ts"
import * as Wire from "./internal/schema.ts"
import * as Limits from "./Limits.ts"
import { Metrics } from "./Metrics.ts"
import * as Subject from "./Subject.ts"

// ---------------------------------------------------------------------------------------------------------------------
// parts
// ---------------------------------------------------------------------------------------------------------------------

/** What happens where the actual amount exceeds what was reserved. */
export const OveragePolicy = Schema.Literals(["REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT"])

/** What happens where the actual amount exceeds what was reserved. */
export type OveragePolicy = typeof OveragePolicy.Type

/** Where a reservation is in its life; the list is open. */
export type ReservationStatus = "ACTIVE" | "COMMITTED" | "RELEASED" | "EXPIRED" | (string & {})

/** Where a reservation is in its life, as it is read. */
export const ReservationStatus: Schema.Codec<ReservationStatus, string> = Schema.StringForLiteralAutocomplete

const ttl = Wire.integer(Limits.minTtlMs, Limits.maxTtlMs)

const gracePeriod = Wire.integer(0, Limits.maxGracePeriodMs)

// ---------------------------------------------------------------------------------------------------------------------
// create
// ---------------------------------------------------------------------------------------------------------------------

/** Holds an estimate on every scope of a subject, or on none. */
export const ReservationCreateRequest = struct({
  idempotencyKey: IdempotencyKey,
  subject: Subject.Subject,
  action: Action.Action,
  estimate: Amount.Sendable,
  /** 1,000 to 86,400,000. Default 60,000. */
  ttlMs: Schema.optional(ttl),
  /** 0 to 60,000. Default 5,000. */
  gracePeriodMs: Schema.optional(gracePeriod),
  /** Default ALLOW_IF_AVAILABLE. */
  overagePolicy: Schema.optional(OveragePolicy),
  dryRun: Schema.optional(Schema.Boolean),
  metadata: Schema.optional(Wire.jsonObject)
})

/** Holds an estimate on every scope of a subject, or on none. */
export type ReservationCreateRequest = typeof ReservationCreateRequest.Type

/** What was reserved, or why not. */
export const ReservationCreateResponse = struct({
  decision: Decision,
  /** Absent in a dry run and on a denial. */
  reservationId: Schema.optionalKey(ReservationId),
  affectedScopes: Schema.Array(Schema.String),
  reserved: Schema.optionalKey(Amount.Amount),
  /** In the server's own clock; at most `Number.MAX_SAFE_INTEGER`, which stands for all that is later. */
  expiresAtMs: Schema.optionalKey(Wire.instant),
  /** What a heartbeat is planned by; 0 when the reservation is no longer active. */
  remainingTtlMs: Schema.optionalKey(Wire.natural),
  scopePath: Schema.optionalKey(Schema.String),
  caps: Schema.optionalKey(Caps),
  balances: Schema.optionalKey(Schema.Array(Balance)),
  reasonCode: Schema.optionalKey(ReasonCode),
  retryAfterMs: Schema.optionalKey(Wire.natural),
  cyclesEvidence: Schema.optionalKey(EvidenceRef)
})

/** What was reserved, or why not. */
export type ReservationCreateResponse = typeof ReservationCreateResponse.Type

// ---------------------------------------------------------------------------------------------------------------------
// commit, release, extend
// ---------------------------------------------------------------------------------------------------------------------

/** Charges what was spent. */
export const CommitRequest = struct({
  idempotencyKey: IdempotencyKey,
  actual: Amount.Sendable,
  metrics: Schema.optional(Metrics),
  metadata: Schema.optional(Wire.jsonObject)
})

/** Charges what was spent. */
export type CommitRequest = typeof CommitRequest.Type

/** What was charged. */
export const CommitResponse = struct({
  status: Schema.Literal("COMMITTED"),
  charged: Amount.Amount,
  released: Schema.optionalKey(Amount.Amount),
  balances: Schema.optionalKey(Schema.Array(Balance)),
  cyclesEvidence: Schema.optionalKey(EvidenceRef)
})

/** What was charged. */
export type CommitResponse = typeof CommitResponse.Type

/** Gives everything back. */
export const ReleaseRequest = struct({
  idempotencyKey: IdempotencyKey,
  /** At most 256 characters. */
  reason: Schema.optional(Wire.text(0, Limits.maxReason))
})

/** Gives everything back. */
export type ReleaseRequest = typeof ReleaseRequest.Type

/** What was given back. */
export const ReleaseResponse = struct({
  status: Schema.Literal("RELEASED"),
  released: Amount.Amount,
  balances: Schema.optionalKey(Schema.Array(Balance)),
  cyclesEvidence: Schema.optionalKey(EvidenceRef)
})

/** What was given back. */
export type ReleaseResponse = typeof ReleaseResponse.Type

/** Moves the end of a lease outwards. */
export const ExtendRequest = struct({
  idempotencyKey: IdempotencyKey,
  /** 1 to 86,400,000, counted from the present end. */
  extendByMs: Wire.integer(1, Limits.maxExtendByMs),
  metadata: Schema.optional(Wire.jsonObject)
})

/** Moves the end of a lease outwards. */
export type ExtendRequest = typeof ExtendRequest.Type

/** The new end of a lease. */
export const ExtendResponse = struct({
  status: Schema.Literal("ACTIVE"),
  /** In the server's own clock; at most `Number.MAX_SAFE_INTEGER`, which stands for all that is later. */
  expiresAtMs: Wire.instant,
  remainingTtlMs: Schema.optionalKey(Wire.natural),
  balances: Schema.optionalKey(Schema.Array(Balance))
})

/** The new end of a lease. */
export type ExtendResponse = typeof ExtendResponse.Type

// ---------------------------------------------------------------------------------------------------------------------
// read and list
// ---------------------------------------------------------------------------------------------------------------------

const rowFields = {
  reservationId: ReservationId,
  status: ReservationStatus,
  idempotencyKey: Schema.optionalKey(IdempotencyKey),
  subject: Subject.Read,
  action: Action.Read,
  reserved: Amount.Amount,
  committed: Schema.optionalKey(Amount.Amount),
  createdAtMs: Wire.instant,
  expiresAtMs: Wire.instant,
  /** Only on COMMITTED and RELEASED. */
  finalizedAtMs: Schema.optionalKey(Wire.instant),
  scopePath: Schema.String,
  affectedScopes: Schema.Array(Schema.String),
  metadata: Schema.optionalKey(Wire.unknownObject),
  committedMetadata: Schema.optionalKey(Wire.unknownObject),
  evidence: Schema.optionalKey(ReservationEvidence)
}

/** A reservation as it is. */
export const ReservationDetail = struct(rowFields)

/** A reservation as it is. */
export type ReservationDetail = typeof ReservationDetail.Type

/** A reservation in a list; `metadata`, `committedMetadata` and `evidence` only where the query includes them. */
export const ReservationSummary = ReservationDetail

/** A reservation in a list. */
export type ReservationSummary = typeof ReservationSummary.Type

/** A page of reservations. */
export const ReservationListResponse = struct({
  reservations: Schema.Array(ReservationSummary),
  ...Wire.pageFields
})

/** A page of reservations. */
export type ReservationListResponse = typeof ReservationListResponse.Type

/** By what a list can be sorted. */
export const SortBy = Schema.Literals([
  "reservation_id",
  "tenant",
  "scope_path",
  "status",
  "reserved",
  "created_at_ms",
  "expires_at_ms"
])

/** By what a list can be sorted. */
export type SortBy = typeof SortBy.Type

/** What a list can include on request. */
export const Include = Schema.Literals(["metadata", "committed_metadata", "evidence"])

/** What a list can include on request. */
export type Include = typeof Include.Type

/** An instant of a window: ISO 8601 with a zone. */
const instant = Schema.String.check(
  Schema.isPattern(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/, {
    expected: "an ISO 8601 instant such as 2026-01-31T12:00:00Z"
  })
)

/** Which reservations. Instants are ISO 8601 with a zone; a window includes its start and its end. */
export const ReservationListQuery = struct({
  idempotencyKey: Schema.optional(IdempotencyKey),
  status: Schema.optional(ReservationStatus),
  ...Wire.scopeQuery,
  from: Schema.optional(instant),
  to: Schema.optional(instant),
  expiresFrom: Schema.optional(instant),
  expiresTo: Schema.optional(instant),
  finalizedFrom: Schema.optional(instant),
  finalizedTo: Schema.optional(instant),
  sortBy: Schema.optional(SortBy),
  sortDir: Schema.optional(Schema.Literals(["asc", "desc"])),
  include: Schema.optional(Schema.Array(Include)),
  ...Wire.pageQuery
})

/** Which reservations. */
export type ReservationListQuery = typeof ReservationListQuery.Type
