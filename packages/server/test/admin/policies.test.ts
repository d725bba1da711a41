/**
 * Policies of the admin plane.
 */
import { describe, expect, it } from "@effect/vitest"
import { createKey, errorOf, columnOf, makeTestServer } from "../support/testServer.ts"

describe("policies", () => {
  const policy = { name: "p", scope_pattern: "tenant:acme/agent:a" }

  it("lets only a key of the same tenant with policies:write create and change policies", () => {
    const server = makeTestServer()
    const { secret } = createKey(server, { permissions: ["policies:read", "policies:write"] })
    const create = (body: object) => server.request("admin/policies", body, secret)
    expect(errorOf(create({ ...policy, tenant_id: "acme" }))).toBe("400 INVALID_REQUEST")
    const id = String(create(policy).body["policy_id"])
    const patch = (apiKey: string) =>
      errorOf(server.send("PATCH", `admin/policies/${id}`, { "x-cycles-api-key": apiKey }, { priority: 3 }))
    expect(patch(secret)).toBe("200")
    expect(patch(createKey(server).secret)).toBe("403 INSUFFICIENT_PERMISSIONS")
    server.admin("POST", "tenants", { tenant_id: "other", name: "other" })
    expect(patch(createKey(server, { tenant_id: "other", permissions: ["policies:write"] }).secret)).toBe(
      "403 FORBIDDEN"
    )
  })

  it("lists the policies of one tenant by pattern and status", () => {
    const server = makeTestServer()
    const ids = ["a", "b"].map((name) =>
      String(
        server.admin("POST", "policies", {
          ...policy,
          tenant_id: "acme",
          scope_pattern: `tenant:acme/agent:${name}`,
          effective_until: "2100-01-01T00:00:00.500Z"
        }).body["policy_id"]
      )
    )
    server.admin("PATCH", `policies/${ids[1]}`, { status: "DISABLED" })
    const list = (query: string) => server.admin("GET", `policies?tenant_id=acme&${query}`)
    expect(columnOf(list("status=DISABLED"), "policies", "policy_id")).toEqual([ids[1]])
    expect(columnOf(list("scope_pattern=tenant:acme/agent:a"), "policies", "policy_id")).toEqual([ids[0]])
    expect(columnOf(list(""), "policies", "effective_until")).toEqual(Array(2).fill("2100-01-01T00:00:00.500Z"))
    expect(server.admin("GET", "policies").status).toBe(400)
  })
})
