/**
 * Answers, and giving each of them once: an answer is kept under the key of its request, and the same request gets it again.
 *
 * Source: IDEMPOTENCY of the protocol.
 */
import * as Json from "@effect-cycles/protocol/Json"
import { canonicalBody } from "./canonical.ts"
import type { Reservation, StoredResponse } from "./model.ts"
import { ErrorResponse } from "./errorResponse.ts"
import type { Store } from "./store.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** An answer: a status and JSON. */
export interface JsonResponse {
  readonly status: number
  /** The JSON text. */
  readonly body: string
}

/** What a command came to: its answer, and for how long that is kept. */
export interface Outcome {
  /** Default 200. */
  readonly status?: number
  readonly payload: object
  readonly retentionMs: number
  /** Whose `remaining_ttl_ms` the answer tells; it is measured anew when the answer is given again. */
  readonly reservation?: Pick<Reservation, "id" | "expiresAtMs">
}

/** A request that is answered once. */
export interface IdempotentRequest {
  /** Operation and owner, and the key. */
  readonly id: string
  /** The reservation that is settled or extended, if any. */
  readonly parentId?: string
  /** The request, as JSON text: another one under the same key is refused. */
  readonly body: string
  /** What two bodies of the same request have in common. Default: their canonical form. */
  readonly canonicalize?: (body: string) => string
  /** What is said of another one. */
  readonly mismatch?: string
}

// ---------------------------------------------------------------------------------------------------------------------
// answers
// ---------------------------------------------------------------------------------------------------------------------

/** An answer of an object. */
export const json = (status: number, body: object): JsonResponse => ({ status, body: Json.stringify(body) })

/** Runs a command, unless its request has been answered before. A command that throws is not remembered. */
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

/** The stored answer, with the time that is left now. */
const withRemainingTtl = (store: Store, nowMs: number, stored: StoredResponse): string => {
  if (stored.reservationId === undefined || stored.expiresAtMs === undefined) return stored.body
  const status = store.reservations.get(stored.reservationId)?.status
  const left = status === "ACTIVE" ? Math.max(0, stored.expiresAtMs - nowMs) : 0
  return stored.body.replace(/"remaining_ttl_ms":\d+/, `"remaining_ttl_ms":${left}`)
}
