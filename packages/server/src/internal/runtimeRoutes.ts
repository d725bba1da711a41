/**
 * The runtime plane: the command or query behind each operation of the protocol.
 *
 * Paths, methods and authentication come from the table of operations.
 *
 * @see `Operations` of `@effect-cycles/protocol`
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount } from "@effect-cycles/protocol/Amount"
import * as Limits from "@effect-cycles/protocol/Limits"
import * as Operations from "@effect-cycles/protocol/Operations"
import * as Subject from "@effect-cycles/protocol/Subject"
import type * as Schema from "effect/Schema"
import type { KeyCaller } from "./access.ts"
import {
  authenticate,
  authorizeTenantOrAdmin,
  checkReservationScopeFilter,
  authorizeTenant,
  visibilityOf,
  checkScopeFilter
} from "./access.ts"
import type { JsonResponse } from "./response.ts"
import type { Call } from "./call.ts"
import { bodyOf, optionsResponse, queryOf, checkKeyHeader, setUnlimited, methodNotAllowed, noSuchPath } from "./call.ts"
import type { Caller, Context } from "./context.ts"
import * as Ledger from "./ledger.ts"
import * as Parse from "./parse.ts"
import * as Queries from "./queries.ts"
import { ErrorResponse, invalidRequest, notFound } from "./errorResponse.ts"

// ---------------------------------------------------------------------------------------------------------------------
// respond
// ---------------------------------------------------------------------------------------------------------------------

/** Handles a request of the runtime plane. */
export const respond = (call: Call): JsonResponse => {
  const { method } = call.request
  const matching = routes.filter(({ segments }) => matchesPath(segments, call.segments))
  const [first] = matching
  // Public operations need no key, not even for a wrong method.
  if (first?.auth === "none") return first.handle(call, parameterOf(first, call))
  if (method === "OPTIONS") return optionsResponse(call, allowedMethods(call, matching))
  const route = matching.find((route) => route.method === (method === "HEAD" ? "GET" : method))
  if (route === undefined) throw methodNotAllowed(call, allowedMethods(call, matching))
  return route.handle(call, parameterOf(route, call))
}

/** Whether a path matches a template. A parameter matches any segment that isn't empty. */
const matchesPath = (template: ReadonlyArray<string>, segments: ReadonlyArray<string>): boolean =>
  template.length === segments.length &&
  template.every((part, i) => (part.startsWith(":") ? segments[i] !== "" : segments[i] === part))

/** The parameter of the path of a route, or `""` if it has none. */
const parameterOf = ({ parameterIndex }: Route, { segments }: Call): string => segments[parameterIndex] ?? ""

/** Returns the methods of a path. Authenticates first, so that callers without a valid key can't find out which paths exist. */
const allowedMethods = (call: Call, found: ReadonlyArray<{ readonly method: string }>): ReadonlyArray<string> => {
  authenticate(call)
  if (found.length === 0) throw noSuchPath(call)
  return found.map(({ method }) => method)
}

// ---------------------------------------------------------------------------------------------------------------------
// handlers
// ---------------------------------------------------------------------------------------------------------------------

/** Handles a request. `id` is the parameter of its path. */
type Handle = (call: Call, id: string) => JsonResponse

interface KeyedRequest {
  readonly idempotencyKey: string
  readonly metadata?: unknown
}

type SubjectRequest = KeyedRequest & {
  readonly subject: Subject.Subject
  readonly action: Action
}

/** Creates the function that authenticates and authorizes the caller of an operation. */
function callerOf(operation: { readonly auth: "apiKey" }, permission: string): (call: Call) => KeyCaller
function callerOf(
  operation: { readonly auth: "apiKeyOrAdminKey" },
  permission: string
): (call: Call) => KeyCaller | "admin"
function callerOf({ auth }: { readonly auth: string }, permission: string): (call: Call) => KeyCaller | "admin" {
  return auth === "apiKey"
    ? (call) => authorizeTenant(call, permission)
    : (call) => authorizeTenantOrAdmin(call, permission)
}

/** Creates the parser of the body of an operation. */
const requestParser = <A extends KeyedRequest, I>(
  schema: Schema.Codec<A, I>
): ((call: Call) => Parse.OpenMetadata<A>) => {
  const parse = Parse.request(schema)
  const hasMetadata = Parse.hasField(schema, "metadata")
  return (call) => {
    const raw = bodyOf(call)
    if (!hasMetadata && Object.hasOwn(raw, "metadata")) {
      throw invalidRequest("Validation failed: there is no field metadata")
    }
    const request = Parse.withMetadata(parse, raw)
    checkKeyHeader(call, request.idempotencyKey)
    return request
  }
}

