/**
 * The calls of the protocol, one function each: where it goes, what success is, how the answer is read.
 */
import * as Balance from "@effect-cycles/protocol/Balance"
import * as Decision from "@effect-cycles/protocol/Decision"
import * as Event from "@effect-cycles/protocol/Event"
import * as Evidence from "@effect-cycles/protocol/Evidence"
import * as Reservation from "@effect-cycles/protocol/Reservation"
import type { Priority } from "../transport/bulkhead.ts"
import type { About, Call, Progress } from "../transport/call.ts"

/** `POST /v1/reservations` */
export const reserve = (
  body: string,
  about: About,
  priority: Priority,
  progress?: Progress
): Call<Reservation.ReservationCreateResponse> => ({
  operation: "reserve",
  method: "POST",
  path: "/v1/reservations",
  body,
  status: 200,
  read: Reservation.readCreateResponse,
  auth: "apiKey",
  priority,
  about,
  progress,
  describe: (answer) => ({
    "cycles.reservation_id": answer.reservationId,
    "cycles.decision": answer.decision,
    "cycles.reason_code": answer.reasonCode
  })
})

/** `POST /v1/reservations/{id}/commit` */
export const commit = (id: string, body: string, about?: About): Call<Reservation.CommitResponse> => ({
  operation: "commit",
  method: "POST",
  path: `/v1/reservations/${encodeURIComponent(id)}/commit`,
  body,
  status: 200,
  read: Reservation.readCommitResponse,
  auth: "apiKey",
  priority: "settlement",
  about: { ...about, reservationId: id },
  describe: (answer) => ({
    "cycles.charged": answer.charged.amount.toString(),
    "cycles.unit": answer.charged.unit
  })
})

/** `POST /v1/reservations/{id}/release` */
export const release = (
  id: string,
  body: string,
  auth: "apiKey" | "adminKey" = "apiKey"
): Call<Reservation.ReleaseResponse> => ({
  operation: "release",
  method: "POST",
  path: `/v1/reservations/${encodeURIComponent(id)}/release`,
  body,
  status: 200,
  read: Reservation.readReleaseResponse,
  auth,
  priority: "settlement",
  about: { reservationId: id },
  describe: (answer) => ({
    "cycles.released": answer.released.amount.toString(),
    "cycles.unit": answer.released.unit
  })
})

/** `POST /v1/reservations/{id}/extend` */
export const extend = (id: string, body: string, timeoutMs?: number): Call<Reservation.ExtendResponse> => ({
  operation: "extend",
  method: "POST",
  path: `/v1/reservations/${encodeURIComponent(id)}/extend`,
  body,
  status: 200,
  read: Reservation.readExtendResponse,
  auth: "apiKey",
  priority: "lease",
  timeoutMs,
  about: { reservationId: id },
  describe: (answer) => ({ "cycles.expires_at_ms": answer.expiresAtMs })
})

/** `GET /v1/reservations/{id}` */
export const getReservation = (
  id: string,
  priority: Priority,
  auth: "apiKey" | "adminKey" = "apiKey"
): Call<Reservation.ReservationDetail> => ({
  operation: "getReservation",
  method: "GET",
  path: `/v1/reservations/${encodeURIComponent(id)}`,
  status: 200,
  read: Reservation.readDetail,
  auth,
  priority,
  about: { reservationId: id },
  describe: (answer) => ({ "cycles.status": answer.status })
})

/** `GET /v1/reservations` */
export const listReservations = (
  query: string,
  auth: "apiKey" | "adminKey"
): Call<Reservation.ReservationListResponse> => ({
  operation: "listReservations",
  method: "GET",
  path: `/v1/reservations${query}`,
  status: 200,
  read: Reservation.readListResponse,
  auth,
  priority: "caller"
})

/** `POST /v1/decide` */
export const decide = (body: string, about: About): Call<Decision.DecisionResponse> => ({
  operation: "decide",
  method: "POST",
  path: "/v1/decide",
  body,
  status: 200,
  read: Decision.readResponse,
  auth: "apiKey",
  priority: "caller",
  about,
  describe: (answer) => ({ "cycles.decision": answer.decision, "cycles.reason_code": answer.reasonCode })
})

/** `POST /v1/events` */
export const event = (body: string, priority: Priority, about?: About): Call<Event.EventCreateResponse> => ({
  operation: "event",
  method: "POST",
  path: "/v1/events",
  body,
  status: 201,
  read: Event.readCreateResponse,
  auth: "apiKey",
  priority,
  about,
  describe: (answer) => ({ "cycles.event_id": answer.eventId, "cycles.charged": answer.charged?.amount.toString() })
})

/** `GET /v1/balances` */
export const balances = (query: string): Call<Balance.BalanceResponse> => ({
  operation: "balances",
  method: "GET",
  path: `/v1/balances${query}`,
  status: 200,
  read: Balance.readResponse,
  auth: "apiKey",
  priority: "caller"
})

/** `GET /v1/evidence/{id}`, public. */
export const getEvidence = (id: string): Call<Evidence.EvidenceEnvelope> => ({
  operation: "getEvidence",
  method: "GET",
  path: `/v1/evidence/${encodeURIComponent(id)}`,
  status: 200,
  read: Evidence.readEnvelope,
  auth: "none",
  priority: "caller"
})

/** `GET /v1/.well-known/cycles-jwks.json`, public. */
export const getJwks: Call<Evidence.EvidenceJwks> = {
  operation: "getJwks",
  method: "GET",
  path: "/v1/.well-known/cycles-jwks.json",
  status: 200,
  read: Evidence.readJwks,
  auth: "none",
  priority: "caller"
}
