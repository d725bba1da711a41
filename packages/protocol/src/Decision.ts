/**
 * Asking what a reserve would be answered, without holding anything.
 *
 * Source: DecisionRequest, DecisionResponse, DecisionEnum and DecisionReasonCode of the protocol.
 */
import * as Schema from "effect/Schema"
import * as Action from "./Action.ts"
import * as Amount from "./Amount.ts"
import { Caps } from "./Caps.ts"
import { EvidenceRef } from "./Evidence.ts"
import { IdempotencyKey } from "./Identifiers.ts"
import { struct } from "./internal/names.ts"
import * as Wire from "./internal/schema.ts"
import * as Subject from "./Subject.ts"

/** The answer: one that this version does not know is carried as it is. */
export type Decision = "ALLOW" | "ALLOW_WITH_CAPS" | "DENY" | (string & {})

/** The answer as it is read. */
export const Decision: Schema.Codec<Decision, string> = Schema.StringForLiteralAutocomplete

/** Why it was denied; the list is open. */
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

/** Why it was denied, as it is read. */
export const ReasonCode: Schema.Codec<ReasonCode, string> = Schema.StringForLiteralAutocomplete

/** What is asked. */
export const DecisionRequest = struct({
  idempotencyKey: IdempotencyKey,
  subject: Subject.Subject,
  action: Action.Action,
  estimate: Amount.Sendable,
  metadata: Schema.optional(Wire.jsonObject)
})

/** What is asked. */
export type DecisionRequest = typeof DecisionRequest.Type

/** What is answered. */
export const DecisionResponse = struct({
  decision: Decision,
  caps: Schema.optionalKey(Caps),
  reasonCode: Schema.optionalKey(ReasonCode),
  retryAfterMs: Schema.optionalKey(Wire.natural),
  affectedScopes: Schema.optionalKey(Schema.Array(Schema.String)),
  cyclesEvidence: Schema.optionalKey(EvidenceRef)
})

/** What is answered. */
export type DecisionResponse = typeof DecisionResponse.Type
