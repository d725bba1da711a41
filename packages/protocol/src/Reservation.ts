/**
 * The messages of reservations: create, commit, release, extend, get and list.
 *
 * **Details**
 *
 * Requests are strict: every limit of the protocol is checked before anything is sent. Responses are lenient: required fields
 * and types are checked, and values that this version doesn't know are kept.
 *
 * @see the schemas and paths of reservations in the Cycles protocol
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as Action from "./Action.ts"
import * as Amount from "./Amount.ts"
import { Balance } from "./Balance.ts"
import { Caps } from "./Caps.ts"
import { Decision, ReasonCode } from "./Decision.ts"
import { EvidenceRef, ReservationEvidence } from "./Evidence.ts"
import { IdempotencyKey, ReservationId } from "./Identifiers.ts"
import { struct } from "./internal/fieldNames.ts"
import * as Wire from "./internal/schema.ts"
import * as Limits from "./Limits.ts"
import { Metrics } from "./Metrics.ts"
import * as Subject from "./Subject.ts"

// ---------------------------------------------------------------------------------------------------------------------
// parts
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Schema of the overage policy: what happens if the actual amount exceeds the reserved amount.
 *
 * **Details**
 *
 * - `REJECT`: the commit is refused.
 * - `ALLOW_IF_AVAILABLE`: the excess is charged as far as the budget covers it. A commit is never refused.
 * - `ALLOW_WITH_OVERDRAFT`: the part that the budget can't cover becomes debt, up to the overdraft limit of the budget.
 *
 * @see schema `CommitOveragePolicy` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const OveragePolicy = Schema.Literals(["REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT"])

/**
 * What happens if the actual amount exceeds the reserved amount.
 *
 * @category models
 * @since 0.1.0
 */
export type OveragePolicy = typeof OveragePolicy.Type

/**
 * The status of a reservation. Servers may add statuses; unknown ones are kept.
 *
 * @see schema `ReservationStatus` of the Cycles protocol
 * @category models
 * @since 0.1.0
 */
export type ReservationStatus = "ACTIVE" | "COMMITTED" | "RELEASED" | "EXPIRED" | (string & {})

/**
 * Schema of the status of a reservation. It accepts any string.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ReservationStatus: Schema.Codec<ReservationStatus, string> = Schema.StringForLiteralAutocomplete

const ttl = Wire.integer(Limits.minTtlMs, Limits.maxTtlMs)

const gracePeriod = Wire.integer(0, Limits.maxGracePeriodMs)

// ---------------------------------------------------------------------------------------------------------------------
// create
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Schema of the request that reserves an estimate on every scope of a subject, or on none.
 *
 * @see `POST /v1/reservations` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const ReservationCreateRequest = struct({
  /** The key under which the request can be repeated. */
  idempotencyKey: IdempotencyKey,
  /** The subject whose budgets are reserved. */
  subject: Subject.Subject,
  /** The action that the reservation pays for. */
  action: Action.Action,
  /** The amount to reserve. */
  estimate: Amount.Sendable,
  /** The lifetime of the reservation, 1,000 to 86,400,000 milliseconds. Default 60,000. */
  ttlMs: Schema.optional(ttl),
  /** How long the reservation can still be committed after its lease has ended, 0 to 60,000 milliseconds. Default 5,000. */
  gracePeriodMs: Schema.optional(gracePeriod),
  /** What happens if the actual amount exceeds the estimate. Default `ALLOW_IF_AVAILABLE`. */
  overagePolicy: Schema.optional(OveragePolicy),
  /** If true, the server returns its decision and reserves nothing. Default false. */
  dryRun: Schema.optional(Schema.Boolean),
  /** Arbitrary JSON. */
  metadata: Schema.optional(Wire.jsonObject)
})

/**
 * A request that reserves an estimate.
 *
 * @category models
 * @since 0.1.0
 */
export type ReservationCreateRequest = typeof ReservationCreateRequest.Type

/**
 * Schema of the response to a reserve.
 *
 * @see `POST /v1/reservations` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const ReservationCreateResponse = struct({
  /** Whether the estimate was reserved. A dry run can return `DENY`; otherwise a denial is an error response. */
  decision: Decision,
  /** The server's id of the reservation. Absent in a dry run and in a denial. */
  reservationId: Schema.optionalKey(ReservationId),
  /** The scopes on which the estimate was reserved, from the top down. */
  affectedScopes: Schema.Array(Schema.String),
  /** The reserved amount. */
  reserved: Schema.optionalKey(Amount.Amount),
  /**
   * The end of the lease by the server's clock, in epoch milliseconds. Later instants than `Number.MAX_SAFE_INTEGER` are read
   * as that number.
   */
  expiresAtMs: Schema.optionalKey(Wire.instant),
  /**
   * The remaining time of the lease when the server responded, in milliseconds; 0 if the reservation is no longer active. The
   * client schedules heartbeats by it.
   */
  remainingTtlMs: Schema.optionalKey(Wire.natural),
  /** The path of the most specific scope. */
  scopePath: Schema.optionalKey(Schema.String),
  /** Limits that the action must obey, if the decision is `ALLOW_WITH_CAPS`. */
  caps: Schema.optionalKey(Caps),
  /** The balances of the affected scopes after the reserve. */
  balances: Schema.optionalKey(Schema.Array(Balance)),
  /** Why the decision is `DENY`. */
  reasonCode: Schema.optionalKey(ReasonCode),
  /** When a retry may succeed, in milliseconds from now. */
  retryAfterMs: Schema.optionalKey(Wire.natural),
  /** A reference to the signed evidence of the reserve. */
  cyclesEvidence: Schema.optionalKey(EvidenceRef)
})

