/**
 * One request in either plane: its headers, query and body, and the error responses that both planes share.
 *
 * `access.ts` authenticates and authorizes the caller; the routes of each plane execute the request.
 *
 * @see CORRELATION AND TRACING, IDEMPOTENCY and ERROR SEMANTICS in cycles-protocol-v0.yaml
 */
import * as Headers from "@effect-cycles/protocol/Headers"
import * as Json from "@effect-cycles/protocol/Json"
import type { Activity } from "./activity.ts"
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

/** An HTTP request, from a socket or from the same process. Header names are in lower case. */
export interface Request {
  readonly method: string
  /** The path and the query. */
  readonly url: string
  readonly headers: { readonly [name: string]: string | undefined }
  readonly body: string
  /** Whether the bytes of the body are not UTF-8. Such a request is rejected. Default: false. */
  readonly isMalformed?: boolean
}

/** An HTTP response. */
export interface Response {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** The parts of a server that outlive a request. */
export interface Server {
  readonly store: Store
  readonly secrets: Secrets
  /** Generates the id of a stored object. */
  readonly makeId: () => string
  /** Generates a request id. Without hyphens it is also a valid trace id. */
  readonly makeRequestId: () => string
  /** Counts calls for rate limits. */
  readonly meter: Meter
  /** The latest denials. */
  readonly activity: Activity
  /** The time of the last settlement by tenant, in epoch milliseconds. */
  readonly lastSettled: Map<string, number>
  readonly adminKey: string
  /** Reports an accepted request with fields that have no effect. */
  readonly warn: (message: string) => void
  /** Whether a timer expires overdue reservations, so that requests need not. */
  readonly isSweptByTimer: boolean
  /** Rules of a test; the first returned code denies the request. */
  readonly denyRules: Array<(request: BudgetRequest) => string | undefined>
}

/** A request in progress. */
export interface Call {
  readonly server: Server
  readonly path: string
  /** The segments of the path, still percent-encoded. */
  readonly segments: ReadonlyArray<string>
  /** The query without the question mark. */
  readonly search: string
  readonly request: Request
  readonly context: Context
  /** The headers of the response, which handlers extend. */
  readonly headers: Record<string, string>
}

// ---------------------------------------------------------------------------------------------------------------------
// requests
// ---------------------------------------------------------------------------------------------------------------------

/** Rejects a URL with an unescaped character or a malformed percent escape, so that later decoding can't throw. */
export const checkPercentEncoding = (url: string): void => {
  if (!/^[\x21-\x7e]*$/.test(url)) {
    throw invalidRequest("The path or the query has a character that must be percent-encoded as UTF-8")
  }
  if (!url.includes("%")) return
  try {
    decodeURIComponent(url)
  } catch {
    throw invalidRequest("The path or the query has a malformed percent escape")
  }
}

/**
 * The valid trace id of a request, from `traceparent` or the Cycles header. Only the runtime plane accepts upper-case digits.
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

/** The query parameters of a request. */
export const queryOf = ({ search }: Call): URLSearchParams => new URLSearchParams(search)

/** Parses the body of a request, which must be a JSON object. */
export const bodyOf = (call: Call): Readonly<Record<string, unknown>> => {
  if (call.request.isMalformed === true) throw invalidRequest("Malformed request body: it isn't UTF-8")
  if (call.request.body === "") throw invalidRequest("Malformed request body: it is empty")
  const type = (call.request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? ""
  if (type !== "application/json" && !(type.startsWith("application/") && type.endsWith("+json"))) {
    throw new ErrorResponse(415, "INVALID_REQUEST", "The body must be application/json")
  }
  return Parse.body(call.request.body)
}

/** Throws if the idempotency key in the header differs from the key in the body. */
export const checkKeyHeader = (call: Call, key: string): void => {
  const header = call.request.headers[Headers.IDEMPOTENCY_KEY]
  if (header !== undefined && header !== key) {
    throw invalidRequest("X-Idempotency-Key header does not match idempotency_key in request body")
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// responses
// ---------------------------------------------------------------------------------------------------------------------

/** Converts a thrown value into a response. An unexpected error becomes a 500 without details. */
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

/** The 405 for a method that a path does not support. */
export const methodNotAllowed = (call: Call, allowed: ReadonlyArray<string>): ErrorResponse =>
  new ErrorResponse(405, "INVALID_REQUEST", `Request method '${call.request.method}' is not supported`, {
    headers: { allow: allowed.join(",") }
  })

/** The 404 for an unknown path. A method that no path supports, such as TRACE, is a 405 instead. */
export const noSuchPath = (call: Call): ErrorResponse =>
  methods.has(call.request.method)
    ? new ErrorResponse(404, "NOT_FOUND", `There is no ${Parse.shown(call.path)}`)
    : methodNotAllowed(call, [])

const methods: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])

/** The response to OPTIONS. */
export const optionsResponse = (call: Call, allowed: ReadonlyArray<string>): JsonResponse => {
  call.headers["allow"] = [...allowed, ...(allowed.includes("GET") ? ["HEAD"] : []), "OPTIONS"].join(",")
  delete call.headers["content-type"]
  return { status: 200, body: "" }
}

/** Sets the rate limit headers to "unlimited". */
export const setUnlimited = (call: Call): void => {
  call.headers[Headers.RATE_LIMIT_REMAINING] = "-1"
  call.headers[Headers.RATE_LIMIT_RESET] = "0"
}
