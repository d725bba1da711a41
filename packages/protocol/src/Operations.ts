/**
 * The table of operations of the runtime API: for each operation its path, its authentication and its messages, and functions
 * that encode requests and parse responses. The client, the embedded server, `CyclesApi` and its documentation use this table.
 *
 * @example
 * ```ts
 * import { Operations } from "@effect-cycles/protocol"
 *
 * console.log(String(Operations.commit.pathOf("r-1"))) // success("/v1/reservations/r-1/commit")
 * ```
 *
 * @see the paths of the Cycles protocol
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import * as Balance from "./Balance.ts"
import * as Decision from "./Decision.ts"
import * as Event from "./Event.ts"
import * as Evidence from "./Evidence.ts"
import { EvidenceId, ReservationId } from "./Identifiers.ts"
import { camelCase, snakeCase } from "./internal/fieldNames.ts"
import * as Wire from "./internal/schema.ts"
import * as InvalidInput from "./InvalidInput.ts"
import * as Reservation from "./Reservation.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Returns the name of a field on the wire: `idempotencyKey` is `idempotency_key`.
 *
 * @category naming
 * @since 0.1.0
 */
export const wireName: (field: string) => string = snakeCase

/**
 * The authentication of an operation: a tenant's API key, either that or the administrator's key, or none.
 *
 * @category models
 * @since 0.1.0
 */
export type Auth = "apiKey" | "apiKeyOrAdminKey" | "none"

/**
 * A path template. A parameter is written as in `/v1/reservations/:reservation_id`.
 *
 * @category models
 * @since 0.1.0
 */
export type Path = `/v1/${string}`

/**
 * The schema of a message: camelCase fields in the program, snake_case JSON with bigints on the wire.
 *
 * @category models
 * @since 0.1.0
 */
export type Message = Schema.Codec<object, object>

/**
 * The schemas of the parameters of a path, by their names on the wire.
 *
 * @category models
 * @since 0.1.0
 */
export type Params = { readonly [name: string]: Schema.Codec<string, string> }

/**
 * One row of the table: the description of an operation.
 *
 * @category models
 * @since 0.1.0
 */
export interface Row {
  /** The name of the operation in this table. */
  readonly name: string
  /** The path template. */
  readonly path: Path
  /** The authentication that the operation requires. */
  readonly auth: Auth
  /** The schemas of the path's parameters. */
  readonly params: Params
  /** The status of a success. Any other 2xx is not a success of this operation. */
  readonly status: 200 | 201
  /** The error statuses that the protocol declares for the operation. */
  readonly refusals: ReadonlyArray<number>
  /** The schema of the response. */
  readonly response: Message
  /** Optional fields of the response, by their names on the wire, that count as absent if they are invalid. */
  readonly lenient: ReadonlyArray<string>
  /** One sentence that describes the operation. */
  readonly documentation: string
}

/**
 * The description of an operation with a request body.
 *
 * @category models
 * @since 0.1.0
 */
export interface CommandRow extends Row {
  /** The schema of the request body. */
  readonly request: Message
}

/**
 * The description of an operation with a query.
 *
 * @category models
 * @since 0.1.0
 */
export interface SearchRow extends Row {
  /** The schema of the query. */
  readonly query: Message
}

/**
 * The functions that are derived from a row.
 *
 * @category models
 * @since 0.1.0
 */
export interface Derived<Response extends Message = Message> {
  /**
   * Returns the path, with its parameter percent-encoded.
   *
   * The failure describes the parameter: it exceeds a limit of the protocol, or can't be part of a path (a lone surrogate, `.`
   * or `..`).
   */
  readonly pathOf: (id?: string) => Result.Result<string, InvalidInput.InvalidField>
  /** Parses the JSON text of a success. The failure is a message that describes the problem. */
  readonly read: (text: string) => Result.Result<Response["Type"], string>
}

/**
 * Validates a request or a query and renames its fields. The failure lists all invalid fields. It never throws.
 *
 * @category models
 * @since 0.1.0
 */
export type Encode<Request extends Message = Message> = (
  input: unknown
) => Result.Result<Request["Encoded"], Schema.SchemaError>

/**
 * An operation: its row and the functions derived from it.
 *
 * @category models
 * @since 0.1.0
 */
export type Operation<R extends Row = Row> = R & {
  /** The HTTP method. */
  readonly method: "GET" | "POST"
} & Derived<R["response"]>

/**
 * An operation with a request body. `Json.stringify` writes the result of `encode`.
 *
 * @category models
 * @since 0.1.0
 */
export type Command<R extends CommandRow = CommandRow> = Operation<R> & {
  /** The HTTP method. */
  readonly method: "POST"
  /** Encodes a request. */
  readonly encode: Encode<R["request"]>
}

