/**
 * API keys of the admin plane.
 */
import { describe, expect, it } from "@effect/vitest"
import { createKey, errorOf, columnOf, makeTestServer } from "../support/testServer.ts"

describe("keys", () => {
  it("accepts an empty list of permissions, and rejects unknown permissions", () => {
    const server = makeTestServer()
    const { body } = server.admin("POST", "api-keys", {
      tenant_id: "acme",
      name: "none",
      permissions: [],
      expires_at: "2100-01-01T01:00:00.000+01:00"
    })
    expect([body["permissions"], body["expires_at"]]).toEqual([[], "2100-01-01T00:00:00Z"])
    expect(errorOf(server.request("balances?tenant=acme", undefined, String(body["key_secret"])))).toBe("403 FORBIDDEN")
    for (const permission of ["admin:overage:read", "admin:events:write", "admin:audit:write"]) {
      expect(server.admin("POST", "api-keys", { tenant_id: "acme", name: "k", permissions: [permission] }).status).toBe(
        400
      )
    }
  })

  it("rejects an expired key, and still lists it as ACTIVE", () => {
    const server = makeTestServer()
    const { id, secret } = createKey(server, {
      expires_at: new Date(server.nowMs + 1_000).toISOString(),
      name: "short"
    })
    server.nowMs += 2_000
    expect(errorOf(server.request("balances?tenant=acme", undefined, secret))).toBe("401 UNAUTHORIZED")
    expect(columnOf(server.admin("GET", "api-keys?search=SHORT"), "keys", "status")).toEqual(["ACTIVE"])
    expect(server.admin("PATCH", `api-keys/${id}`, { name: "" }).status).toBe(200)
    expect(server.admin("POST", "api-keys/nothing", {}).status).toBe(405)
  })

  it("rejects a reason of more than 512 characters, and revokes nothing", () => {
    const server = makeTestServer()
    const { id } = createKey(server)
    const revoke = (length: number) => server.admin("DELETE", `api-keys/${id}?reason=${"r".repeat(length)}`)
    expect(errorOf(revoke(513))).toBe("400 INVALID_REQUEST")
    expect(columnOf(server.admin("GET", "api-keys?status=REVOKED"), "keys", "key_id")).toEqual([])
    expect(revoke(512).body["revoked_reason"]).toHaveLength(512)
  })

  it("rejects an entry of a scope filter that the reference server never matches", () => {
    const server = makeTestServer()
    const { id } = createKey(server)
    const create = (entry: string) =>
      server.admin("POST", "api-keys", { tenant_id: "acme", name: "k", scope_filter: ["workspace:eng", entry] })
    for (const entry of [
      "",
      "*",
      "workspace",
      "workspace:",
      ":eng",
      "Workspace:eng",
      "team:eng",
      "agent:a*",
      "tenant:acme/workspace:eng",
      "tenant:acme/*"
    ]) {
      expect(errorOf(create(entry))).toBe("400 INVALID_REQUEST")
      expect(errorOf(server.admin("PATCH", `api-keys/${id}`, { scope_filter: [entry] }))).toBe("400 INVALID_REQUEST")
    }
    for (const entry of ["tenant:acme", "workspace:Eng.1", "agent:*"]) {
      expect(create(entry).status).toBe(201)
      expect(server.admin("PATCH", `api-keys/${id}`, { scope_filter: [entry] }).status).toBe(200)
    }
  })

  it("revokes a key once, and rejects changes to a revoked key", () => {
    const server = makeTestServer()
    const { id } = createKey(server)
    expect(server.admin("DELETE", `api-keys/${id}?reason=`).body).not.toHaveProperty("revoked_reason")
    expect(errorOf(server.admin("DELETE", `api-keys/${id}`))).toBe("409 KEY_REVOKED")
    expect(errorOf(server.admin("PATCH", `api-keys/${id}`, { name: "n" }))).toBe("409 INVALID_REQUEST")
    expect(columnOf(server.admin("GET", "api-keys?status=REVOKED"), "keys", "key_id")).toEqual([id])
  })

  it("revokes the keys of a closed tenant with the reason tenant_closed, and rejects changes to them", () => {
    const server = makeTestServer()
    const { id } = createKey(server)
    server.admin("PATCH", "tenants/acme", { status: "CLOSED" })
    expect(new Set(columnOf(server.admin("GET", "api-keys?tenant_id=acme"), "keys", "revoked_reason"))).toEqual(
      new Set(["tenant_closed"])
    )
    expect(errorOf(server.admin("DELETE", `api-keys/${id}`))).toBe("409 TENANT_CLOSED")
    expect(errorOf(server.admin("PATCH", `api-keys/${id}`, { name: "n" }))).toBe("409 TENANT_CLOSED")
    const create = { tenant_id: "acme", name: "k", permissions: ["nonsense"] }
    expect(errorOf(server.admin("POST", "api-keys", create))).toBe("409 TENANT_CLOSED")
  })

  it("distinguishes a mistyped key from an unknown key", () => {
    const server = makeTestServer()
    const { id, secret } = createKey(server)
    const validate = (text: string) =>
      server.send("POST", "auth/validate", { "x-admin-api-key": "K" }, { key_secret: text }).body
    expect(validate(`${secret}x`)).toEqual({ valid: false, tenant_id: "acme", reason: "INVALID_KEY" })
    expect(validate("cyc_live_")).toEqual({ valid: false, tenant_id: "", reason: "KEY_NOT_FOUND" })
    server.admin("DELETE", `api-keys/${id}`)
    expect(validate(`${secret}x`)).toEqual({ valid: false, tenant_id: "acme", reason: "KEY_REVOKED" })
    expect(validate(" ")["error"]).toBe("INVALID_REQUEST")
  })

  it("lists the newest first, in pages, for one tenant or all", () => {
    const server = makeTestServer()
    const ids = [createKey(server).id, createKey(server).id]
    const list = (query: string) => server.admin("GET", `api-keys?limit=1&${query}`)
    const first = list("tenant_id=acme")
    expect([columnOf(first, "keys", "key_id"), first.body["next_cursor"]]).toEqual([[ids[1]], ids[1]])
    expect(columnOf(list(`tenant_id=acme&cursor=${ids[1]}`), "keys", "key_id")).toEqual([ids[0]])
    const all = list("").body["next_cursor"]
    expect(all).toBe(`acme|${ids[1]}`)
    expect(columnOf(list(`cursor=${encodeURIComponent(String(all))}`), "keys", "key_id")).toEqual([ids[0]])
  })
})
