/**
 * The runtime plane: the command or query behind each operation of the protocol. Paths, methods and keys come from the table
 * of operations.
 *
 * @see `Operations` of `@effect-cycles/protocol`
 */
import * as Limits from "@effect-cycles/protocol/Limits"
import * as Operations from "@effect-cycles/protocol/Operations"
import * as Subject from "@effect-cycles/protocol/Subject"
import type * as Schema from "effect/Schema"
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
// answer
// ---------------------------------------------------------------------------------------------------------------------

/** Answers a request of the runtime plane. */
export const answer = (call: Call): Answer => {
  const { method } = call.request
  const found = routes.flatMap((route) => {
    const id = matched(route.segments, call.parts)
    return id === undefined ? [] : [{ ...route, id }]
  })
  const [first] = found
  // A public operation is answered without a key, whatever the method.
  if (first?.auth === "none") return first.handle(call, first.id)
  if (method === "OPTIONS") return options(call, allowedFor(call, found))
  const route = found.find((route) => route.method === (method === "HEAD" ? "GET" : method))
  if (route === undefined) throw wrongMethod(call, allowedFor(call, found))
  return route.handle(call, route.id)
}

/** The parameter of a path that a template matches, `""` if it has none. */
const matched = (segments: ReadonlyArray<string>, parts: ReadonlyArray<string>): string | undefined => {
  if (segments.length !== parts.length) return undefined
  let id = ""
  for (const [i, segment] of segments.entries()) {
    const part = parts[i]
    if (segment.startsWith(":")) {
      if (part === undefined || part === "") return undefined
      id = part
    } else if (segment !== part) return undefined
  }
  return id
}

/** The methods of a path. A request without a key isn't told which paths exist. */
const allowedFor = (call: Call, found: ReadonlyArray<{ readonly method: string }>): ReadonlyArray<string> => {
  authenticated(call)
  if (found.length === 0) throw new Refusal(404, "NOT_FOUND", `There is no ${call.path}`)
  return found.map(({ method }) => method)
}

// ---------------------------------------------------------------------------------------------------------------------
// kinds of operations
// ---------------------------------------------------------------------------------------------------------------------

/** Answers a request; `id` is the parameter of its path. */
type Handle = (call: Call, id: string) => Answer

interface Keyed {
  readonly idempotencyKey: string
  readonly metadata?: unknown
}

/** The caller of an operation, if its key may do this. */
function callerOf(operation: { readonly auth: "apiKey" }, permission: string): (call: Call) => KeyCaller
function callerOf(
  operation: { readonly auth: "apiKeyOrAdminKey" },
  permission: string
): (call: Call) => KeyCaller | "admin"
function callerOf({ auth }: { readonly auth: string }, permission: string): (call: Call) => KeyCaller | "admin" {
  return auth === "apiKey" ? (call) => tenant(call, permission) : (call) => either(call, permission)
}

/** Reads the request in a body. */
const requestsOf = <A extends Keyed, I>(schema: Schema.Codec<A, I>): ((call: Call) => Read.OpenMetadata<A>) => {
  const read = Read.request(schema)
  const hasMetadata = Read.hasField(schema, "metadata")
  return (call) => {
    const given = bodyOf(call)
    if (!hasMetadata && Object.hasOwn(given, "metadata")) {
      throw invalid("Validation failed: metadata must be no excess property")
    }
    const request = Read.withMetadata(read, given)
    sameKey(call, request.idempotencyKey)
    return request
  }
}

/** A command on the caller's own subject. */
const onSubject = <A extends Keyed & { readonly subject: Subject.Subject }, I>(
  operation: { readonly auth: "apiKey"; readonly request: Schema.Codec<A, I> },
  permission: string,
  run: (context: Context, caller: Caller, request: Read.OpenMetadata<A>, body: string) => Answer
): Handle => {
  const caller = callerOf(operation, permission)
  const requestOf = requestsOf(operation.request)
  return (call) => {
    const who = caller(call)
    const request = requestOf(call)
    withinFilter(who, Subject.scopes(request.subject))
    return run(call.context, who, request, call.request.body)
  }
}

/** A command on a reservation. */
const onReservation = <A extends Keyed, I, C extends KeyCaller | "admin">(
  schema: Schema.Codec<A, I>,
  caller: (call: Call) => C,
  run: (context: Context, caller: C, id: string, request: Read.OpenMetadata<A>, body: string) => Answer
): Handle => {
  const requestOf = requestsOf(schema)
  return (call, id) => {
    const who = caller(call)
    const name = checkedId(id)
    const request = requestOf(call)
    reservationWithinFilter(call, who, name)
    return run(call.context, who, name, request, call.request.body)
  }
}

/** The name of a reservation in a path. */
const checkedId = (text: string): string => {
  const id = decodeURIComponent(text)
  if (id.length > Limits.maxReservationId) {
    throw invalid(`reservation_id must have at most ${Limits.maxReservationId} characters`)
  }
  return id
}

// ---------------------------------------------------------------------------------------------------------------------
// operations
// ---------------------------------------------------------------------------------------------------------------------

const { balances, commit, decide, event, extend, getReservation, listReservations, release, reserve } = Operations

const lister = callerOf(listReservations, "reservations:list")
const reader = callerOf(getReservation, "reservations:list")
const balanceReader = callerOf(balances, "balances:read")

const handlers: { readonly [Name in Operations.Name]: Handle } = {
  reserve: onSubject(reserve, "reservations:create", Ledger.reserve),
  decide: onSubject(decide, "reservations:create", Ledger.decide),
  event: onSubject(event, "reservations:commit", Ledger.event),
  commit: onReservation(commit.request, callerOf(commit, "reservations:commit"), Ledger.commit),
  release: onReservation(release.request, callerOf(release, "reservations:release"), Ledger.release),
  extend: onReservation(extend.request, callerOf(extend, "reservations:extend"), Ledger.extend),
  getReservation: (call, id) => {
    const caller = reader(call)
    const name = checkedId(id)
    const answer = Reads.get(call.context, caller, name)
    reservationWithinFilter(call, caller, name)
    return answer
  },
  listReservations: (call) => {
    const caller = lister(call)
    return Reads.list(call.context, caller, queryOf(call), visible(caller))
  },
  balances: (call) => {
    const caller = balanceReader(call)
    return Reads.balances(call.context, caller, queryOf(call), visible(caller))
  },
  getEvidence: (call, id) => {
    if (call.request.method !== "GET" && call.request.method !== "HEAD") throw wrongMethod(call, ["GET"])
    unlimited(call)
    throw /^[0-9a-f]{64}$/.test(id) ? notFound(id) : invalid("evidence_id must be 64 hexadecimal digits")
  },
  getJwks: (call) => {
    unlimited(call)
    throw notFound("no signer is configured")
  }
}

const routes = Object.values(Operations.all).map(({ auth, method, name, path }) => ({
  auth,
  method,
  segments: path.split("/").slice(1),
  handle: handlers[name]
}))