/**
 * An operation with a query.
 *
 * @category models
 * @since 0.1.0
 */
export type Search<R extends SearchRow = SearchRow> = Operation<R> & {
  /** The HTTP method. */
  readonly method: "GET"
  /** Encodes a query. */
  readonly encode: Encode<R["query"]>
}

/**
 * An operation with neither body nor query.
 *
 * @category models
 * @since 0.1.0
 */
export type Lookup<R extends Row = Row> = Operation<R> & { readonly method: "GET" }

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

const command = <const R extends CommandRow>(row: R): Command<R> => ({
  ...withDerived(row),
  method: "POST",
  encode: Wire.writer<R["request"]["Type"], R["request"]["Encoded"]>(row.request)
})

const search = <const R extends SearchRow>(row: R): Search<R> => ({
  ...withDerived(row),
  method: "GET",
  encode: Wire.writer<R["query"]["Type"], R["query"]["Encoded"]>(row.query)
})

const lookup = <const R extends Row>(row: R): Lookup<R> => ({ ...withDerived(row), method: "GET" })

const withDerived = <const R extends Row>(row: R): R & Derived<R["response"]> => ({
  ...row,
  pathOf: pathsOf(row),
  read: Wire.reader<R["response"]["Type"], R["response"]["Encoded"]>(row.response, row.lenient)
})

const pathsOf = ({ params, path }: Row): Derived["pathOf"] => {
  const [name, schema] = Object.entries(params)[0] ?? []
  if (name === undefined || schema === undefined) {
    const fixed = Result.succeed<string>(path)
    return () => fixed
  }
  const [before, after] = path.split(`:${name}`)
  const field = camelCase(name)
  const check = Schema.decodeUnknownResult(schema)
  const invalid = (expected: string, id: unknown) => Result.fail({ field, expected, actual: JSON.stringify(id) })
  return (id) => {
    const checked = check(id)
    if (Result.isFailure(checked)) {
      const [problem] = InvalidInput.fromIssue(checked.failure.issue, id)
      return problem === undefined ? invalid("valid", id) : Result.fail({ ...problem, field })
    }
    const text = checked.success
    if (!text.isWellFormed()) return invalid("well-formed text, without a lone surrogate", id)
    if (text === "." || text === "..") return invalid('neither "." nor ".."', id)
    return Result.succeed(`${before}${encodeURIComponent(text)}${after}`)
  }
}

const reservationParams = { reservation_id: ReservationId }

const evidence = ["cycles_evidence"]

// ---------------------------------------------------------------------------------------------------------------------
// reservations
// ---------------------------------------------------------------------------------------------------------------------

/**
 * `POST /v1/reservations`: reserves an estimate on every scope of a subject.
 *
 * @category operations
 * @since 0.1.0
 */
export const reserve = command({
  name: "reserve",
  path: "/v1/reservations",
  auth: "apiKey",
  params: {},
  status: 200,
  refusals: [400, 401, 403, 404, 409, 429, 500],
  request: Reservation.ReservationCreateRequest,
  response: Reservation.ReservationCreateResponse,
  lenient: evidence,
  documentation: "Reserves an estimate on every scope of a subject, before the work that may cost it."
})

/**
 * `POST /v1/reservations/{reservation_id}/commit`: charges the actual amount of a reservation and returns the rest.
 *
 * @category operations
 * @since 0.1.0
 */
export const commit = command({
  name: "commit",
  path: "/v1/reservations/:reservation_id/commit",
  auth: "apiKey",
  params: reservationParams,
  status: 200,
  refusals: [400, 401, 403, 404, 409, 410, 429, 500],
  request: Reservation.CommitRequest,
  response: Reservation.CommitResponse,
  lenient: evidence,
  documentation: "Commits the actual amount of a reservation and returns the rest to its budgets."
})

/**
 * `POST /v1/reservations/{reservation_id}/release`: returns the whole reserved amount.
 *
 * @category operations
 * @since 0.1.0
 */
export const release = command({
  name: "release",
  path: "/v1/reservations/:reservation_id/release",
  auth: "apiKeyOrAdminKey",
  params: reservationParams,
  status: 200,
  refusals: [400, 401, 403, 404, 409, 410, 429, 500],
  request: Reservation.ReleaseRequest,
  response: Reservation.ReleaseResponse,
  lenient: evidence,
  documentation: "Returns the whole reserved amount to its budgets."
})

/**
 * `POST /v1/reservations/{reservation_id}/extend`: extends the lease of a reservation.
 *
 * @category operations
 * @since 0.1.0
 */
