/**
 * From a request to an answer: which plane, who is asking, which command. It is synchronous and knows nothing of sockets, so
 * that a port and an in-process client get the same answers.
 *
 * Source: the paths, headers and security of the protocol and of the governance specification.
 */
import { DecisionRequest } from "@effect-cycles/protocol/Decision"
import { EventCreateRequest } from "@effect-cycles/protocol/Event"
import * as Headers from "@effect-cycles/protocol/Headers"
import * as Json from "@effect-cycles/protocol/Json"
import * as Limits from "@effect-cycles/protocol/Limits"
import {
  CommitRequest,
  ExtendRequest,
  ReleaseRequest,
  ReservationCreateRequest
} from "@effect-cycles/protocol/Reservation"
import * as Subject from "@effect-cycles/protocol/Subject"
import * as Budgets from "./admin/budgets.ts"
import * as Keys from "./admin/keys.ts"
import * as PolicyAdmin from "./admin/policies.ts"
import * as Tenants from "./admin/tenants.ts"
import type { Answer } from "./answer.ts"
import type { Asked, Caller, Context } from "./context.ts"
import * as Ledger from "./ledger.ts"
import type { ApiKey } from "./model.ts"
import * as Policies from "./policies.ts"
import * as Read from "./read.ts"
import * as Reads from "./reads.ts"
import { forbidden, invalid, notFound, Refusal, unauthorized } from "./refusal.ts"
import type { Secrets } from "./secrets.ts"
import { isSame } from "./secrets.ts"
import type { Store } from "./store.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A request, read from wherever it came from. Header names are lower case. */
export interface Request {
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly headers: { readonly [name: string]: string | undefined }
  readonly body: string
}

