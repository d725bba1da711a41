/**
 * The runtime plane: its paths, and which command or question each of them is.
 *
 * Source: the paths of the protocol.
 */
import { DecisionRequest } from "@effect-cycles/protocol/Decision"
import { EventCreateRequest } from "@effect-cycles/protocol/Event"
import * as Limits from "@effect-cycles/protocol/Limits"
import {
  CommitRequest,
  ExtendRequest,
  ReleaseRequest,
  ReservationCreateRequest
} from "@effect-cycles/protocol/Reservation"
import * as Subject from "@effect-cycles/protocol/Subject"
import type { KeyCaller } from "./access.ts"
import { authenticated, either, reservationWithinFilter, tenant, visible, withinFilter } from "./access.ts"
import type { Answer } from "./answer.ts"
import type { Call } from "./call.ts"
import { bodyOf, options, queryOf, sameKey, unlimited, wrongMethod } from "./call.ts"
import type { Caller, Context } from "./context.ts"
import * as Ledger from "./ledger.ts"
import * as Read from "./read.ts"
import * as Reads from "./reads.ts"
import { invalid, notFound, Refusal } from "./refusal.ts"

// ---------------------------------------------------------------------------------------------------------------------
// the plane
// ---------------------------------------------------------------------------------------------------------------------

/** Answers a request of the runtime plane. */
export const answer = (call: Call): Answer => {
  const [version, resource, id, action, ...rest] = call.parts
  if (version !== "v1") return unknownPath(call)
  if (resource === "evidence" && action === undefined) return evidence(call, id ?? "")
  if (resource === ".well-known" && id === "cycles-jwks.json" && action === undefined) {
    unlimited(call)
    throw notFound("no signer is configured")
  }
  if (call.request.method === "OPTIONS") return options(call, allowedFor(call))
  const method = call.request.method === "HEAD" ? "GET" : call.request.method
  const isShort = id === undefined
  const isOne = id !== undefined && id !== "" && action === undefined
  switch (`${method} ${resource ?? ""}`) {
    case "POST decide":
      if (isShort) return guarded(call, "reservations:create", readDecide, Ledger.decide)
      break
    case "POST reservations":
      if (isShort) return guarded(call, "reservations:create", readReserve, Ledger.reserve)
      if (rest.length === 0 && id !== "") return settlement(call, id, action ?? "")
      break
    case "GET reservations": {
      if (isShort) {
        const caller = either(call, "reservations:list")
        return Reads.list(call.context, caller, queryOf(call), visible(caller))
      }
      if (!isOne) break
      const caller = either(call, "reservations:list")
      const name = checkedId(id)
      const answer = Reads.get(call.context, caller, name)
      reservationWithinFilter(call, caller, name)
      return answer
    }
    case "GET balances":
      if (isShort) {
        const caller = tenant(call, "balances:read")
        return Reads.balances(call.context, caller, queryOf(call), visible(caller))
      }
      break
    case "POST events":
      if (isShort) return guarded(call, "reservations:commit", readEvent, Ledger.event)
      break
  }
  return unknownPath(call)
}

// ---------------------------------------------------------------------------------------------------------------------
// commands
// ---------------------------------------------------------------------------------------------------------------------

/** A command on the caller's own subject. */
const guarded = <
  A extends { readonly subject: Subject.Subject; readonly idempotencyKey: string; readonly metadata?: unknown }
>(
  call: Call,
  permission: string,
  read: (raw: object) => A,
  command: (context: Context, caller: Caller, request: Read.OpenMetadata<A>, body: string) => Answer
): Answer => {
  const caller = tenant(call, permission)
  const request = requestOf(call, read)
  withinFilter(caller, Subject.scopes(request.subject))
  return command(call.context, caller, request, call.request.body)
}

/** A command on a reservation. */
const settlement = (call: Call, id: string, action: string): Answer => {
  const command = <
    A extends { readonly idempotencyKey: string; readonly metadata?: unknown },
    C extends KeyCaller | "admin"
  >(
    caller: C,
    read: (raw: object) => A,
    run: (context: Context, caller: C, id: string, request: Read.OpenMetadata<A>, body: string) => Answer
  ): Answer => {
    const name = checkedId(id)
    const request = requestOf(call, read)
    reservationWithinFilter(call, caller, name)
    return run(call.context, caller, name, request, call.request.body)
  }
  switch (action) {
    case "commit":
      return command(tenant(call, "reservations:commit"), readCommit, Ledger.commit)
    case "release":
      return command(either(call, "reservations:release"), readRelease, Ledger.release)
    case "extend":
      return command(tenant(call, "reservations:extend"), readExtend, Ledger.extend)
    default:
      return unknownPath(call)
  }
}

const evidence = (call: Call, id: string): Answer => {
  if (call.request.method !== "GET" && call.request.method !== "HEAD") throw wrongMethod(call, ["GET"])
  unlimited(call)
  throw /^[0-9a-f]{64}$/.test(id) ? notFound(id) : invalid("evidence_id must be 64 hexadecimal digits")
}

// ---------------------------------------------------------------------------------------------------------------------
// requests
// ---------------------------------------------------------------------------------------------------------------------

const readReserve = Read.request(ReservationCreateRequest)
const readDecide = Read.request(DecisionRequest)
const readEvent = Read.request(EventCreateRequest)
const readCommit = Read.request(CommitRequest)
const readRelease = Read.request(ReleaseRequest)
const readExtend = Read.request(ExtendRequest)

/** The request in a body. */
const requestOf = <A extends { readonly idempotencyKey: string; readonly metadata?: unknown }>(
  call: Call,
  read: (raw: object) => A
): Read.OpenMetadata<A> => {
  const given = bodyOf(call)
  // A release is the one request without any.
  if (read === readRelease && Object.hasOwn(given, "metadata")) {
    throw invalid("Validation failed: metadata must be no excess property")
  }
  const request = Read.withMetadata(read, given)
  sameKey(call, request.idempotencyKey)
  return request
}

/** A name in a path. */
const checkedId = (text: string): string => {
  const id = decodeURIComponent(text)
  if (id.length > Limits.maxReservationId) {
    throw invalid(`reservation_id must have at most ${Limits.maxReservationId} characters`)
  }
  return id
}

// ---------------------------------------------------------------------------------------------------------------------
// paths that are none
// ---------------------------------------------------------------------------------------------------------------------

const methods: ReadonlyMap<string, ReadonlyArray<string>> = new Map([
  ["decide", ["POST"]],
  ["reservations", ["POST", "GET"]],
  ["balances", ["GET"]],
  ["events", ["POST"]]
])

const allowedOf = (call: Call): ReadonlyArray<string> | undefined => {
  const [version, resource = "", id, action, ...rest] = call.parts
  if (version !== "v1" || rest.length > 0) return undefined
  if (id === undefined) return methods.get(resource)
  if (resource !== "reservations" || id === "") return undefined
  if (action === undefined) return ["GET"]
  return ["commit", "release", "extend"].includes(action) ? ["POST"] : undefined
}

/** The methods of a path. Without a key nothing is told about paths. */
const allowedFor = (call: Call): ReadonlyArray<string> => {
  authenticated(call)
  const allowed = allowedOf(call)
  if (allowed === undefined) throw new Refusal(404, "NOT_FOUND", `There is no ${call.path}`)
  return allowed
}

const unknownPath = (call: Call): never => {
  throw wrongMethod(call, allowedFor(call))
}