export const extend = command({
  name: "extend",
  path: "/v1/reservations/:reservation_id/extend",
  auth: "apiKey",
  params: reservationParams,
  status: 200,
  refusals: [400, 401, 403, 404, 409, 410, 429, 500],
  request: Reservation.ExtendRequest,
  response: Reservation.ExtendResponse,
  lenient: [],
  documentation: "Moves the end of a reservation's lease."
})

/**
 * `GET /v1/reservations/{reservation_id}`: returns a reservation.
 *
 * @category operations
 * @since 0.1.0
 */
export const getReservation = lookup({
  name: "getReservation",
  path: "/v1/reservations/:reservation_id",
  auth: "apiKeyOrAdminKey",
  params: reservationParams,
  status: 200,
  refusals: [400, 401, 403, 404, 410, 429, 500],
  response: Reservation.ReservationDetail,
  lenient: ["evidence"],
  documentation: "Returns a reservation."
})

/**
 * `GET /v1/reservations`: returns a page of reservations.
 *
 * @category operations
 * @since 0.1.0
 */
export const listReservations = search({
  name: "listReservations",
  path: "/v1/reservations",
  auth: "apiKeyOrAdminKey",
  params: {},
  status: 200,
  refusals: [400, 401, 403, 429, 500],
  query: Reservation.ReservationListQuery,
  response: Reservation.ReservationListResponse,
  lenient: [],
  documentation: "Returns a page of reservations."
})

// ---------------------------------------------------------------------------------------------------------------------
// decisions, events, balances, evidence
// ---------------------------------------------------------------------------------------------------------------------

/**
 * `POST /v1/decide`: returns the decision that a reserve would get, without reserving anything.
 *
 * @category operations
 * @since 0.1.0
 */
export const decide = command({
  name: "decide",
  path: "/v1/decide",
  auth: "apiKey",
  params: {},
  status: 200,
  refusals: [400, 401, 403, 409, 429, 500],
  request: Decision.DecisionRequest,
  response: Decision.DecisionResponse,
  lenient: evidence,
  documentation: "Returns the decision that a reserve would get, without reserving anything."
})

/**
 * `POST /v1/events`: charges spend that wasn't reserved.
 *
 * @category operations
 * @since 0.1.0
 */
export const event = command({
  name: "event",
  path: "/v1/events",
  auth: "apiKey",
  params: {},
  status: 201,
  refusals: [400, 401, 403, 404, 409, 429, 500],
  request: Event.EventCreateRequest,
  response: Event.EventCreateResponse,
  lenient: evidence,
  documentation: "Charges spend that was never reserved."
})

/**
 * `GET /v1/balances`: returns a page of balances.
 *
 * @category operations
 * @since 0.1.0
 */
export const balances = search({
  name: "balances",
  path: "/v1/balances",
  auth: "apiKey",
  params: {},
  status: 200,
  refusals: [400, 401, 403, 429, 500],
  query: Balance.BalanceQuery,
  response: Balance.BalanceResponse,
  lenient: [],
  documentation: "Returns a page of balances."
})

/**
 * `GET /v1/evidence/{evidence_id}`: returns a signed envelope of evidence. It needs no key.
 *
 * @category operations
 * @since 0.1.0
 */
export const getEvidence = lookup({
  name: "getEvidence",
  path: "/v1/evidence/:evidence_id",
  auth: "none",
  params: { evidence_id: EvidenceId },
  status: 200,
  refusals: [400, 404, 429, 500],
  response: Evidence.EvidenceEnvelope,
  lenient: [],
  documentation: "Returns a signed envelope of evidence."
})

/**
 * `GET /v1/.well-known/cycles-jwks.json`: returns the public keys that verify evidence. It needs no key.
 *
 * @category operations
 * @since 0.1.0
 */
export const getJwks = lookup({
  name: "getJwks",
  path: "/v1/.well-known/cycles-jwks.json",
  auth: "none",
  params: {},
  status: 200,
  refusals: [404, 429, 500],
  response: Evidence.EvidenceJwks,
  lenient: [],
  documentation: "Returns the public keys that evidence is signed with."
})

// ---------------------------------------------------------------------------------------------------------------------
// the table
// ---------------------------------------------------------------------------------------------------------------------

/**
 * All operations, by name.
 *
 * @category operations
 * @since 0.1.0
 */
export const all = {
  reserve,
  commit,
  release,
  extend,
  decide,
  event,
  getReservation,
  listReservations,
  balances,
  getEvidence,
  getJwks
} as const

/**
 * The name of an operation, as it appears in errors, spans and metrics.
 *
 * @category models
 * @since 0.1.0
 */
export type Name = keyof typeof all

/**
 * The names of all operations.
 *
 * @category operations
 * @since 0.1.0
 */
export const names: ReadonlyArray<Name> = Struct.keys(all)
