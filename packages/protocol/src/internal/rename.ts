/**
 * From the names of the wire to those of the program and back, by hand, for the messages of every lifecycle.
 *
 * Nothing is checked here: `reader` and `writer` have a schema look at a message first. A schema that renames as it reads
 * costs five times as much, more than the rest of a guarded call.
 */
import * as Brand from "effect/Brand"
import * as Amount from "../Amount.ts"
import type { Balance } from "../Balance.ts"
import type { Caps } from "../Caps.ts"
import type { EvidenceRef } from "../Evidence.ts"
import type { ReservationId } from "../Identifiers.ts"
import type { Metrics } from "../Metrics.ts"
import type {
  CommitRequest,
  CommitResponse,
  ReservationCreateRequest,
  ReservationCreateResponse
} from "../Reservation.ts"
import type * as Reservation from "../Reservation.ts"
import * as Json from "../Json.ts"
import * as Wire from "./schema.ts"

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

// ---------------------------------------------------------------------------------------------------------------------
// answers
// ---------------------------------------------------------------------------------------------------------------------

/** The answer to a reserve. */
export const createResponse = (
  wire: typeof Reservation.ReservationCreateResponse.Encoded
): ReservationCreateResponse => {
  const answer: Mutable<ReservationCreateResponse> = {
    decision: wire.decision,
    affectedScopes: wire.affected_scopes
  }
  if (wire.reservation_id !== undefined) answer.reservationId = reservationId(wire.reservation_id)
  if (wire.reserved !== undefined) answer.reserved = amount(wire.reserved)
  if (wire.expires_at_ms !== undefined) answer.expiresAtMs = Wire.instantOf(wire.expires_at_ms)
  if (wire.remaining_ttl_ms !== undefined) answer.remainingTtlMs = wire.remaining_ttl_ms
  if (wire.scope_path !== undefined) answer.scopePath = wire.scope_path
  if (wire.caps !== undefined) answer.caps = caps(wire.caps)
  if (wire.balances !== undefined) answer.balances = wire.balances.map(balance)
  if (wire.reason_code !== undefined) answer.reasonCode = wire.reason_code
  if (wire.retry_after_ms !== undefined) answer.retryAfterMs = wire.retry_after_ms
  if (wire.cycles_evidence !== undefined) answer.cyclesEvidence = evidence(wire.cycles_evidence)
  return answer
}

/** The answer to a commit. */
export const commitResponse = (wire: typeof Reservation.CommitResponse.Encoded): CommitResponse => {
  const answer: Mutable<CommitResponse> = { status: wire.status, charged: amount(wire.charged) }
  if (wire.released !== undefined) answer.released = amount(wire.released)
  if (wire.balances !== undefined) answer.balances = wire.balances.map(balance)
  if (wire.cycles_evidence !== undefined) answer.cyclesEvidence = evidence(wire.cycles_evidence)
  return answer
}

const reservationId = Brand.nominal<ReservationId>()

const amount = (wire: typeof Amount.Amount.Encoded): Amount.Amount => Amount.make(wire.unit, wire.amount)

const signedAmount = (wire: typeof Amount.SignedAmount.Encoded): Amount.SignedAmount =>
  Amount.makeSigned(wire.unit, wire.amount)

const balance = (wire: typeof Balance.Encoded): Balance => {
  const balance: Mutable<Balance> = {
    scope: wire.scope,
    scopePath: wire.scope_path,
    remaining: signedAmount(wire.remaining)
  }
  if (wire.reserved !== undefined) balance.reserved = amount(wire.reserved)
  if (wire.spent !== undefined) balance.spent = amount(wire.spent)
  if (wire.debt !== undefined) balance.debt = amount(wire.debt)
  if (wire.allocated !== undefined) balance.allocated = amount(wire.allocated)
  if (wire.overdraft_limit !== undefined) balance.overdraftLimit = amount(wire.overdraft_limit)
  if (wire.is_over_limit !== undefined) balance.isOverLimit = wire.is_over_limit
  return balance
}

const caps = (wire: typeof Caps.Encoded): Caps => {
  const caps: Mutable<Caps> = {}
  if (wire.max_tokens !== undefined) caps.maxTokens = wire.max_tokens
  if (wire.max_steps_remaining !== undefined) caps.maxStepsRemaining = wire.max_steps_remaining
  if (wire.tool_allowlist !== undefined) caps.toolAllowlist = wire.tool_allowlist
  if (wire.tool_denylist !== undefined) caps.toolDenylist = wire.tool_denylist
  if (wire.cooldown_ms !== undefined) caps.cooldownMs = wire.cooldown_ms
  return caps
}

const evidence = (wire: typeof EvidenceRef.Encoded): EvidenceRef => ({
  evidenceId: wire.evidence_id,
  cyclesEvidenceUrl: wire.cycles_evidence_url
})

// ---------------------------------------------------------------------------------------------------------------------
// requests
// ---------------------------------------------------------------------------------------------------------------------

/** A reserve. */
export const createRequest = (
  request: ReservationCreateRequest
): typeof Reservation.ReservationCreateRequest.Encoded => {
  const { action, subject } = request
  return {
    idempotency_key: request.idempotencyKey,
    subject: {
      tenant: subject.tenant,
      workspace: subject.workspace,
      app: subject.app,
      workflow: subject.workflow,
      agent: subject.agent,
      toolset: subject.toolset,
      dimensions: subject.dimensions
    },
    action: { kind: action.kind, name: action.name, tags: action.tags },
    estimate: amountToWire(request.estimate),
    ttl_ms: request.ttlMs,
    grace_period_ms: request.gracePeriodMs,
    overage_policy: request.overagePolicy,
    dry_run: request.dryRun,
    metadata: request.metadata
  }
}

/** A commit. */
export const commitRequest = (request: CommitRequest): typeof Reservation.CommitRequest.Encoded => ({
  idempotency_key: request.idempotencyKey,
  actual: amountToWire(request.actual),
  metrics: request.metrics === undefined ? undefined : metricsToWire(request.metrics),
  metadata: request.metadata
})

const amountToWire = ({ amount, unit }: Amount.Amount): typeof Amount.Amount.Encoded => ({
  unit,
  amount: Json.encodeInteger(amount)
})

const metricsToWire = (metrics: Metrics): typeof Metrics.Encoded => ({
  tokens_input: metrics.tokensInput,
  tokens_output: metrics.tokensOutput,
  latency_ms: metrics.latencyMs,
  model_version: metrics.modelVersion,
  custom: metrics.custom
})
