/**
 * The wire: one method for each operation of the protocol, typed requests in, checked answers out. No policy: nothing is
 * repeated, journaled or kept alive. What most programs need is in `Cycles`.
 *
 * Every answer carries `meta`: request id, trace id, rate limit, tenant, and the round trip.
 *
 * Source: the paths of the protocol.
 */
import type * as Balance from "@effect-cycles/protocol/Balance"
import type * as Decision from "@effect-cycles/protocol/Decision"
import type * as Event from "@effect-cycles/protocol/Event"
import type * as Evidence from "@effect-cycles/protocol/Evidence"
import type { EvidenceId, ReservationId } from "@effect-cycles/protocol/Identifiers"
import type * as Reservation from "@effect-cycles/protocol/Reservation"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ClientConfig } from "./CyclesConfig.ts"
import { clientConfig } from "./CyclesConfig.ts"
import type { CyclesError } from "./CyclesError.ts"
import { isKey, keyRule } from "./internal/config/apiKey.ts"
import * as BaseUrl from "./internal/config/baseUrl.ts"
import * as Encode from "./internal/protocol/requests.ts"
import { millis } from "./internal/config/time.ts"
import type { AnswerMeta, Send, WithMeta } from "./internal/transport/send.ts"
import * as Sender from "./internal/transport/send.ts"
import * as Wire from "./internal/protocol/operations.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A checked answer, with what came with it. */
export type Answer<A> = WithMeta<A>

/** What came with an answer besides its body. */
export type Meta = AnswerMeta

/** Which key a call is made with, where the protocol allows both: the tenant's (default) or the administrator's. */
export interface KeyOptions {
  readonly as?: "tenant" | "admin" | undefined
}

/** A call can fail with the five errors; see `CyclesError` for what each means. */
export type Call<A> = Effect.Effect<Answer<A>, CyclesError>

