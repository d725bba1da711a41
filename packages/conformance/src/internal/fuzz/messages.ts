/** Valid requests and responses of the runtime plane, from which hostile ones are made. */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { CyclesClient } from "effect-cycles/CyclesClient"
import type { CyclesError } from "effect-cycles/CyclesError"
import { EvidenceId, IdempotencyKey, ReservationId } from "@effect-cycles/protocol/Identifiers"

const idempotencyKey = IdempotencyKey.make("key")

const id = ReservationId.make("0199c0de-0000-7000-8000-000000000001")

const evidence = EvidenceId.make("a".repeat(64))

const subject = { tenant: "acme", agent: "planner" }

const action = { kind: "llm.completion", name: "openai:gpt-5" }

const amount = { unit: "TOKENS", amount: 100 }

const balance = {
  scope: "tenant:acme",
  scope_path: "tenant:acme",
  remaining: { unit: "TOKENS", amount: 900 },
  reserved: amount,
  spent: amount,
  allocated: { unit: "TOKENS", amount: 1_000 },
  debt: { unit: "TOKENS", amount: 0 },
  overdraft_limit: { unit: "TOKENS", amount: 0 },
  is_over_limit: false
}

const summary = {
  reservation_id: id,
  status: "ACTIVE",
  subject,
  action,
  reserved: amount,
  created_at_ms: 1_800_000_000_000,
  expires_at_ms: 1_800_000_060_000,
  scope_path: "tenant:acme/agent:planner",
  affected_scopes: ["tenant:acme", "tenant:acme/agent:planner"],
  idempotency_key: "key",
  metadata: { a: [1, "b", null] }
}

/** One operation: the call, the status of a success and its body. */
export interface Message {
  readonly status: number
  readonly body: unknown
  readonly call: (client: CyclesClient) => Effect.Effect<unknown, CyclesError>
}

const request = { idempotencyKey, subject, action, estimate: Amount.tokens(100) }

/** The operations, and the streams over pages, of which only the start is read. */
export const messages = {
  reserve: {
    status: 200,
    body: {
      decision: "ALLOW_WITH_CAPS",
      reservation_id: id,
      affected_scopes: ["tenant:acme"],
      expires_at_ms: 1_800_000_060_000,
      scope_path: "tenant:acme",
      reserved: amount,
      caps: { max_tokens: 10, tool_allowlist: ["a"], cooldown_ms: 5 },
      retry_after_ms: 5,
      balances: [balance]
    },
    call: (client) => client.reserve({ ...request, ttlMs: 60_000 })
  },
  commit: {
    status: 200,
    body: { status: "COMMITTED", charged: amount, released: { unit: "TOKENS", amount: 0 }, balances: [balance] },
    call: (client) => client.commit(id, { idempotencyKey, actual: Amount.tokens(42) })
  },
  release: {
    status: 200,
    body: { status: "RELEASED", released: amount, balances: [balance] },
    call: (client) => client.release(id, { idempotencyKey })
  },
  extend: {
    status: 200,
    body: { status: "ACTIVE", expires_at_ms: 1_800_000_060_000, balances: [balance] },
    call: (client) => client.extend(id, { idempotencyKey, extendByMs: 60_000 })
  },
  decide: {
    status: 200,
    body: { decision: "DENY", reason_code: "BUDGET_EXCEEDED", retry_after_ms: 10, affected_scopes: ["tenant:acme"] },
    call: (client) => client.decide(request)
  },
  event: {
    status: 201,
    body: { status: "APPLIED", event_id: "e-1", charged: amount, balances: [balance] },
    call: (client) => client.event({ idempotencyKey, subject, action, actual: Amount.tokens(1) })
  },
  getReservation: {
    status: 200,
    body: { ...summary, committed: amount, finalized_at_ms: 1_800_000_000_001 },
    call: (client) => client.getReservation(id)
  },
  listReservations: {
    status: 200,
    body: { reservations: [summary], has_more: true, next_cursor: "c-1" },
    call: (client) => client.listReservations({})
  },
  streamReservations: {
    status: 200,
    body: { reservations: [summary], has_more: true, next_cursor: "c-1" },
    call: (client) => Stream.runDrain(Stream.take(client.streamReservations({}), 20))
  },
  balances: {
    status: 200,
    body: { balances: [balance], has_more: true, next_cursor: "c-1" },
    call: (client) => client.balances({ tenant: "acme" })
  },
  streamBalances: {
    status: 200,
    body: { balances: [balance], has_more: true, next_cursor: "c-1" },
    call: (client) => Stream.runDrain(Stream.take(client.streamBalances({ tenant: "acme" }), 20))
  },
  getEvidence: {
    status: 200,
    body: {
      schema_version: "1",
      artifact_type: "reserve",
      server_id: "https://cycles.example",
      signer_did: "did:web:cycles.example",
      issued_at_ms: 1_800_000_000_000,
      payload: { a: 1 },
      evidence_id: evidence,
      signature: "ab"
    },
    call: (client) => client.getEvidence(evidence)
  },
  getJwks: {
    status: 200,
    body: { keys: [{ kty: "OKP", crv: "Ed25519", x: "abc", kid: "k", cycles_nbf_ms: 1 }] },
    call: (client) => client.getJwks
  }
} as const satisfies Readonly<Record<string, Message>>

/** An error of the protocol. */
export const errorBody = {
  error: "BUDGET_EXCEEDED",
  message: "no budget",
  request_id: "r-1",
  trace_id: "t-1",
  retry_after_ms: 5,
  details: { scope: "tenant:acme", remaining: 58 }
}
