/**
 * Routing, content types and trace ids of the admin plane.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Handler from "../../src/internal/handler.ts"
import { createKey, errorOf, makeTestServer } from "../support/testServer.ts"

describe("admin routes", () => {
  it("returns the methods of a path without a key, and requires a key for everything else", () => {
    const server = makeTestServer()
    const send = (method: string, path: string) => server.send(method, path, {})
    expect(send("DELETE", "admin/tenants")).toMatchObject({ status: 405, headers: { allow: "POST,GET" } })
    expect(send("OPTIONS", "admin/tenants")).toMatchObject({
      status: 200,
      headers: { allow: "POST,GET,HEAD,OPTIONS" }
    })
    expect(send("GET", "auth/validate").status).toBe(405)
    expect(send("GET", "admin/tenants").status).toBe(401)
  })

  it("rejects TRACE and other unknown methods with 405 on every path, and an unknown path with 404", () => {
    const server = makeTestServer()
    const key = createKey(server).secret
    const send = (method: string, path: string) =>
      server.send(method, path, { "x-admin-api-key": "K", "x-cycles-api-key": key }).status
    for (const path of ["balances?tenant=acme", "nothing", "admin/tenants", "admin/nothing", "auth/validate"]) {
      expect(["TRACE", "PROPFIND", "get"].map((method) => send(method, path))).toEqual([405, 405, 405])
    }
    expect(["nothing", "admin/nothing"].map((path) => send("GET", path))).toEqual([404, 404])
  })

  it("accepts only GET, HEAD and OPTIONS for health checks", () => {
    const server = makeTestServer()
    for (const url of ["/actuator/health", "/actuator/health/readiness", "/actuator/health/liveness"]) {
      const statusOf = (method: string) =>
        Handler.handle(server.internals, "both", { method, url, headers: {}, body: "" }, server.nowMs).status
      expect(["GET", "HEAD", "OPTIONS", "POST", "TRACE"].map(statusOf)).toEqual([200, 200, 200, 405, 405])
    }
  })

  it("accepts only bodies with a JSON content type", () => {
    const server = makeTestServer()
    const create = (type: string) =>
      server.send(
        "POST",
        "admin/tenants",
        { "x-admin-api-key": "K", "content-type": type },
        { tenant_id: "t-a", name: "n" }
      )
    expect(["", "text/plain"].map((type) => errorOf(create(type)))).toEqual(Array(2).fill("415 INVALID_REQUEST"))
    expect(create("application/json;charset=utf-8").status).toBe(201)
  })

  it("ignores trace ids with upper-case digits, which the runtime plane accepts", () => {
    const server = makeTestServer()
    const digits = "0123456789ABCDEF0123456789ABCDEF"
    const traced = (path: string, headers: Record<string, string>) =>
      server.send("GET", path, headers).headers["x-cycles-trace-id"]
    const traceparent = { traceparent: `00-${digits}-0123456789ABCDEF-01` }
    const traceId = { "x-cycles-trace-id": digits }
    expect([traced("balances", traceparent), traced("balances", traceId)]).toEqual(Array(2).fill(digits.toLowerCase()))
    for (const headers of [traceparent, traceId]) {
      expect(traced("admin/tenants", headers)).toMatch(/^[0-9a-f]{32}$/)
      expect(traced("admin/tenants", headers)).not.toBe(digits.toLowerCase())
    }
  })
})
