/**
 * What every request has, whichever plane it is for: itself, the server it came to, the headers of its answer, its query and
 * its body, and how it is refused. Who is asking is in `access.ts`, what is done about it in the routes of a plane.
 *
 * Source: CORRELATION AND TRACING, IDEMPOTENCY and ERROR SEMANTICS of the protocol.
 */
import * as Headers from "@effect-cycles/protocol/Headers"
import * as Json from "@effect-cycles/protocol/Json"
import type { JsonResponse } from "./response.ts"
import type { BudgetRequest, Context } from "./context.ts"
import type { Meter } from "./policies.ts"
import * as Parse from "./parse.ts"
import { invalidRequest, ErrorResponse } from "./errorResponse.ts"
import type { Secrets } from "./secrets.ts"
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

/** What requests come to. */
export interface Server {
  readonly store: Store
  readonly secrets: Secrets
  /** A new name of a thing. */
  readonly makeId: () => string
  /** A new name of a request; without hyphens it is one of a trace. */
  readonly makeRequestId: () => string
  readonly meter: Meter
  readonly lastSettled: Map<string, number>
  readonly adminKey: string
  /** Rules of a test that refuse what they like. */
  readonly denyRules: Array<(request: BudgetRequest) => string | undefined>
}

/** One request on its way. */
export interface Call {
  readonly server: Server
  readonly path: string
  readonly segments: ReadonlyArray<string>
  /** The query as text. */
  readonly search: string
  readonly request: Request
  readonly context: Context
  readonly headers: Record<string, string>
}

// ---------------------------------------------------------------------------------------------------------------------
// requests
// ---------------------------------------------------------------------------------------------------------------------

/** Refuses an address with a percent escape that can't be read; afterwards none fails. */
export const checkPercentEncoding = (url: string): void => {
  if (!url.includes("%")) return
  try {
    decodeURIComponent(url)
  } catch {
    throw invalidRequest("The path or the query has a percent escape that can't be read")
  }
}

/**
 * The trace that a request belongs to, where it says so in a way that can be used. The runtime plane takes capital digits, the
 * administrator's does not.
 */
export const traceIdOf = (headers: Request["headers"], isAdminPath: boolean): string | undefined => {
  const header = (name: string): string | undefined => (isAdminPath ? headers[name] : headers[name]?.toLowerCase())
  const traceparent = header(Headers.TRACEPARENT)
  if (traceparent !== undefined) {
    const [, trace, span] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(traceparent) ?? []
    if (trace !== undefined && span !== undefined && !isZero(trace) && !isZero(span)) return trace
  }
  const traceId = header(Headers.TRACE_ID)
  return traceId !== undefined && /^[0-9a-f]{32}$/.test(traceId) && !isZero(traceId) ? traceId : undefined
}

const isZero = (digits: string): boolean => /^0+$/.test(digits)

/** The parameters of a request. */
export const queryOf = ({ search }: Call): URLSearchParams => new URLSearchParams(search)

/** The JSON object of a body. */
export const bodyOf = (call: Call): Readonly<Record<string, unknown>> => {
  if (call.request.body === "") throw invalidRequest("Malformed request body: it is empty")
  const type = (call.request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? ""
  if (type !== "application/json" && !(type.startsWith("application/") && type.endsWith("+json"))) {
    throw new ErrorResponse(415, "INVALID_REQUEST", "The body must be application/json")
  }
  return Parse.body(call.request.body)
}

/** A key that is in a header as well is the same there. */
export const checkKeyHeader = (call: Call, key: string): void => {
  const header = call.request.headers[Headers.IDEMPOTENCY_KEY]
  if (header !== undefined && header !== key) {
    throw invalidRequest("X-Idempotency-Key header does not match idempotency_key in request body")
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// answers
// ---------------------------------------------------------------------------------------------------------------------

/** The answer of what was thrown. */
export const toErrorResponse = (call: Call, thrown: unknown): Response => {
  const error = thrown instanceof ErrorResponse ? thrown : new ErrorResponse(500, "INTERNAL_ERROR", "Internal error")
  return {
    status: error.status,
    headers: { ...call.headers, ...error.headers },
    body:
      call.request.method === "HEAD"
        ? ""
        : Json.stringify({
            error: error.code,
            message: error.message,
            request_id: call.headers[Headers.REQUEST_ID],
            trace_id: call.headers[Headers.TRACE_ID],
            details: error.details
          })
  }
}

/** The refusal of a method that a path doesn't have. */
export const methodNotAllowed = (call: Call, allowed: ReadonlyArray<string>): ErrorResponse =>
  new ErrorResponse(405, "INVALID_REQUEST", `Request method '${call.request.method}' is not supported`, {
    headers: { allow: allowed.join(",") }
  })

/** Which methods a path has. */
export const optionsResponse = (call: Call, allowed: ReadonlyArray<string>): JsonResponse => {
  call.headers["allow"] = [...allowed, ...(allowed.includes("GET") ? ["HEAD"] : []), "OPTIONS"].join(",")
  delete call.headers["content-type"]
  return { status: 200, body: "" }
}

/** There is no rate limit; the headers say so. */
export const setUnlimited = (call: Call): void => {
  call.headers[Headers.RATE_LIMIT_REMAINING] = "-1"
  call.headers[Headers.RATE_LIMIT_RESET] = "0"
}