/** An answer, ready to be written. */
export interface Response {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Which side a port serves. */
export type Plane = "runtime" | "admin" | "both"

/** What the handler works on. */
export interface Server {
  readonly store: Store
  readonly secrets: Secrets
  /** A new name of a thing. */
  readonly makeId: () => string
  /** A new name of a request; without hyphens it is one of a trace. */
  readonly makeRequestId: () => string
  readonly meter: Policies.Meter
  readonly lastSettled: Map<string, number>
  readonly adminKey: string
  /** Rules of a test that refuse what they like. */
  readonly denials: Array<(request: Asked) => string | undefined>
}

// ---------------------------------------------------------------------------------------------------------------------
// handle
// ---------------------------------------------------------------------------------------------------------------------

/** Answers a request at an instant. It never throws. */
export const handle = (server: Server, plane: Plane, request: Request, nowMs: number): Response => {
  const queryAt = request.url.indexOf("?")
  const path = queryAt < 0 ? request.url : request.url.slice(0, queryAt)
  const isAdminPath = plane === "admin" || (plane === "both" && isOfAdmin(path))
  const asked = request.headers[Headers.REQUEST_ID]
  const call: Call = {
    server,
    path,
    parts: path.split("/").slice(1),
    search: queryAt < 0 ? "" : request.url.slice(queryAt + 1),
    request,
    context: {
      store: server.store,
      nowMs,
      makeId: server.makeId,
      meter: server.meter,
      lastSettled: server.lastSettled,
      deny: (asked) => {
        for (const denial of server.denials) {
          const code = denial(asked)
          if (code !== undefined) return code
        }
        return undefined
      }
    },
    headers: {
      "content-type": "application/json",
      [Headers.REQUEST_ID]: isAdminPath && asked !== undefined && asked !== "" ? asked : server.makeRequestId(),
      [Headers.TRACE_ID]: traceOf(request.headers, isAdminPath) ?? server.makeRequestId().replaceAll("-", "")
    }
  }
  try {
    readable(request.url)
    Ledger.sweep(call.context)
    const answer = isAdminPath ? admin(call) : runtime(call)
    return {
      status: answer.status,
      headers: call.headers,
      body: request.method === "HEAD" ? "" : answer.body
    }
  } catch (thrown) {
    return refuse(call, thrown)
  }
}

/** One request on its way. */
interface Call {
  readonly server: Server
  readonly path: string
  readonly parts: ReadonlyArray<string>
  /** The query as text. */
  readonly search: string
  readonly request: Request
  readonly context: Context
  readonly headers: Record<string, string>
}

const queryOf = ({ search }: Call): URLSearchParams => new URLSearchParams(search)

const refuse = (call: Call, thrown: unknown): Response => {
  const refusal = thrown instanceof Refusal ? thrown : new Refusal(500, "INTERNAL_ERROR", "Internal error")
  return {
    status: refusal.status,
    headers: { ...call.headers, ...refusal.headers },
    body:
      call.request.method === "HEAD"
        ? ""
        : Json.stringify({
            error: refusal.code,
            message: refusal.message,
            request_id: call.headers[Headers.REQUEST_ID],
            trace_id: call.headers[Headers.TRACE_ID],
            details: refusal.details
          })
  }
}

/** Whether every percent escape of an address can be read; afterwards none fails. */
const readable = (url: string): void => {
  if (!url.includes("%")) return
  try {
    decodeURIComponent(url)
  } catch {
    throw invalid("The path or the query has a percent escape that can't be read")
  }
}

/**
 * The trace that a request belongs to, where it says so in a way that can be used. The runtime plane takes capital digits, the
 * administrator's does not.
 */
const traceOf = (headers: Request["headers"], isAdminPath: boolean): string | undefined => {
  const read = (name: string): string | undefined => (isAdminPath ? headers[name] : headers[name]?.toLowerCase())
  const parent = read(Headers.TRACEPARENT)
  if (parent !== undefined) {
    const [, trace, span] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(parent) ?? []
    if (trace !== undefined && span !== undefined && !isZero(trace) && !isZero(span)) return trace
  }
  const own = read(Headers.TRACE_ID)
  return own !== undefined && /^[0-9a-f]{32}$/.test(own) && !isZero(own) ? own : undefined
}

const isZero = (digits: string): boolean => /^0+$/.test(digits)

// ---------------------------------------------------------------------------------------------------------------------
// the runtime plane
// ---------------------------------------------------------------------------------------------------------------------

const readReserve = Read.request(ReservationCreateRequest)
const readDecide = Read.request(DecisionRequest)
const readEvent = Read.request(EventCreateRequest)
const readCommit = Read.request(CommitRequest)
const readRelease = Read.request(ReleaseRequest)
const readExtend = Read.request(ExtendRequest)

const runtime = (call: Call): Answer => {
  const health = healthOf(call, false)
  if (health !== undefined) return health
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
      narrowed(call, caller, name)
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
  if (!allows(caller.key, Subject.scopes(request.subject))) throw outsideFilter()
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
    narrowed(call, caller, name)
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

/** A name in a path. */
const checkedId = (text: string): string => {
  const id = decodeURIComponent(text)
  if (id.length > Limits.maxReservationId) {
    throw invalid(`reservation_id must have at most ${Limits.maxReservationId} characters`)
  }
  return id
}

// ---------------------------------------------------------------------------------------------------------------------
// who is asking
// ---------------------------------------------------------------------------------------------------------------------

interface KeyCaller extends Caller {
  readonly key: ApiKey
}

/** The tenant whose key came along. */
const authenticated = (call: Call): KeyCaller => {
  const secret = call.request.headers[Headers.API_KEY]
  if (secret === undefined || secret.trim() === "") throw unauthorized("Missing API key")
  const found = Keys.checkKey(call.context, call.server.secrets, secret)
  if ("reason" in found) throw unauthorized(found.reason)
  call.headers[Headers.TENANT] = found.tenant.id
  unlimited(call)
  return found
}

/** The tenant whose key came along, if the key may do this. */
const tenant = (call: Call, permission: string): KeyCaller => {
  const caller = authenticated(call)
  if (!Policies.permits(caller.key.permissions, permission)) {
    throw forbidden(`API key lacks required permission: ${permission}`)
  }
  return caller
}

/** The administrator, or else the tenant. An administrator's key that is wrong is never passed over. */
const either = (call: Call, permission: string): KeyCaller | "admin" => {
  const adminKey = call.request.headers[Headers.ADMIN_KEY]
  if (adminKey === undefined || adminKey.trim() === "") return tenant(call, permission)
  if (!isSame(adminKey, call.server.adminKey)) throw unauthorized("Invalid admin API key")
  unlimited(call)
  return "admin"
}

/** There is no rate limit; the headers say so. */
const unlimited = (call: Call): void => {
  call.headers[Headers.RATE_LIMIT_REMAINING] = "-1"
  call.headers[Headers.RATE_LIMIT_RESET] = "0"
}

const allows = (key: ApiKey, scopes: ReadonlyArray<string>): boolean => Policies.allows(key.scopeFilter, scopes)

const narrowed = (call: Call, caller: KeyCaller | "admin", id: string): void => {
  if (caller === "admin" || (caller.key.scopeFilter ?? []).length === 0) return
  const reservation = call.server.store.reservations.get(id)
  if (reservation?.tenantId === caller.tenant.id && !allows(caller.key, reservation.affectedScopes))
    throw outsideFilter()
}

/** Which paths a list shows to a caller. */
const visible =
  (caller: KeyCaller | "admin") =>
  (scopes: ReadonlyArray<string>): boolean =>
    caller === "admin" || allows(caller.key, scopes)

const outsideFilter = (): Refusal => forbidden("The scope_filter of the API key does not allow this scope")

// ---------------------------------------------------------------------------------------------------------------------
// bodies
// ---------------------------------------------------------------------------------------------------------------------

const bodyOf = (call: Call): Readonly<Record<string, unknown>> => {
  if (call.request.body === "") throw invalid("Malformed request body: it is empty")
  const type = (call.request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? ""
  if (type !== "application/json" && !(type.startsWith("application/") && type.endsWith("+json"))) {
    throw new Refusal(415, "INVALID_REQUEST", "The body must be application/json")
  }
  return Read.given(call.request.body)
}

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

const sameKey = (call: Call, key: string): void => {
  const header = call.request.headers[Headers.IDEMPOTENCY_KEY]
  if (header !== undefined && header !== key) {
    throw invalid("X-Idempotency-Key header does not match idempotency_key in request body")
  }
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

const wrongMethod = (call: Call, allowed: ReadonlyArray<string>): Refusal =>
  new Refusal(405, "INVALID_REQUEST", `Request method '${call.request.method}' is not supported`, {
    headers: { allow: allowed.join(",") }
  })

const options = (call: Call, allowed: ReadonlyArray<string>): Answer => {
  call.headers["allow"] = [...allowed, ...(allowed.includes("GET") ? ["HEAD"] : []), "OPTIONS"].join(",")
  delete call.headers["content-type"]
  return { status: 200, body: "" }
}

// ---------------------------------------------------------------------------------------------------------------------
// the administrator's plane
// ---------------------------------------------------------------------------------------------------------------------

const isOfAdmin = (path: string): boolean => path.startsWith("/v1/admin/") || path.startsWith("/v1/auth/")

const healthOf = (call: Call, isGuarded: boolean): Answer | undefined => {
  switch (call.path) {
    case "/actuator/health":
      if (isGuarded) requireAdmin(call)
      return { status: 200, body: up }
    case "/actuator/health/readiness":
    case "/actuator/health/liveness":
      call.headers["content-type"] = "application/vnd.spring-boot.actuator.v3+json"
      return { status: 200, body: up }
    default:
      return undefined
  }
}

const up = JSON.stringify({ status: "UP" })

const requireAdmin = (call: Call): void => {
  const key = call.request.headers[Headers.ADMIN_KEY]
  if (key === undefined || key === "") throw unauthorized("Missing X-Admin-API-Key header")
  if (!isSame(key, call.server.adminKey)) throw unauthorized("Invalid admin API key")
}

/** The key of the tenant on whose behalf budgets and policies are worked on, or nothing for the administrator. */
const ownerOf = (call: Call, permission: string): ApiKey | undefined => {
  if ((call.request.headers[Headers.ADMIN_KEY] ?? "").trim() !== "") {
    requireAdmin(call)
    return undefined
  }
  const secret = call.request.headers[Headers.API_KEY]
  if (secret === undefined || secret.trim() === "") throw unauthorized("Missing X-Cycles-API-Key header")
  const found = Keys.checkKey(call.context, call.server.secrets, secret)
  if ("reason" in found) throw forbidden(`Invalid API key: ${found.reason}`)
  if (!Policies.permits(found.key.permissions, permission)) {
    throw new Refusal(403, "INSUFFICIENT_PERMISSIONS", `API key lacks required permission: ${permission}`)
  }
  return found.key
}

const admin = (call: Call): Answer => {
  const health = healthOf(call, true)
  if (health !== undefined) return health
  const { context, server } = call
  const [, space, resource, id, more] = call.parts
  const method = call.request.method === "HEAD" ? "GET" : call.request.method
  const body = () => bodyOf(call)
  if (space === "auth") {
    if (resource === "validate" && id === undefined) {
      if (method !== "POST") throw wrongMethod(call, ["POST"])
      requireAdmin(call)
      return Keys.validateKey(context, server.secrets, body())
    }
  } else if (space === "admin" && more === undefined) {
    const name = `${resource ?? ""}${id === undefined ? "" : resource === "budgets" ? `/${id}` : "/*"}`
    const route = Object.hasOwn(adminRoutes, name) ? adminRoutes[name] : undefined
    if (route !== undefined) {
      if (method === "OPTIONS") return options(call, Object.keys(route))
      const run = Object.hasOwn(route, method) ? route[method] : undefined
      if (run === undefined) throw wrongMethod(call, Object.keys(route))
      return run(call, id === undefined ? "" : decodeURIComponent(id), queryOf(call), body)
    }
  }
  requireAdmin(call)
  throw new Refusal(404, "NOT_FOUND", `There is no ${call.path}`)
}

type AdminRoute = (call: Call, id: string, query: URLSearchParams, body: () => object) => Answer

const byAdmin =
  (run: AdminRoute): AdminRoute =>
  (call, id, query, body) => {
    requireAdmin(call)
    return run(call, id, query, body)
  }

/** A body that need not be there. */
const optional = (call: Call, body: () => object): object => (call.request.body === "" ? {} : body())

const adminRoutes: Readonly<Partial<Record<string, Readonly<Partial<Record<string, AdminRoute>>>>>> = {
  tenants: {
    POST: byAdmin(({ context }, _id, _query, body) => Tenants.createTenant(context, body())),
    GET: byAdmin(({ context }, _id, query) => Tenants.listTenants(context, query))
  },
  "tenants/*": {
    GET: byAdmin(({ context }, id) => Tenants.getTenant(context, id)),
    PATCH: byAdmin(({ context }, id, _query, body) => Tenants.patchTenant(context, id, body()))
  },
  "api-keys": {
    POST: byAdmin(({ context, server }, _id, _query, body) => Keys.createKey(context, server.secrets, body())),
    GET: byAdmin(({ context }, _id, query) => Keys.listKeys(context, query))
  },
  "api-keys/*": {
    PATCH: byAdmin(({ context }, id, _query, body) => Keys.patchKey(context, id, body())),
    DELETE: byAdmin(({ context }, id, query) => Keys.revokeKey(context, id, query))
  },
  budgets: {
    POST: (call, _id, _query, body) => Budgets.createBudget(call.context, ownerOf(call, "budgets:write"), body()),
    GET: (call, _id, query) => Budgets.listBudgets(call.context, ownerOf(call, "budgets:read"), query),
    PATCH: byAdmin(({ context }, _id, query, body) => Budgets.patchBudget(context, query, body()))
  },
  "budgets/lookup": {
    GET: (call, _id, query) => Budgets.lookUpBudget(call.context, ownerOf(call, "budgets:read"), query)
  },
  "budgets/fund": {
    POST: (call, _id, query, body) => Budgets.fund(call.context, ownerOf(call, "budgets:write"), query, body())
  },
  "budgets/freeze": {
    POST: byAdmin((call, _id, query, body) => Budgets.setFrozen(call.context, query, optional(call, body), true))
  },
  "budgets/unfreeze": {
    POST: byAdmin((call, _id, query, body) => Budgets.setFrozen(call.context, query, optional(call, body), false))
  },
  policies: {
    POST: (call, _id, _query, body) => PolicyAdmin.createPolicy(call.context, ownerOf(call, "policies:write"), body()),
    GET: (call, _id, query) => PolicyAdmin.listPolicies(call.context, ownerOf(call, "policies:read"), query)
  },
  "policies/*": {
    PATCH: (call, id, _query, body) =>
      PolicyAdmin.patchPolicy(call.context, ownerOf(call, "policies:write"), id, body())
  }
}

/** Does what has fallen due at an instant, and returns whether something may be left. */
export const sweep = (server: Server, nowMs: number): boolean => Ledger.sweep({ store: server.store, nowMs })
