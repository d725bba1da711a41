/**
 * Handles a request: selects the plane and converts thrown errors into responses.
 *
 * It is synchronous and independent of sockets, so that a port and an in-process client get the same responses. The planes are
 * in `runtimeRoutes.ts` and `admin/routes.ts`.
 *
 * @see the paths and headers of cycles-protocol-v0.yaml and of the governance specification
 */
import * as Headers from "@effect-cycles/protocol/Headers"
import { requireAdmin } from "./access.ts"
import * as Admin from "./admin/routes.ts"
import type { JsonResponse } from "./response.ts"
import type { Call, Request, Response, Server } from "./call.ts"
import { checkPercentEncoding, methodNotAllowed, optionsResponse, toErrorResponse, traceIdOf } from "./call.ts"
import * as Runtime from "./runtimeRoutes.ts"
import * as Sweep from "./sweep.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The planes that a port serves. */
export type Plane = "runtime" | "admin" | "both"

// ---------------------------------------------------------------------------------------------------------------------
// handle
// ---------------------------------------------------------------------------------------------------------------------

/** Handles a request at a time in epoch milliseconds. It never throws. */
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
      warn: server.warn,
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
    if (!server.isSweptByTimer) Sweep.sweep(call.context)
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

/** Expires reservations and removes rows that are due, in batches. Returns whether more may be due. */
export const sweep = (server: Server, nowMs: number): boolean => Sweep.sweep({ store: server.store, nowMs })

// ---------------------------------------------------------------------------------------------------------------------
// health
// ---------------------------------------------------------------------------------------------------------------------

/** The response to a health check; `undefined` for any other path. The admin plane requires the admin key for it. */
const healthOf = (call: Call, isAdminPath: boolean): JsonResponse | undefined => {
  if (!healthPaths.has(call.path)) return undefined
  const isSummary = call.path === "/actuator/health"
  const { method } = call.request
  if (method === "OPTIONS") return optionsResponse(call, ["GET"])
  if (isSummary && isAdminPath) requireAdmin(call)
  if (method !== "GET" && method !== "HEAD") throw methodNotAllowed(call, ["GET"])
  if (!isSummary) call.headers["content-type"] = "application/vnd.spring-boot.actuator.v3+json"
  return { status: 200, body: healthy }
}

const healthPaths: ReadonlySet<string> = new Set([
  "/actuator/health",
  "/actuator/health/readiness",
  "/actuator/health/liveness"
])

const healthy = JSON.stringify({ status: "UP" })
