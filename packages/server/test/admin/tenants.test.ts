/**
 * Tenants of the admin plane.
 */
import { describe, expect, it } from "@effect/vitest"
import { errorOf, columnOf, makeTestServer } from "../support/testServer.ts"

describe("tenants", () => {
  it("stores metadata values as strings, and rejects nested values", () => {
    const server = makeTestServer()
    const create = (more: object) => server.admin("POST", "tenants", { tenant_id: "new", name: "n", ...more })
    expect(create({ metadata: { a: { b: 1 } } }).status).toBe(400)
    expect(create({ metadata: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [i, "x"])) }).status).toBe(400)
    expect(create({ reservation_expiry_policy: "NEVER" }).status).toBe(400)
    expect(create({ name: " " }).status).toBe(400)
    expect(create({ max_reservation_extensions: 2_147_483_648 }).status).toBe(400)
    const { body, status } = create({ metadata: { a: 1, b: true }, reservation_expiry_policy: "GRACE_ONLY" })
    expect([status, body["metadata"], body["reservation_expiry_policy"]]).toEqual([
      201,
      { a: "1", b: "true" },
      "GRACE_ONLY"
    ])
    expect(server.admin("PATCH", "tenants/new", { reservation_expiry_policy: "GRACE_ONLY" }).status).toBe(400)
    expect(server.admin("PATCH", "tenants/new", { name: "" }).body["name"]).toBe("")
  })

  it("reports the latest suspension, and allows no transition from CLOSED", () => {
    const server = makeTestServer()
    const patch = (body: object) => {
      server.nowMs += 1_000
      return server.admin("PATCH", "tenants/acme", body)
    }
    const first = patch({ status: "SUSPENDED" })
    const second = patch({ status: "SUSPENDED" })
    expect(second.body["suspended_at"]).not.toBe(first.body["suspended_at"])
    expect(second.body["suspended_at"]).toBe(second.body["updated_at"])
    const closed = patch({ status: "CLOSED" })
    expect(patch({ status: "CLOSED", name: "again" })).toEqual(closed)
    expect(errorOf(patch({ status: "SUSPENDED" }))).toBe("400 INVALID_REQUEST")
    expect(patch({ name: "still" }).body).toMatchObject({ name: "still", closed_at: closed.body["closed_at"] })
  })

  it("lists the newest first by default, with other orders and filters by status, parent and search text", () => {
    const server = makeTestServer()
    for (const [id, parent] of [
      ["t-a", undefined],
      ["t-b", "acme"],
      ["t-c", "acme"]
    ]) {
      server.admin("POST", "tenants", { tenant_id: id, name: "same", parent_tenant_id: parent })
    }
    server.admin("PATCH", "tenants/t-c", { status: "SUSPENDED" })
    const list = (query: string) => {
      const response = server.admin("GET", `tenants?${query}`)
      return response.status === 200 ? columnOf(response, "tenants", "tenant_id") : response.status
    }
    expect(list("")).toEqual(["t-c", "t-b", "t-a", "acme"])
    expect(list("sort_by=name")).toEqual(["t-a", "t-b", "t-c", "acme"])
    expect(list("sort_dir=asc&limit=1&cursor=t-a")).toEqual(["t-b"])
    expect(list("status=SUSPENDED")).toEqual(["t-c"])
    expect(list("parent_tenant_id=acme")).toEqual(["t-c", "t-b"])
    expect(list("search=T-")).toEqual(["t-c", "t-b", "t-a"])
    expect([list("status=GONE"), list("sort_by=id"), list(`search=${"x".repeat(129)}`)]).toEqual([400, 400, 400])
  })
})
