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
import type { Answer } from "./answer.ts"
import type { Call, Request, Response, Server } from "./call.ts"
import { readable, refuse, traceOf } from "./call.ts"
import * as Ledger from "./ledger.ts"
import * as Runtime from "./runtime.ts"

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
  const queryAt = request.url.indexOf("?")
  const path = queryAt < 0 ? request.url : request.url.slice(0, queryAt)
  const isAdminPath = plane === "admin" || (plane === "both" && Admin.isPath(path))
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
    const answer = healthOf(call, isAdminPath) ?? (isAdminPath ? Admin.answer(call) : Runtime.answer(call))
    return {
      status: answer.status,
      headers: call.headers,
      body: request.method === "HEAD" ? "" : answer.body
    }
  } catch (thrown) {
    return refuse(call, thrown)
  }
}

/** Does what has fallen due at an instant, and returns whether something may be left. */
export const sweep = (server: Server, nowMs: number): boolean => Ledger.sweep({ store: server.store, nowMs })

// ---------------------------------------------------------------------------------------------------------------------
// health
// ---------------------------------------------------------------------------------------------------------------------

/** How the server is; the administrator's plane tells it to the administrator. */
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