/**
 * The response to a reserve.
 *
 * @category models
 * @since 0.1.0
 */
export type ReservationCreateResponse = typeof ReservationCreateResponse.Type

// ---------------------------------------------------------------------------------------------------------------------
// commit, release, extend
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Schema of the request that charges the actual amount of a reservation.
 *
 * @see `POST /v1/reservations/{reservation_id}/commit` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const CommitRequest = struct({
  /** The key under which the request can be repeated. */
  idempotencyKey: IdempotencyKey,
  /** The amount that was spent. */
  actual: Amount.Sendable,
  /** Measurements of the action. */
  metrics: Schema.optional(Metrics),
  /** Arbitrary JSON. */
  metadata: Schema.optional(Wire.jsonObject)
})

/**
 * A request that charges the actual amount of a reservation.
 *
 * @category models
 * @since 0.1.0
 */
export type CommitRequest = typeof CommitRequest.Type

/**
 * Schema of the response to a commit.
 *
 * @see `POST /v1/reservations/{reservation_id}/commit` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const CommitResponse = struct({
  /** Always `COMMITTED`. */
  status: Schema.Literal("COMMITTED"),
  /** The amount that was charged. Less than the actual amount if `ALLOW_IF_AVAILABLE` reduced it. */
  charged: Amount.Amount,
  /** The part of the reserved amount that was returned to the budgets. */
  released: Schema.optionalKey(Amount.Amount),
  /** The balances of the affected scopes after the commit. */
  balances: Schema.optionalKey(Schema.Array(Balance)),
  /** A reference to the signed evidence of the commit. */
  cyclesEvidence: Schema.optionalKey(EvidenceRef)
})

/**
 * The response to a commit.
 *
 * @category models
 * @since 0.1.0
 */
export type CommitResponse = typeof CommitResponse.Type

/**
 * Schema of the request that returns the whole reserved amount.
 *
 * @see `POST /v1/reservations/{reservation_id}/release` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const ReleaseRequest = struct({
  /** The key under which the request can be repeated. */
  idempotencyKey: IdempotencyKey,
  /** Why the amount is released, at most 256 characters. */
  reason: Schema.optional(Wire.text(0, Limits.maxReason))
})

/**
 * A request that returns the whole reserved amount.
 *
 * @category models
 * @since 0.1.0
 */
export type ReleaseRequest = typeof ReleaseRequest.Type

/**
 * Schema of the response to a release.
 *
 * @see `POST /v1/reservations/{reservation_id}/release` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const ReleaseResponse = struct({
  /** Always `RELEASED`. */
  status: Schema.Literal("RELEASED"),
  /** The amount that was returned to the budgets. */
  released: Amount.Amount,
  /** The balances of the affected scopes after the release. */
  balances: Schema.optionalKey(Schema.Array(Balance)),
  /** A reference to the signed evidence of the release. */
  cyclesEvidence: Schema.optionalKey(EvidenceRef)
})

/**
 * The response to a release.
 *
 * @category models
 * @since 0.1.0
 */
export type ReleaseResponse = typeof ReleaseResponse.Type

/**
 * Schema of the request that extends the lease of a reservation.
 *
 * @see `POST /v1/reservations/{reservation_id}/extend` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const ExtendRequest = struct({
  /** The key under which the request can be repeated. */
  idempotencyKey: IdempotencyKey,
  /** How far the end of the lease moves, 1 to 86,400,000 milliseconds from the current end. */
  extendByMs: Wire.integer(1, Limits.maxExtendByMs),
  /** Arbitrary JSON. */
  metadata: Schema.optional(Wire.jsonObject)
})

/**
 * A request that extends the lease of a reservation.
 *
 * @category models
 * @since 0.1.0
 */
export type ExtendRequest = typeof ExtendRequest.Type

/**
 * Schema of the response to an extend.
 *
 * @see `POST /v1/reservations/{reservation_id}/extend` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const ExtendResponse = struct({
  /** Always `ACTIVE`. */
  status: Schema.Literal("ACTIVE"),
  /**
   * The new end of the lease by the server's clock, in epoch milliseconds. Later instants than `Number.MAX_SAFE_INTEGER` are
   * read as that number.
   */
  expiresAtMs: Wire.instant,
  /** The remaining time of the lease when the server responded, in milliseconds. The client schedules heartbeats by it. */
  remainingTtlMs: Schema.optionalKey(Wire.natural),
  /** The balances of the affected scopes. */
  balances: Schema.optionalKey(Schema.Array(Balance))
})

