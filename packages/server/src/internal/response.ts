/**
 * Responses and idempotency: a response is stored under the idempotency key of its request, and returned again when the same
 * request is repeated.
 *
 * @see IDEMPOTENCY in cycles-protocol-v0.yaml
 */
import * as Json from "@effect-cycles/protocol/Json"
import { canonicalBody } from "./canonical.ts"
import type { Reservation, StoredResponse } from "./model.ts"
import { ErrorResponse } from "./errorResponse.ts"
import type { Store } from "./store.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A status and a JSON body. Headers are set on the call. */
export interface JsonResponse {
  readonly status: number
  /** JSON text, or empty. */
  readonly body: string
}

/** The result of a command. */
export interface Outcome {
  /** Default 200. */
  readonly status?: number
  /** The body of the response, before encoding. */
  readonly payload: object
  /** How long the response is stored, in milliseconds. */
  readonly retentionMs: number
  /** The reservation whose `remaining_ttl_ms` is in the body. A repeated response contains the current value. */
  readonly reservation?: Pick<Reservation, "id" | "expiresAtMs">
}

/** A request with an idempotency key. */
export interface IdempotentRequest {
  /** The operation, the owner and the idempotency key. */
  readonly id: string
  /** The reservation that the request settles or extends, if any. */
  readonly parentId?: string
  /** The body of the request. A different request with the same key is rejected. */
  readonly body: string
  /** Maps equivalent bodies to the same text. Default: `canonicalBody`. */
  readonly canonicalize?: (body: string) => string
  /** The error message for a different request. */
  readonly mismatch?: string
}

// ---------------------------------------------------------------------------------------------------------------------
// idempotency
// ---------------------------------------------------------------------------------------------------------------------

/** Encodes a JSON response. */
export const json = (status: number, body: object): JsonResponse => ({ status, body: Json.stringify(body) })

/** Runs a command once per idempotency key. A command that throws stores nothing, so it can be retried. */
export const idempotent = (
  { nowMs, store }: { readonly store: Store; readonly nowMs: number },
  {
    body: request,
    canonicalize = canonicalBody,
    id,
    parentId,
    mismatch = "Provided idempotency does not match the stored one"
  }: IdempotentRequest,
  command: () => Outcome
): JsonResponse => {
  const stored = store.responses.get(id, parentId)
  if (stored !== undefined && stored.forgetAtMs >= nowMs) {
    if (stored.request !== request && canonicalize(stored.request) !== canonicalize(request))
      throw new ErrorResponse(409, "IDEMPOTENCY_MISMATCH", mismatch)
    return { status: stored.status, body: withRemainingTtl(store, nowMs, stored) }
  }
  const { payload, retentionMs, reservation, status = 200 } = command()
  const { body } = json(status, payload)
  store.responses.put({
    id,
    parentId,
    request,
    status,
    body,
    reservationId: reservation?.id,
    expiresAtMs: reservation?.expiresAtMs,
    forgetAtMs: nowMs + retentionMs
  })
  return { status, body }
}

/** The stored body with the current `remaining_ttl_ms`. */
const withRemainingTtl = (store: Store, nowMs: number, stored: StoredResponse): string => {
  if (stored.reservationId === undefined || stored.expiresAtMs === undefined) return stored.body
  const status = store.reservations.get(stored.reservationId)?.status
  const left = status === "ACTIVE" ? Math.max(0, stored.expiresAtMs - nowMs) : 0
  return stored.body.replace(/"remaining_ttl_ms":\d+/, `"remaining_ttl_ms":${left}`)
}