/** The operations of the protocol. */
export interface Shape {
  /** The server's address, without a trailing slash. */
  readonly baseUrl: string
  /** Asks what a reserve would be answered now; a denial is an answer, not an error. Nothing is held. */
  readonly decide: (request: Decision.DecisionRequest) => Call<Decision.DecisionResponse>
  /** Holds an estimate on all scopes of a subject, or on none. A dry run may answer `DENY`. */
  readonly createReservation: (
    request: Reservation.ReservationCreateRequest
  ) => Call<Reservation.ReservationCreateResponse>
  /** One reservation. An expired one is refused with 410. */
  readonly getReservation: (id: ReservationId, options?: KeyOptions) => Call<Reservation.ReservationDetail>
  /** One page of reservations. Without `sortBy` the order is arbitrary. */
  readonly listReservations: (
    query?: Reservation.ReservationListQuery,
    options?: KeyOptions
  ) => Call<Reservation.ReservationListResponse>
  /** All pages, one reservation at a time. */
  readonly reservations: (
    query?: Reservation.ReservationListQuery,
    options?: KeyOptions
  ) => Stream.Stream<Reservation.ReservationSummary, CyclesError>
  /** Charges what was spent and gives the rest back. */
  readonly commit: (id: ReservationId, request: Reservation.CommitRequest) => Call<Reservation.CommitResponse>
  /** Gives everything back. */
  readonly release: (
    id: ReservationId,
    request: Reservation.ReleaseRequest,
    options?: KeyOptions
  ) => Call<Reservation.ReleaseResponse>
  /** Moves the end of a lease outwards, counted from its present end. */
  readonly extend: (id: ReservationId, request: Reservation.ExtendRequest) => Call<Reservation.ExtendResponse>
  /** Charges spend that was never reserved. */
  readonly createEvent: (request: Event.EventCreateRequest) => Call<Event.EventCreateResponse>
  /** One page of balances; at least one field of the subject is needed. Slow on a large store. */
  readonly getBalances: (query: Balance.BalanceQuery) => Call<Balance.BalanceResponse>
  /** All pages, one balance at a time. */
  readonly balances: (query: Balance.BalanceQuery) => Stream.Stream<Balance.Balance, CyclesError>
  /** A signed evidence envelope. It may be there a little later than the answer that names it: 404 until then. */
  readonly getEvidence: (id: EvidenceId) => Call<Evidence.EvidenceEnvelope>
  /** The public keys that evidence is signed with. */
  readonly getJwks: Call<Evidence.EvidenceJwks>
  /**
   * Sends a call whose request text is already made. It is what retries and the journal use: what is repeated is byte for
   * byte what was sent first.
   */
  readonly send: Send
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/** The operations of the protocol against one server. */
export class CyclesClient extends Context.Service<CyclesClient, Shape>()("effect-cycles/CyclesClient") {}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Makes a client over any `HttpClient`. A base URL or a key that is none, or a limit below 2, throws a `RangeError`. */
export const make = (config: ClientConfig): Effect.Effect<Shape, never, HttpClient.HttpClient | Scope.Scope> => {
  const baseUrl = BaseUrl.normalize(config.baseUrl)
  const problem = BaseUrl.problemOf(baseUrl)
  if (problem !== undefined) {
    throw new RangeError(`baseUrl must be ${problem}, got ${JSON.stringify(BaseUrl.withoutLogin(baseUrl))}`)
  }
  for (const name of ["apiKey", "adminKey"] as const) {
    const key = config[name]
    if (key !== undefined && !isKey(Redacted.value(key))) throw new RangeError(`${name} must be ${keyRule}`)
  }
  const maxInFlight = config.maxInFlight ?? 64
  if (!Number.isInteger(maxInFlight) || maxInFlight < 2) {
    throw new RangeError(`maxInFlight must be an integer of at least 2, got ${maxInFlight}`)
  }
  const timeoutMs = config.timeout === undefined ? 10_000 : millis(config.timeout)
  if (!(timeoutMs > 0)) throw new RangeError(`timeout must be more than 0 ms, got ${timeoutMs}`)
  const aloneAfterMs = millis(config.aloneAfter ?? "50 seconds")
  return Effect.map(
    Sender.make({ baseUrl, apiKey: config.apiKey, adminKey: config.adminKey, timeoutMs, maxInFlight, aloneAfterMs }),
    (send) => fromSend(baseUrl, send)
  ).pipe(
    Effect.tap(() =>
      BaseUrl.isPlainPublic(baseUrl)
        ? Effect.logWarning(`The key goes unencrypted to ${baseUrl}: use https`)
        : Effect.void
    )
  )
}

const fromSend = (baseUrl: string, send: Send): Shape => {
  const listReservations: Shape["listReservations"] = (query, options) =>
    Effect.flatMap(Encode.reservationQuery(query ?? {}), (text) => send(Wire.listReservations(text, keyOf(options))))
  const getBalances: Shape["getBalances"] = (query) =>
    Effect.flatMap(Encode.balanceQuery(query), (text) => send(Wire.balances(text)))

  return CyclesClient.of({
    baseUrl,
    send,
    decide: (request) =>
      Effect.flatMap(Encode.decisionRequest(request), (body) =>
        send(Wire.decide(body, { action: request.action, requested: request.estimate }))
      ),
    createReservation: (request) =>
      Effect.flatMap(Encode.createRequest(request), (body) =>
        send(Wire.reserve(body, { action: request.action, requested: request.estimate }, "caller"))
      ),
    getReservation: (id, options) => send(Wire.getReservation(id, "caller", keyOf(options))),
    listReservations,
    reservations: (query, options) =>
      pages(
        query ?? {},
        (page) => listReservations(page, options),
        (answer) => answer.reservations
      ),
    commit: (id, request) => Effect.flatMap(Encode.commitRequest(request), (body) => send(Wire.commit(id, body))),
    release: (id, request, options) =>
      Effect.flatMap(Encode.releaseRequest(request), (body) => send(Wire.release(id, body, keyOf(options)))),
    extend: (id, request) => Effect.flatMap(Encode.extendRequest(request), (body) => send(Wire.extend(id, body))),
    createEvent: (request) =>
      Effect.flatMap(Encode.eventRequest(request), (body) =>
        send(Wire.event(body, "caller", { action: request.action, requested: request.actual }))
      ),
    getBalances,
    balances: (query) => pages(query, getBalances, (answer) => answer.balances),
    getEvidence: (id) => send(Wire.getEvidence(id)),
    getJwks: send(Wire.getJwks)
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/** A client over the `HttpClient` that is there. It also keeps the names of the key headers from being shown. */
export const layer = (config: ClientConfig): Layer.Layer<CyclesClient, never, HttpClient.HttpClient> =>
  Layer.merge(
    Layer.effect(
      CyclesClient,
      Effect.suspend(() => make(config))
    ),
    redactedHeaders
  )

/** A client as the environment has it; see `CyclesConfig.clientConfig` for the variables. */
export const layerConfig = (
  config?: Config.Wrap<ClientConfig>
): Layer.Layer<CyclesClient, Config.ConfigError, HttpClient.HttpClient> =>
  Layer.unwrap(Effect.map(config === undefined ? clientConfig : Config.unwrap(config), layer))

/** Adds the names of the key headers to those that are never shown when a request is inspected or logged. */
export const redactedHeaders: Layer.Layer<never> = Layer.effect(
  Headers.CurrentRedactedNames,
  Effect.map(Headers.CurrentRedactedNames, (names) => [...names, ...Sender.redactedHeaders])
)

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** All rows of a list, page after page. An empty page with a cursor is followed too. */
export const pages = <Query extends object, A extends { readonly nextCursor?: string }, Row>(
  query: Query,
  get: (query: Query & { readonly cursor?: string }) => Effect.Effect<A, CyclesError>,
  rows: (answer: A) => ReadonlyArray<Row>
): Stream.Stream<Row, CyclesError> =>
  Stream.paginate(query, (page) =>
    Effect.map(get(page), (answer) => [
      rows(answer),
      answer.nextCursor === undefined ? Option.none() : Option.some({ ...page, cursor: answer.nextCursor })
    ])
  )

const keyOf = (options: KeyOptions | undefined): "apiKey" | "adminKey" =>
  options?.as === "admin" ? "adminKey" : "apiKey"