/** The handler of a command whose body has a subject. */
const onSubject = <A extends SubjectRequest, I>(
  operation: { readonly auth: "apiKey"; readonly request: Schema.Codec<A, I> },
  permission: string,
  amountOf: (request: Parse.OpenMetadata<A>) => Amount,
  run: (context: Context, caller: Caller, request: Parse.OpenMetadata<A>, body: string) => JsonResponse
): Handle => {
  const caller = callerOf(operation, permission)
  const parse = requestParser(operation.request)
  return (call) => {
    const who = caller(call)
    const request = parse(call)
    const scopes = Subject.scopes(request.subject)
    checkScopeFilter(who, scopes)
    const deny = (code: string, message: string): void => {
      const { amount, unit } = amountOf(request)
      call.server.activity.deny({
        atMs: call.context.nowMs,
        scope: scopes[scopes.length - 1] ?? "",
        action: request.action,
        unit,
        amount,
        code,
        message
      })
    }
    try {
      const response = run(call.context, who, request, call.request.body)
      // A decision and a dry run respond with 200.
      if (response.body.startsWith(denied)) deny(String(Object(JSON.parse(response.body))["reason_code"]), "")
      return response
    } catch (error) {
      if (error instanceof ErrorResponse && isDenial(error)) deny(error.code, error.message)
      throw error
    }
  }
}

const denied = '{"decision":"DENY"'

/** Whether a call failed because of a budget, a policy or a rule, and not because of its request. */
const isDenial = ({ code, status }: ErrorResponse): boolean =>
  (status === 404 || status === 409 || status === 429) && code !== "IDEMPOTENCY_MISMATCH"

/** The handler of a command whose path names a reservation. */
const onReservation = <A extends KeyedRequest, I, C extends KeyCaller | "admin">(
  schema: Schema.Codec<A, I>,
  caller: (call: Call) => C,
  run: (context: Context, caller: C, id: string, request: Parse.OpenMetadata<A>, body: string) => JsonResponse
): Handle => {
  const parse = requestParser(schema)
  return (call, id) => {
    const who = caller(call)
    const reservationId = checkedId(id)
    const request = parse(call)
    checkReservationScopeFilter(call, who, reservationId)
    return run(call.context, who, reservationId, request, call.request.body)
  }
}

/** Decodes and validates the id of a reservation in a path. */
const checkedId = (text: string): string => {
  const id = decodeURIComponent(text)
  if (id.length > Limits.maxReservationId) {
    throw invalidRequest(`reservation_id must have at most ${Limits.maxReservationId} characters`)
  }
  return id
}

// ---------------------------------------------------------------------------------------------------------------------
// operations
// ---------------------------------------------------------------------------------------------------------------------

const { balances, commit, decide, event, extend, getReservation, listReservations, release, reserve } = Operations

const listCaller = callerOf(listReservations, "reservations:list")
const getCaller = callerOf(getReservation, "reservations:list")
const balanceCaller = callerOf(balances, "balances:read")

const handlers: { readonly [Name in Operations.Name]: Handle } = {
  reserve: onSubject(reserve, "reservations:create", (_) => _.estimate, Ledger.reserve),
  decide: onSubject(decide, "reservations:create", (_) => _.estimate, Ledger.decide),
  event: onSubject(event, "reservations:commit", (_) => _.actual, Ledger.event),
  commit: onReservation(commit.request, callerOf(commit, "reservations:commit"), Ledger.commit),
  release: onReservation(release.request, callerOf(release, "reservations:release"), Ledger.release),
  extend: onReservation(extend.request, callerOf(extend, "reservations:extend"), Ledger.extend),
  getReservation: (call, id) => {
    const caller = getCaller(call)
    const reservationId = checkedId(id)
    const response = Queries.getReservation(call.context, caller, reservationId)
    checkReservationScopeFilter(call, caller, reservationId)
    return response
  },
  listReservations: (call) => {
    const caller = listCaller(call)
    return Queries.listReservations(call.context, caller, queryOf(call), visibilityOf(caller))
  },
  balances: (call) => {
    const caller = balanceCaller(call)
    return Queries.getBalances(call.context, caller, queryOf(call), visibilityOf(caller))
  },
  getEvidence: (call, id) => {
    if (call.request.method !== "GET" && call.request.method !== "HEAD") throw methodNotAllowed(call, ["GET"])
    setUnlimited(call)
    throw /^[0-9a-f]{64}$/.test(id) ? notFound(id) : invalidRequest("evidence_id must be 64 hexadecimal digits")
  },
  getJwks: (call) => {
    setUnlimited(call)
    throw notFound("no signer is configured")
  }
}

interface Route {
  readonly auth: Operations.Auth
  readonly method: string
  readonly segments: ReadonlyArray<string>
  /** The index of the segment with the parameter, or -1. */
  readonly parameterIndex: number
  readonly handle: Handle
}

const routes: ReadonlyArray<Route> = Object.values(Operations.all).map(({ auth, method, name, path }) => {
  const segments = path.split("/").slice(1)
  const parameterIndex = segments.findIndex((segment) => segment.startsWith(":"))
  return { auth, method, segments, parameterIndex, handle: handlers[name] }
})
