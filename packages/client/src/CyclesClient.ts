/**
 * The operations of the protocol: one method for each, typed requests in, checked responses out.
 *
 * **Details**
 *
 * No policy: nothing is repeated, journaled or kept alive. Most programs need `Cycles` instead. The methods have the names of
 * the operations in errors, spans and metrics. Every response carries `meta`: request id, trace id, rate limit, tenant and the
 * round trip.
 *
 * @see The paths of the protocol.
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

/** A checked response, with its metadata. */
export type Response<A> = Calls.WithMeta<A>

/** What comes with a response besides its body. */
export type Meta = Calls.Meta

/** Which key a call is made with, where the protocol allows both: the tenant's (default) or the administrator's. */
export interface KeyOptions {
  readonly as?: "tenant" | "admin" | undefined
}

/** A call can fail with the five errors; see `CyclesError` for what each means. */
export type Call<A> = Effect.Effect<Response<A>, CyclesError>

/** The operations of the protocol against one server. */
export interface CyclesClient {
  readonly "~effect-cycles/CyclesClient": "~effect-cycles/CyclesClient"
  /** The server's address, in its normal form. */
  readonly baseUrl: string
  /** Reserves an estimate on all scopes of a subject, or on none. A dry run may return `DENY`. */
  readonly reserve: (request: Reservation.ReservationCreateRequest) => Call<Reservation.ReservationCreateResponse>
  /** Charges what was spent and returns the rest to the budget. */
  readonly commit: (id: ReservationId, request: Reservation.CommitRequest) => Call<Reservation.CommitResponse>
  /** Returns the whole reserved amount to the budget. */
  readonly release: (
    id: ReservationId,
    request: Reservation.ReleaseRequest,
    options?: KeyOptions
  ) => Call<Reservation.ReleaseResponse>
  /** Moves the end of a lease, counted from its present end. */
  readonly extend: (id: ReservationId, request: Reservation.ExtendRequest) => Call<Reservation.ExtendResponse>
  /** Returns what a reserve would return now; a denial is a response, not an error. Nothing is reserved. */
  readonly decide: (request: Decision.DecisionRequest) => Call<Decision.DecisionResponse>
  /** Charges spend that was never reserved. */
  readonly event: (request: Event.EventCreateRequest) => Call<Event.EventCreateResponse>
  /** One reservation. An expired one is refused with 410. */
  readonly getReservation: (id: ReservationId, options?: KeyOptions) => Call<Reservation.ReservationDetail>
  /** One page of reservations. Without `sortBy` the order is arbitrary. */
  readonly listReservations: (
    query?: Reservation.ReservationListQuery,
    options?: KeyOptions
  ) => Call<Reservation.ReservationListResponse>
  /** All pages, one reservation at a time. */
  readonly streamReservations: (
    query?: Reservation.ReservationListQuery,
    options?: KeyOptions
  ) => Stream.Stream<Reservation.ReservationSummary, CyclesError>
  /** One page of balances; at least one field of the subject is needed. Slow on a large store. */
  readonly balances: (query: Balance.BalanceQuery) => Call<Balance.BalanceResponse>
  /** All pages, one balance at a time. */
  readonly streamBalances: (query: Balance.BalanceQuery) => Stream.Stream<Balance.Balance, CyclesError>
  /** A signed evidence envelope. It may appear a little later than the response that names it: 404 until then. */
  readonly getEvidence: (id: EvidenceId) => Call<Evidence.EvidenceEnvelope>
  /** The public keys that evidence is signed with. */
  readonly getJwks: Call<Evidence.EvidenceJwks>
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/** The operations of the protocol against one server. */
export const CyclesClient: Context.Service<CyclesClient, CyclesClient> = Context.Service("effect-cycles/CyclesClient")

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Makes a client over a transport. A field of the configuration that is out of range throws a `RangeError`. */
export const make = (config: ClientConfig): Effect.Effect<CyclesClient, never, CyclesTransport | Scope.Scope> =>
  Effect.suspend(() => {
    const connection = Connection.resolve(config)
    return Effect.map(Sender.make(connection), (sender) => fromSender(connection.baseUrl, sender))
  })

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/** A client over a transport. Inside of it the key headers are never shown when a request is inspected or logged. */
export const layer = (config: ClientConfig): Layer.Layer<CyclesClient, never, CyclesTransport> =>
  Layer.merge(Layer.effect(CyclesClient, make(config)), layerHeaderNames)

/** A client configured by the environment; see `CyclesConfig.clientConfig` for the variables. */
export const layerConfig = (
  config?: Config.Wrap<ClientConfig>
): Layer.Layer<CyclesClient, Config.ConfigError, CyclesTransport> =>
  Layer.unwrap(Effect.map(config === undefined ? clientConfig : Config.unwrap(config), layer))
