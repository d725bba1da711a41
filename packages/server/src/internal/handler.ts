/**
 * From a request to an answer: which plane it is for, and what becomes of what is thrown on the way. It is synchronous and
 * knows nothing of sockets, so that a port and an in-process client get the same answers. What the planes do is in
 * `runtime.ts` and `admin/routes.ts`.
 *
 * Source: the paths and headers of the protocol and of the governance specification.
 */
import * as Headers from "@effect-cycles/protocol/Headers"
import { requireAdmin } from "./access.ts"
import * as Admin from "./admin/routes.ts"
import type { JsonResponse } from "./response.ts"
import type { Call, Request, Response, Server } from "./call.ts"
import { checkPercentEncoding, toErrorResponse, traceIdOf } from "./call.ts"
import * as Ledger from "./ledger.ts"
import * as Runtime from "./runtimeRoutes.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Which side a port serves. */
export type Plane = "runtime" | "admin" | "both"

// ---------------------------------------------------------------------------------------------------------------------
// handle
// ---------------------------------------------------------------------------------------------------------------------

/** Answers a request at an instant. It never throws. */
export const handle = (server: Server, plane: Plane, request: Request, nowMs: number): Response => {
  const queryIndex = request.url.indexOf("?")
  const path = queryIndex < 0 ? request.url : request.url.slice(0, queryIndex)
  const isAdminPath = plane === "admin" || (plane === "both" && Admin.isPath(path))
  const requestId = request.headers[Headers.REQUEST_ID]
  const call: Call = {
    server,
    path,
    segments: path.split("/").slice(1),
    search: queryIndex < 0 ? "" : request.url.slice(queryIndex + 1),
    request,
    context: {
      store: server.store,
      nowMs,
      makeId: server.makeId,
      meter: server.meter,
      lastSettled: server.lastSettled,
      deny: (budgetRequest) => {
        for (const rule of server.denyRules) {
          const code = rule(budgetRequest)
          if (code !== undefined) return code
        }
        return undefined
      }
    },
    headers: {
      "content-type": "application/json",
      [Headers.REQUEST_ID]:
        isAdminPath && requestId !== undefined && requestId !== "" ? requestId : server.makeRequestId(),
      [Headers.TRACE_ID]: traceIdOf(request.headers, isAdminPath) ?? server.makeRequestId().replaceAll("-", "")
    }
  }
  try {
    checkPercentEncoding(request.url)
    Ledger.sweep(call.context)
    const response = healthOf(call, isAdminPath) ?? (isAdminPath ? Admin.respond(call) : Runtime.respond(call))
    return {
      status: response.status,
      headers: call.headers,
      body: request.method === "HEAD" ? "" : response.body
    }
  } catch (thrown) {
    return toErrorResponse(call, thrown)
  }
}

/** Does what has fallen due at an instant, and returns whether something may be left. */
export const sweep = (server: Server, nowMs: number): boolean => Ledger.sweep({ store: server.store, nowMs })

// ---------------------------------------------------------------------------------------------------------------------
// health
// ---------------------------------------------------------------------------------------------------------------------

/** How the server is; the administrator's plane tells it to the administrator. */
const healthOf = (call: Call, isAdminPath: boolean): JsonResponse | undefined => {
  switch (call.path) {
    case "/actuator/health":
      if (isAdminPath) requireAdmin(call)
      return { status: 200, body: healthy }
    case "/actuator/health/readiness":
    case "/actuator/health/liveness":
      call.headers["content-type"] = "application/vnd.spring-boot.actuator.v3+json"
      return { status: 200, body: healthy }
    default:
      return undefined
  }
}

const healthy = JSON.stringify({ status: "UP" })
