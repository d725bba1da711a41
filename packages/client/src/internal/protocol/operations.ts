/**
 * The calls of the protocol, one function for each. Method, path, status and parser come from `Operations` of
 * `@effect-cycles/protocol`.
 */
import type * as Balance from "@effect-cycles/protocol/Balance"
import type * as Decision from "@effect-cycles/protocol/Decision"
import type * as Event from "@effect-cycles/protocol/Event"
import type * as Evidence from "@effect-cycles/protocol/Evidence"
import type * as InvalidInput from "@effect-cycles/protocol/InvalidInput"
import * as Operations from "@effect-cycles/protocol/Operations"
import type * as Reservation from "@effect-cycles/protocol/Reservation"
import * as Result from "effect/Result"
import { InvalidRequest } from "../../CyclesError.ts"
import type { Priority } from "../transport/bulkhead.ts"
import type { About, Call, Progress } from "../transport/call.ts"

interface Row<A extends object> extends Pick<Operations.Operation, "auth" | "method" | "pathOf" | "status"> {
  readonly name: Operations.Name
  readonly read: Call<A>["read"]
}

/**
 * The fields of a call that come from the table. An id that isn't valid in a path makes a call that fails before it is
 * sent.
 */
const callOf = <A extends object>({ auth, method, name, pathOf, read, status }: Row<A>, id?: string) => {
  const path = pathOf(id)
  const isValid = Result.isSuccess(path)
  return {
    operation: name,
    method,
    path: isValid ? path.success : "",
    status,
    read,
    auth: auth === "none" ? auth : "apiKey",
    invalid: isValid ? undefined : invalid(name, path.failure)
  } as const
}

const invalid = (operation: Operations.Name, field: InvalidInput.InvalidField): InvalidRequest =>
  new InvalidRequest({ operation, fields: [field] })

const withQuery = <A extends { readonly path: string }>(call: A, query: string): A => ({
  ...call,
  path: call.path + query
})

/** `POST /v1/reservations` */
export const reserve = (
  body: string,
  about: About,
  priority: Priority,
  progress?: Progress
): Call<Reservation.ReservationCreateResponse> => ({
  ...callOf(Operations.reserve),
  body,
  priority,
  about,
  progress,
  describe: (response) => ({
    "cycles.reservation_id": response.reservationId,
    "cycles.decision": response.decision,
    "cycles.reason_code": response.reasonCode
  })
})

/** `POST /v1/reservations/{id}/commit` */
export const commit = (id: string, body: string, about?: About): Call<Reservation.CommitResponse> => ({
  ...callOf(Operations.commit, id),
  body,
  priority: "settlement",
  about: { ...about, reservationId: id },
  describe: (response) => ({
    "cycles.charged": response.charged.amount.toString(),
    "cycles.unit": response.charged.unit
  })
})

/** `POST /v1/reservations/{id}/release` */
export const release = (
  id: string,
  body: string,
  auth: "apiKey" | "adminKey" = "apiKey"
): Call<Reservation.ReleaseResponse> => ({
  ...callOf(Operations.release, id),
  body,
  auth,
  priority: "settlement",
  about: { reservationId: id },
  describe: (response) => ({
    "cycles.released": response.released.amount.toString(),
    "cycles.unit": response.released.unit
  })
})

/** `POST /v1/reservations/{id}/extend` */
export const extend = (id: string, body: string, timeoutMs?: number): Call<Reservation.ExtendResponse> => ({
  ...callOf(Operations.extend, id),
  body,
  priority: "lease",
  timeoutMs,
  about: { reservationId: id },
  describe: (response) => ({ "cycles.expires_at_ms": response.expiresAtMs })
})

/** `GET /v1/reservations/{id}` */
export const getReservation = (
  id: string,
  priority: Priority,
  auth: "apiKey" | "adminKey" = "apiKey"
): Call<Reservation.ReservationDetail> => ({
  ...callOf(Operations.getReservation, id),
  auth,
  priority,
  about: { reservationId: id },
  describe: (response) => ({ "cycles.status": response.status })
})

/** `GET /v1/reservations` */
export const listReservations = (
  query: string,
  auth: "apiKey" | "adminKey"
): Call<Reservation.ReservationListResponse> => ({
  ...withQuery(callOf(Operations.listReservations), query),
  auth,
  priority: "caller"
})

/** `POST /v1/decide` */
export const decide = (body: string, about: About): Call<Decision.DecisionResponse> => ({
  ...callOf(Operations.decide),
  body,
  priority: "caller",
  about,
  describe: (response) => ({ "cycles.decision": response.decision, "cycles.reason_code": response.reasonCode })
})

/** `POST /v1/events` */
export const event = (body: string, priority: Priority, about?: About): Call<Event.EventCreateResponse> => ({
  ...callOf(Operations.event),
  body,
  priority,
  about,
  describe: (response) => ({
    "cycles.event_id": response.eventId,
    "cycles.charged": response.charged?.amount.toString()
  })
})

/** `GET /v1/balances` */
export const balances = (query: string): Call<Balance.BalanceResponse> => ({
  ...withQuery(callOf(Operations.balances), query),
  priority: "caller"
})

/** `GET /v1/evidence/{id}`, public. */
export const getEvidence = (id: string): Call<Evidence.EvidenceEnvelope> => ({
  ...callOf(Operations.getEvidence, id),
  priority: "caller"
})

/** `GET /v1/.well-known/cycles-jwks.json`, public. */
export const getJwks: Call<Evidence.EvidenceJwks> = { ...callOf(Operations.getJwks), priority: "caller" }