/**
 * The response to an extend.
 *
 * @category models
 * @since 0.1.0
 */
export type ExtendResponse = typeof ExtendResponse.Type

// ---------------------------------------------------------------------------------------------------------------------
// read and list
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Schema of the current state of a reservation.
 *
 * @see `GET /v1/reservations/{reservation_id}` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const ReservationDetail = struct({
  /** The server's id of the reservation. */
  reservationId: ReservationId,
  /** The status of the reservation. */
  status: ReservationStatus,
  /** The idempotency key of the reserve, if the server stores it. */
  idempotencyKey: Schema.optionalKey(IdempotencyKey),
  /** The subject of the reservation. */
  subject: Subject.Read,
  /** The action that the reservation pays for. */
  action: Action.Read,
  /** The reserved amount. */
  reserved: Amount.Amount,
  /** The amount that was charged, once committed. */
  committed: Schema.optionalKey(Amount.Amount),
  /** When it was created by the server's clock, in epoch milliseconds. */
  createdAtMs: Wire.instant,
  /** The end of the lease by the server's clock, in epoch milliseconds. */
  expiresAtMs: Wire.instant,
  /** When it was committed or released, in epoch milliseconds. */
  finalizedAtMs: Schema.optionalKey(Wire.instant),
  /** The path of the most specific scope. */
  scopePath: Schema.String,
  /** The scopes on which the estimate was reserved, from the top down. */
  affectedScopes: Schema.Array(Schema.String),
  /** The metadata of the reserve. */
  metadata: Schema.optionalKey(Wire.unknownObject),
  /** The metadata of the commit. */
  committedMetadata: Schema.optionalKey(Wire.unknownObject),
  /** References to the signed evidence of the reserve and of the settlement. */
  evidence: Schema.optionalKey(ReservationEvidence)
})

/**
 * The current state of a reservation.
 *
 * @category models
 * @since 0.1.0
 */
export type ReservationDetail = typeof ReservationDetail.Type

/**
 * Schema of a reservation in a list. `metadata`, `committedMetadata` and `evidence` are present only if the query includes
 * them.
 *
 * @see `GET /v1/reservations` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const ReservationSummary = ReservationDetail

/**
 * A reservation in a list.
 *
 * @category models
 * @since 0.1.0
 */
export type ReservationSummary = typeof ReservationSummary.Type

/**
 * Schema of a page of reservations.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ReservationListResponse = struct({
  /** The reservations of this page. */
  reservations: Schema.Array(ReservationSummary),
  ...Wire.pageFields
})

/**
 * A page of reservations.
 *
 * @category models
 * @since 0.1.0
 */
export type ReservationListResponse = typeof ReservationListResponse.Type

/**
 * Schema of the fields that a list can be sorted by.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SortBy = Schema.Literals([
  "reservation_id",
  "tenant",
  "scope_path",
  "status",
  "reserved",
  "created_at_ms",
  "expires_at_ms"
])

/**
 * A field that a list can be sorted by.
 *
 * @category models
 * @since 0.1.0
 */
export type SortBy = typeof SortBy.Type

/**
 * Schema of the optional fields that a list can include.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Include = Schema.Literals(["metadata", "committed_metadata", "evidence"])

/**
 * An optional field that a list can include.
 *
 * @category models
 * @since 0.1.0
 */
export type Include = typeof Include.Type

/** An ISO 8601 instant with a time zone. */
const isoInstant = Schema.String.check(
  Schema.isPattern(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/, {
    expected: "an ISO 8601 instant such as 2026-01-31T12:00:00Z"
  })
)

/**
 * Schema of a query for reservations.
 *
 * **Details**
 *
 * Instants are ISO 8601 strings with a time zone. A range includes its start and its end.
 *
 * @see `GET /v1/reservations` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const ReservationListQuery = struct({
  /** Only the reservation that was created under this key. */
  idempotencyKey: Schema.optional(IdempotencyKey),
  /** Only reservations with this status. */
  status: Schema.optional(ReservationStatus),
  ...Wire.scopeQuery,
  /** The earliest creation. */
  from: Schema.optional(isoInstant),
  /** The latest creation. */
  to: Schema.optional(isoInstant),
  /** The earliest end of the lease. */
  expiresFrom: Schema.optional(isoInstant),
  /** The latest end of the lease. */
  expiresTo: Schema.optional(isoInstant),
  /** The earliest commit or release. */
  finalizedFrom: Schema.optional(isoInstant),
  /** The latest commit or release. */
  finalizedTo: Schema.optional(isoInstant),
  /** The field to sort by. */
  sortBy: Schema.optional(SortBy),
  /** The direction to sort in. */
  sortDir: Schema.optional(Schema.Literals(["asc", "desc"])),
  /** Optional fields to include in the rows. */
  include: Schema.optional(Schema.Array(Include)),
  ...Wire.pageQuery
})

/**
 * A query for reservations.
 *
 * @category models
 * @since 0.1.0
 */
export type ReservationListQuery = typeof ReservationListQuery.Type
