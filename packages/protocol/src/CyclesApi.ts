/**
 * The runtime plane as one `HttpApi`: what the embedded server answers, and what the documentation is drawn from.
 *
 * Source: the paths of the protocol.
 */
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as HttpApiSecurity from "effect/http-api/HttpApiSecurity"
import * as OpenApi from "effect/http-api/OpenApi"
import { BalanceQuery, BalanceResponse } from "./Balance.ts"
import { DecisionRequest, DecisionResponse } from "./Decision.ts"
import { ErrorResponse } from "./ErrorResponse.ts"
import { EventCreateRequest, EventCreateResponse } from "./Event.ts"
import { EvidenceEnvelope, EvidenceJwks } from "./Evidence.ts"
import * as Headers from "./Headers.ts"
import { EvidenceId, ReservationId } from "./Identifiers.ts"
import * as Reservation from "./Reservation.ts"

// ---------------------------------------------------------------------------------------------------------------------
// security and refusals
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The tenant's key.
 *
 * @effect-expect-leaking HttpServerRequest | ParsedSearchParams | RouteContext
 */
export class TenantKey extends HttpApiMiddleware.Service<TenantKey>()("@effect-cycles/protocol/TenantKey", {
  security: { apiKey: HttpApiSecurity.apiKey({ in: "header", key: Headers.API_KEY }) }
}) {}

/**
 * The tenant's key or the administrator's.
 *
 * @effect-expect-leaking HttpServerRequest | ParsedSearchParams | RouteContext
 */
export class TenantOrAdminKey extends HttpApiMiddleware.Service<TenantOrAdminKey>()(
  "@effect-cycles/protocol/TenantOrAdminKey",
  {
    security: {
      apiKey: HttpApiSecurity.apiKey({ in: "header", key: Headers.API_KEY }),
      adminKey: HttpApiSecurity.apiKey({ in: "header", key: Headers.ADMIN_KEY })
    }
  }
) {}

const refusals = (...statuses: ReadonlyArray<number>) =>
  statuses.map((status) => ErrorResponse.pipe(HttpApiSchema.status(status)))

const reservationParams = { reservation_id: ReservationId }

// ---------------------------------------------------------------------------------------------------------------------
// groups
// ---------------------------------------------------------------------------------------------------------------------

/** Preflight. */
export const decisions = HttpApiGroup.make("Decisions").add(
  HttpApiEndpoint.post("decide", "/v1/decide", {
    payload: DecisionRequest,
    success: DecisionResponse,
    error: refusals(400, 401, 403, 409, 429, 500)
  }).middleware(TenantKey)
)

/** Reservations and their settlement. */
export const reservations = HttpApiGroup.make("Reservations").add(
  HttpApiEndpoint.post("createReservation", "/v1/reservations", {
    payload: Reservation.ReservationCreateRequest,
    success: Reservation.ReservationCreateResponse,
    error: refusals(400, 401, 403, 404, 409, 429, 500)
  }).middleware(TenantKey),
  HttpApiEndpoint.get("listReservations", "/v1/reservations", {
    query: Reservation.ReservationListQuery,
    success: Reservation.ReservationListResponse,
    error: refusals(400, 401, 403, 429, 500)
  }).middleware(TenantOrAdminKey),
  HttpApiEndpoint.get("getReservation", "/v1/reservations/:reservation_id", {
    params: reservationParams,
    success: Reservation.ReservationDetail,
    error: refusals(400, 401, 403, 404, 410, 429, 500)
  }).middleware(TenantOrAdminKey),
  HttpApiEndpoint.post("commitReservation", "/v1/reservations/:reservation_id/commit", {
    params: reservationParams,
    payload: Reservation.CommitRequest,
    success: Reservation.CommitResponse,
    error: refusals(400, 401, 403, 404, 409, 410, 429, 500)
  }).middleware(TenantKey),
  HttpApiEndpoint.post("releaseReservation", "/v1/reservations/:reservation_id/release", {
    params: reservationParams,
    payload: Reservation.ReleaseRequest,
    success: Reservation.ReleaseResponse,
    error: refusals(400, 401, 403, 404, 409, 410, 429, 500)
  }).middleware(TenantOrAdminKey),
  HttpApiEndpoint.post("extendReservation", "/v1/reservations/:reservation_id/extend", {
    params: reservationParams,
    payload: Reservation.ExtendRequest,
    success: Reservation.ExtendResponse,
    error: refusals(400, 401, 403, 404, 409, 410, 429, 500)
  }).middleware(TenantKey)
)

/** Balances. */
export const balances = HttpApiGroup.make("Balances").add(
  HttpApiEndpoint.get("getBalances", "/v1/balances", {
    query: BalanceQuery,
    success: BalanceResponse,
    error: refusals(400, 401, 403, 429, 500)
  }).middleware(TenantKey)
)

/** Direct debits. */
export const events = HttpApiGroup.make("Events").add(
  HttpApiEndpoint.post("createEvent", "/v1/events", {
    payload: EventCreateRequest,
    success: EventCreateResponse.pipe(HttpApiSchema.status(201)),
    error: refusals(400, 401, 403, 404, 409, 429, 500)
  }).middleware(TenantKey)
)

/** Evidence, public. */
export const evidence = HttpApiGroup.make("Evidence").add(
  HttpApiEndpoint.get("getEvidence", "/v1/evidence/:evidence_id", {
    params: { evidence_id: EvidenceId },
    success: EvidenceEnvelope,
    error: refusals(400, 404, 429, 500)
  }),
  HttpApiEndpoint.get("getEvidenceJwks", "/v1/.well-known/cycles-jwks.json", {
    success: EvidenceJwks,
    error: refusals(404, 429, 500)
  })
)

// ---------------------------------------------------------------------------------------------------------------------
// api
// ---------------------------------------------------------------------------------------------------------------------

/** The runtime plane. */
export class CyclesApi extends HttpApi.make("cycles")
  .add(decisions, reservations, balances, events, evidence)
  .annotateMerge(
    OpenApi.annotations({
      title: "Cycles",
      version: "0.1.25",
      description: "Runtime budget authority: reserve before an act, commit what it cost, release the rest."
    })
  ) {}

/** The OpenAPI document of the runtime plane. */
export const openApi = () => OpenApi.fromApi(CyclesApi)
