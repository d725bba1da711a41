/**
 * Decisions: whether a reserve would be allowed, without reserving anything.
 *
 * @see schemas `DecisionRequest`, `DecisionResponse`, `DecisionEnum` and `DecisionReasonCode` of the Cycles protocol
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as Action from "./Action.ts"
import * as Amount from "./Amount.ts"
import { Caps } from "./Caps.ts"
import { EvidenceRef } from "./Evidence.ts"
import { IdempotencyKey } from "./Identifiers.ts"
import { struct } from "./internal/fieldNames.ts"
import * as Wire from "./internal/schema.ts"
import * as Subject from "./Subject.ts"

/**
 * The server's decision. A decision that this version doesn't know is kept as the server sent it.
 *
 * @see schema `DecisionEnum` of the Cycles protocol
 * @category models
 * @since 0.1.0
 */
export type Decision = "ALLOW" | "ALLOW_WITH_CAPS" | "DENY" | (string & {})

/**
 * Schema of a decision. It accepts any string, since servers may add decisions.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Decision: Schema.Codec<Decision, string> = Schema.StringForLiteralAutocomplete

/**
 * Why the server denied a request. Servers may add codes; unknown ones are kept.
 *
 * @see schema `DecisionReasonCode` of the Cycles protocol
 * @category models
 * @since 0.1.0
 */
export type ReasonCode =
  | "BUDGET_EXCEEDED"
  | "BUDGET_FROZEN"
  | "BUDGET_CLOSED"
  | "BUDGET_NOT_FOUND"
  | "OVERDRAFT_LIMIT_EXCEEDED"
  | "DEBT_OUTSTANDING"
  | "TENANT_CLOSED"
  | "ACTION_QUOTA_EXCEEDED"
  | "ACTION_KIND_DENIED"
  | "ACTION_KIND_NOT_ALLOWED"
  | (string & {})

/**
 * Schema of a reason code. It accepts any string.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ReasonCode: Schema.Codec<ReasonCode, string> = Schema.StringForLiteralAutocomplete

/**
 * Schema of the request for a decision.
 *
 * @see `POST /v1/decide` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const DecisionRequest = struct({
  /** The key under which the request can be repeated. */
  idempotencyKey: IdempotencyKey,
  /** The subject whose budgets are checked. */
  subject: Subject.Subject,
  /** The action that would be guarded. */
  action: Action.Action,
  /** The amount that a reserve would ask for. */
  estimate: Amount.Sendable,
  /** Arbitrary JSON. */
  metadata: Schema.optional(Wire.jsonObject)
})

/**
 * A request for a decision.
 *
 * @category models
 * @since 0.1.0
 */
export type DecisionRequest = typeof DecisionRequest.Type

/**
 * Schema of the decision on a request.
 *
 * @see `POST /v1/decide` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const DecisionResponse = struct({
  /** Whether a reserve would be allowed. */
  decision: Decision,
  /** Limits that the action must obey, if the decision is `ALLOW_WITH_CAPS`. */
  caps: Schema.optionalKey(Caps),
  /** Why the decision is `DENY`. */
  reasonCode: Schema.optionalKey(ReasonCode),
  /** When a retry may succeed, in milliseconds from now. */
  retryAfterMs: Schema.optionalKey(Wire.natural),
  /** The scopes that were checked, from the top down. */
  affectedScopes: Schema.optionalKey(Schema.Array(Schema.String)),
  /** A reference to the signed evidence of the decision. */
  cyclesEvidence: Schema.optionalKey(EvidenceRef)
})

/**
 * The decision on a request.
 *
 * @category models
 * @since 0.1.0
 */
export type DecisionResponse = typeof DecisionResponse.Type
