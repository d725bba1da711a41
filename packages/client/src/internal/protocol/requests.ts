/**
 * The JSON texts of requests: checked against every limit of the protocol, then written once. What is journaled is the
 * text that is sent.
 */
import type { IdempotencyKey, ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as InvalidInput from "@effect-cycles/protocol/InvalidInput"
import * as Json from "@effect-cycles/protocol/Json"
import * as Limits from "@effect-cycles/protocol/Limits"
import * as Operations from "@effect-cycles/protocol/Operations"
import * as Reservation from "@effect-cycles/protocol/Reservation"
import * as Brand from "effect/Brand"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Operation } from "../../CyclesError.ts"
import { InvalidRequest } from "../../CyclesError.ts"
import type { Metadata } from "../../GuardOptions.ts"
import * as Keys from "../reservation/keys.ts"
import type { Prepared } from "../reservation/options.ts"
import type { Commit } from "../settlement/settle.ts"

// ---------------------------------------------------------------------------------------------------------------------
// requests of the user
// ---------------------------------------------------------------------------------------------------------------------

/** The body of a decide. */
export const decisionRequest = (request: unknown): Effect.Effect<string, InvalidRequest> =>
  body("decide", Operations.decide.encode, request)

/** The body of a reserve. */
export const createRequest = (request: unknown): Effect.Effect<string, InvalidRequest> =>
  body("reserve", Operations.reserve.encode, request)

/** The body of a commit. */
export const commitRequest = (request: unknown): Effect.Effect<string, InvalidRequest> =>
  body("commit", Operations.commit.encode, request)

/** The body of a release. */
export const releaseRequest = (request: unknown): Effect.Effect<string, InvalidRequest> =>
  body("release", Operations.release.encode, request)

/** The body of an extend. */
export const extendRequest = (request: unknown): Effect.Effect<string, InvalidRequest> =>
  body("extend", Operations.extend.encode, request)

/** The body of an event. */
export const eventRequest = (request: unknown): Effect.Effect<string, InvalidRequest> =>
  body("event", Operations.event.encode, request)

/** The query of a list, with its question mark. */
export const reservationQuery = (request: unknown): Effect.Effect<string, InvalidRequest> =>
  Effect.map(checked("listReservations", Operations.listReservations.encode, request), queryText)

/** The query of the balances, with its question mark. */
export const balanceQuery = (request: unknown): Effect.Effect<string, InvalidRequest> =>
  Effect.map(checked("balances", Operations.balances.encode, request), queryText)

// ---------------------------------------------------------------------------------------------------------------------
// requests of the client
// ---------------------------------------------------------------------------------------------------------------------

/** The body of the extend that a heartbeat sends. */
export const extendBody = (key: string, extendByMs: number): string =>
  `{"idempotency_key":${JSON.stringify(key)},"extend_by_ms":${extendByMs}}`

/** The body of the release that follows from a reservation. */
export const releaseBody = (stem: string, reason: string): string =>
  `{"idempotency_key":${JSON.stringify(Keys.derived("release", stem))},"reason":${JSON.stringify(reason)}}`

/**
 * The bodies that settle a reservation: the commit, and the event that takes over when the lease has ended. Both have the
 * same key. What can't be sent besides the amount is left out: the amount counts.
 */
export const settlementBodies = (
  prepared: Prepared,
  id: ReservationId,
  commit: Commit,
  latencyMs: number
): { readonly commit: string; readonly event: () => string } => {
  const idempotencyKey = Keys.derived("commit", prepared.stem)
  const marker: Metadata | undefined = commit.isEstimated ? { actual_source: "estimate" } : undefined
  const latency = Math.min(Limits.maxMetric, Math.max(0, Math.floor(latencyMs)))
  const full = {
    idempotencyKey,
    actual: commit.actual,
    metrics: { latencyMs: latency, ...commit.metrics },
    metadata: commit.metadata === undefined ? marker : { ...commit.metadata, ...marker }
  }
  const encoded = Result.getOrElse(Operations.commit.encode(full), () =>
    Result.getOrThrow(
      Operations.commit.encode({
        idempotencyKey,
        actual: commit.actual,
        metrics: { latencyMs: latency },
        metadata: marker
      })
    )
  )
  const { action, subject } = prepared.request
  return {
    commit: Json.stringify(encoded),
    event: () =>
      Json.stringify({
        ...encoded,
        subject,
        action,
        metadata: {
          ...encoded.metadata,
          recovered_reservation_id: id,
          recovery_reason: "commit_after_reservation_expired"
        }
      })
  }
}

/** What is wrong with what a commit tells besides its amount, if anything is. */
export const problemOfCommit = (prepared: Prepared, commit: Commit): InvalidRequest | undefined => {
  if (commit.metrics === undefined && commit.metadata === undefined) return undefined
  const request = {
    idempotencyKey: prepared.key,
    actual: commit.actual,
    metrics: commit.metrics,
    metadata: commit.metadata
  }
  return Option.getOrUndefined(Result.getFailure(written("commit", Operations.commit.encode, request)))
}

/** A reserve that is not checked yet. */
export type Draft = Omit<Reservation.ReservationCreateRequest, "idempotencyKey"> & { readonly idempotencyKey: string }

/** A reserve, checked, and its text. */
export const createDraft = (
  draft: Draft
): Result.Result<{ readonly request: Reservation.ReservationCreateRequest; readonly body: string }, InvalidRequest> =>
  Result.map(written("reserve", Operations.reserve.encode, draft), (encoded) => ({
    request: { ...draft, idempotencyKey: checkedKey(draft.idempotencyKey) },
    body: Json.stringify(encoded)
  }))

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** The key of a request that has been checked. */
const checkedKey = Brand.nominal<IdempotencyKey>()

type Encode<A> = (input: unknown) => Result.Result<A, Schema.SchemaError>

const invalid = (operation: Operation, error: Schema.SchemaError, input: unknown): InvalidRequest =>
  new InvalidRequest({ operation, fields: InvalidInput.fromIssue(error.issue, input) })

const written = <A>(operation: Operation, encode: Encode<A>, input: unknown): Result.Result<A, InvalidRequest> =>
  Result.mapError(encode(input), (error) => invalid(operation, error, input))

const checked = <A>(operation: Operation, encode: Encode<A>, input: unknown): Effect.Effect<A, InvalidRequest> =>
  Effect.suspend(() => Effect.fromResult(written(operation, encode, input)))

const body = <A>(operation: Operation, encode: Encode<A>, input: unknown): Effect.Effect<string, InvalidRequest> =>
  Effect.map(checked(operation, encode, input), Json.stringify)

const queryText = (fields: object): string => {
  const params = new URLSearchParams()
  for (const [name, value] of Object.entries(fields)) {
    if (Array.isArray(value)) params.set(name, value.join(","))
    else if (value !== undefined) params.set(name, String(value))
  }
  const text = params.toString()
  return text === "" ? "" : `?${text}`
}
