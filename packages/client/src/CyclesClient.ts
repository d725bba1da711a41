/**
 * The operations of the protocol: one method for each, with typed requests and validated responses.
 *
 * Most programs need `Cycles` instead. `CyclesClient` has no policy: it doesn't retry, journal or extend a lease.
 *
 * **Details**
 *
 * - In errors, spans and metrics, an operation has the name of its method.
 * - Every response carries `meta`: request id, trace id, rate limit, tenant and round-trip time.
 *
 * **Example** (Listing the active reservations of a tenant)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { CyclesClient } from "effect-cycles"
 *
 * export const active = Effect.gen(function* () {
 *   const client = yield* CyclesClient.CyclesClient
 *   return yield* Stream.runCollect(client.streamReservations({ status: "ACTIVE" }))
 * })
 * ```
 *
 * @see the paths of the protocol (`/v1/reservations`, `/v1/decide`, `/v1/events`, `/v1/balances`, `/v1/evidence`)
 * @since 0.1.0
 */
import type * as Balance from "@effect-cycles/protocol/Balance"
import type { CyclesTransport } from "@effect-cycles/protocol/CyclesTransport"
import type * as Decision from "@effect-cycles/protocol/Decision"
import type * as Event from "@effect-cycles/protocol/Event"
import type * as Evidence from "@effect-cycles/protocol/Evidence"
import type { EvidenceId, ReservationId } from "@effect-cycles/protocol/Identifiers"
import type * as Reservation from "@effect-cycles/protocol/Reservation"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { ClientConfig } from "./CyclesConfig.ts"
import { clientConfig } from "./CyclesConfig.ts"
import type { CyclesError } from "./CyclesError.ts"
import * as Connection from "./internal/transport/connection.ts"
import { fromSender } from "./internal/protocol/client.ts"
import type * as Calls from "./internal/transport/call.ts"
import { layerHeaderNames } from "./internal/transport/redact.ts"
import * as Sender from "./internal/transport/send.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A validated response body, with `meta`.
 *
 * @category models
 * @since 0.1.0
 */
export type Response<A> = Calls.WithMeta<A>

/**
 * The data of a response besides its body: request id, trace id, rate limit, tenant and round-trip time.
 *
 * @category models
 * @since 0.1.0
 */
export type Meta = Calls.Meta

/**
 * The key of a call, for operations that accept the key of the tenant or of the administrator.
 *
 * @category options
 * @since 0.1.0
 */
export interface KeyOptions {
  /** Which key to send: `apiKey` for `tenant` or `adminKey` for `admin`. Default `tenant`. */
  readonly as?: "tenant" | "admin" | undefined
}

/**
 * The result of an operation. It fails with one of the five errors of a call; see `CyclesError`.
 *
 * @category models
 * @since 0.1.0
 */
export type Call<A> = Effect.Effect<Response<A>, CyclesError>

/**
 * The operations of the protocol against one server.
 *
 * @category models
 * @since 0.1.0
 */
export interface CyclesClient {
  /** Identifies the service. */
  readonly "~effect-cycles/CyclesClient": "~effect-cycles/CyclesClient"
  /** The normalized base URL of the server, without a trailing slash. */
  readonly baseUrl: string
  /**
   * Reserves an estimate in all scopes of a subject, or in none (createReservation). A dry run may return `DENY`;
   * otherwise a denial fails with `BudgetExceeded`.
   */
  readonly reserve: (request: Reservation.ReservationCreateRequest) => Call<Reservation.ReservationCreateResponse>
  /** Charges the actual amount and returns the rest of the estimate (commitReservation). */
  readonly commit: (id: ReservationId, request: Reservation.CommitRequest) => Call<Reservation.CommitResponse>
  /** Returns the whole estimate to the budget (releaseReservation). */
  readonly release: (
    id: ReservationId,
    request: Reservation.ReleaseRequest,
    options?: KeyOptions
  ) => Call<Reservation.ReleaseResponse>
  /** Extends a lease, counted from its current end (extendReservation). */
  readonly extend: (id: ReservationId, request: Reservation.ExtendRequest) => Call<Reservation.ExtendResponse>
  /**
   * Returns the decision that a reserve would get now (decide). A denial is a response, not an error. Nothing is
   * reserved.
   */
  readonly decide: (request: Decision.DecisionRequest) => Call<Decision.DecisionResponse>
  /** Charges spend that was never reserved (createEvent). */
  readonly event: (request: Event.EventCreateRequest) => Call<Event.EventCreateResponse>
  /** Returns one reservation (getReservation). An expired one fails with status 410. */
  readonly getReservation: (id: ReservationId, options?: KeyOptions) => Call<Reservation.ReservationDetail>
  /** Returns one page of reservations (listReservations). Without `sortBy` the order is arbitrary. */
  readonly listReservations: (
    query?: Reservation.ReservationListQuery,
    options?: KeyOptions
  ) => Call<Reservation.ReservationListResponse>
  /** Emits the reservations of all pages. */
  readonly streamReservations: (
    query?: Reservation.ReservationListQuery,
    options?: KeyOptions
  ) => Stream.Stream<Reservation.ReservationSummary, CyclesError>
  /**
   * Returns one page of balances (getBalances). The query needs at least one field of a subject. The call is slow on a large
   * store.
   */
  readonly balances: (query: Balance.BalanceQuery) => Call<Balance.BalanceResponse>
  /** Emits the balances of all pages. */
  readonly streamBalances: (query: Balance.BalanceQuery) => Stream.Stream<Balance.Balance, CyclesError>
  /**
   * Returns a signed evidence envelope. An envelope may become available only some time after the response that refers to it.
   * Until then the call fails with status 404.
   */
  readonly getEvidence: (id: EvidenceId) => Call<Evidence.EvidenceEnvelope>
  /** Returns the public keys that verify the signatures of evidence. */
  readonly getJwks: Call<Evidence.EvidenceJwks>
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The service tag of `CyclesClient`.
 *
 * @category services
 * @since 0.1.0
 */
export const CyclesClient: Context.Service<CyclesClient, CyclesClient> = Context.Service("effect-cycles/CyclesClient")

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes a client from a transport. Dies with a `RangeError` if a field of the configuration is out of range.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (config: ClientConfig): Effect.Effect<CyclesClient, never, CyclesTransport | Scope.Scope> =>
  Effect.suspend(() => {
    const connection = Connection.resolve(config)
    return Effect.map(Sender.make(connection), (sender) => fromSender(connection.baseUrl, sender))
  })

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Provides a client over a transport. Effects that use the layer redact the key headers when they log or inspect a
 * request.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (config: ClientConfig): Layer.Layer<CyclesClient, never, CyclesTransport> =>
  Layer.merge(Layer.effect(CyclesClient, make(config)), layerHeaderNames)

/**
 * Provides a client configured by `Config`. Without an argument it reads the variables that `CyclesConfig.clientConfig`
 * lists. Fails with `ConfigError` if a variable is missing or invalid.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config?: Config.Wrap<ClientConfig>
): Layer.Layer<CyclesClient, Config.ConfigError, CyclesTransport> =>
  Layer.unwrap(Effect.map(config === undefined ? clientConfig : Config.unwrap(config), layer))
