/**
 * The operations of the protocol over a sender, with typed requests and validated responses. `CyclesClient` consists of
 * them. A client of `Cycles.layer` shares its sender with `Cycles`.
 */
import type { BalanceQuery, BalanceResponse } from "@effect-cycles/protocol/Balance"
import type { DecisionRequest } from "@effect-cycles/protocol/Decision"
import type { EventCreateRequest } from "@effect-cycles/protocol/Event"
import type { EvidenceId, ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Operations from "@effect-cycles/protocol/Operations"
import type {
  CommitRequest,
  ExtendRequest,
  ReleaseRequest,
  ReservationCreateRequest,
  ReservationListQuery
} from "@effect-cycles/protocol/Reservation"
import * as Effect from "effect/Effect"
import type { CyclesError } from "../../CyclesError.ts"
import type { WithMeta } from "../transport/call.ts"
import type { Sender } from "../transport/send.ts"
import * as Wire from "./operations.ts"
import { pages } from "./pages.ts"
import * as Encode from "./requests.ts"

interface KeyOptions {
  readonly as?: "tenant" | "admin" | undefined
}

/** Reads one page of balances. */
export const balancesOf =
  (send: Sender["send"]) =>
  (query: BalanceQuery): Effect.Effect<WithMeta<BalanceResponse>, CyclesError> =>
    Effect.flatMap(Encode.queryOf(Operations.balances, query), (text) => send(Wire.balances(text)))

/** The operations of the protocol. */
export const fromSender = (baseUrl: string, { send }: Sender) => {
  const listReservations = (query?: ReservationListQuery, options?: KeyOptions) =>
    Effect.flatMap(Encode.queryOf(Operations.listReservations, query ?? {}), (text) =>
      send(Wire.listReservations(text, keyOf(options)))
    )
  const balances = balancesOf(send)

  return {
    "~effect-cycles/CyclesClient": "~effect-cycles/CyclesClient",
    baseUrl,
    reserve: (request: ReservationCreateRequest) =>
      Effect.flatMap(Encode.bodyOf(Operations.reserve, request), (body) =>
        send(Wire.reserve(body, { action: request.action, requested: request.estimate }, "caller"))
      ),
    commit: (id: ReservationId, request: CommitRequest) =>
      Effect.flatMap(Encode.bodyOf(Operations.commit, request), (body) => send(Wire.commit(id, body))),
    release: (id: ReservationId, request: ReleaseRequest, options?: KeyOptions) =>
      Effect.flatMap(Encode.bodyOf(Operations.release, request), (body) =>
        send(Wire.release(id, body, keyOf(options)))
      ),
    extend: (id: ReservationId, request: ExtendRequest) =>
      Effect.flatMap(Encode.bodyOf(Operations.extend, request), (body) => send(Wire.extend(id, body))),
    decide: (request: DecisionRequest) =>
      Effect.flatMap(Encode.bodyOf(Operations.decide, request), (body) =>
        send(Wire.decide(body, { action: request.action, requested: request.estimate }))
      ),
    event: (request: EventCreateRequest) =>
      Effect.flatMap(Encode.bodyOf(Operations.event, request), (body) =>
        send(Wire.event(body, "caller", { action: request.action, requested: request.actual }))
      ),
    getReservation: (id: ReservationId, options?: KeyOptions) =>
      send(Wire.getReservation(id, "caller", keyOf(options))),
    listReservations,
    streamReservations: (query?: ReservationListQuery, options?: KeyOptions) =>
      pages(
        "listReservations",
        query ?? {},
        (page) => listReservations(page, options),
        (page) => page.reservations
      ),
    balances,
    streamBalances: (query: BalanceQuery) => pages("balances", query, balances, (page) => page.balances),
    getEvidence: (id: EvidenceId) => send(Wire.getEvidence(id)),
    getJwks: send(Wire.getJwks)
  } as const
}

const keyOf = (options: KeyOptions | undefined): "apiKey" | "adminKey" =>
  options?.as === "admin" ? "adminKey" : "apiKey"
