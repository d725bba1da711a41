/**
 * The schema of seed files.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Fs from "node:fs"
import { join } from "node:path"
import * as CyclesServer from "../src/CyclesServer.ts"
import { jsonSchema, parse } from "../src/internal/seedFile.ts"
import { checkSeed, seedTenants } from "../src/internal/seed.ts"

const published = join(import.meta.dirname, "../seed.schema.json")

const nowMs = 1_700_000_000_000

const failureOf = (run: () => unknown): unknown => {
  try {
    return run()
  } catch (error) {
    return error
  }
}

describe("jsonSchema", () => {
  it("equals seed.schema.json", () => {
    const text = `${JSON.stringify(jsonSchema(), null, 2)}\n`
    if (process.env["UPDATE_SEED_SCHEMA"] === "1") Fs.writeFileSync(published, text)
    expect(JSON.parse(Fs.readFileSync(published, "utf8"))).toEqual(JSON.parse(text))
  })

  it("describes every field", () => {
    const undescribed: Array<string> = []
    const visit = (value: unknown, path: string): void => {
      if (typeof value !== "object" || value === null) return
      for (const [name, field] of Object.entries(Object(Reflect.get(value, "properties")))) {
        if (typeof Object(field).description !== "string") undescribed.push(`${path}.${name}`)
        visit(field, `${path}.${name}`)
      }
      visit(Reflect.get(value, "items"), `${path}[]`)
      const members: unknown = Reflect.get(value, "anyOf")
      if (Array.isArray(members)) members.forEach((member) => visit(member, path))
    }
    visit(jsonSchema(), "")
    expect(undescribed).toEqual([".tenants"])
  })
})

describe("seedTenants", () => {
  it("applies keys, budgets with caps, and policies with all their fields", () => {
    const server = CyclesServer.makeServer()
    const tenants = parse(
      JSON.stringify({
        tenant: "acme",
        name: "Acme",
        keys: [
          { name: "k", permissions: ["balances:read"], scopeFilter: ["agent:*"], expiresAt: "2100-01-01T00:00:00Z" }
        ],
        budgets: [{ unit: "TOKENS", scope: "agent:A", allocated: 5, overdraftLimit: 2, caps: { max_tokens: 7 } }],
        policies: [
          {
            name: "p",
            scopePattern: "agent:*",
            description: "d",
            priority: 3,
            caps: { cooldown_ms: 1 },
            commitOveragePolicy: "REJECT",
            reservationTtl: { defaultTtlMs: 1_000, maxTtlMs: 2_000, maxExtensions: 1 },
            rateLimits: { maxReservationsPerMinute: 4, maxCommitsPerMinute: 5 },
            effectiveFrom: "2023-01-01T00:00:00Z",
            effectiveUntil: "2100-01-01T00:00:00Z"
          }
        ]
      })
    )
    expect(seedTenants(server, tenants, nowMs)).toMatchObject({
      tenants: 1,
      budgets: 1,
      policies: 1,
      keys: [{ name: "k" }]
    })
    const { store } = server
    expect(store.tenants.get("acme")?.name).toBe("Acme")
    expect(Array.from(store.keys.all())).toMatchObject([
      { permissions: ["balances:read"], scopeFilter: ["agent:*"], expiresAt: "2100-01-01T00:00:00Z" }
    ])
    expect(store.budgets.get("TOKENS tenant:acme/agent:a")).toMatchObject({
      allocated: 5n,
      overdraftLimit: 2n,
      caps: { max_tokens: 7 }
    })
    expect(Array.from(store.policies.all())).toMatchObject([
      {
        scopePattern: "tenant:acme/agent:*",
        priority: 3,
        caps: { cooldown_ms: 1 },
        overagePolicy: "REJECT",
        ttlOverride: { defaultTtlMs: 1_000, maxTtlMs: 2_000, maxExtensions: 1 },
        rateLimits: { maxReservationsPerMinute: 4, maxCommitsPerMinute: 5 },
        effectiveFrom: "2023-01-01T00:00:00Z"
      }
    ])
    expect(seedTenants(server, tenants, nowMs)).toEqual({ tenants: 0, keys: [], budgets: 0, policies: 0 })
  })

  it.each([
    ["a list in place of a tenant", '{"tenants":[[{"tenant":"acme","keys":[{"name":"k","secret":"SECRET"}]}]]}'],
    ["a text in place of a key", '{"tenant":"acme","keys":["SECRET"]}'],
    ["a text in place of the keys", '{"tenant":"acme","keys":"SECRET"}'],
    ["a secret as the name", '{"tenant":"acme","keys":[{"name":["SECRET"]}]}'],
    ["an invalid secret", '{"tenant":"acme","keys":[{"name":"k","secret":" SECRET"}]}'],
    ["a list in place of the file", '[{"tenant":"acme","keys":[{"name":"k","secret":"SECRET"}]}]'],
    ["broken JSON", '{"tenant":"acme","keys":[{"name":"k","secret":"SECRET"x}]}'],
    ["a text without an end", '{"tenant":"acme","keys":[{"name":"k","secret":"SECRET'],
    ["text after the end", '"SECRET" x']
  ])("doesn't show a secret in the error of %s", (_, text) => {
    const secret = "hidden-0123456789"
    const problem = failureOf(() => parse(text.replace("SECRET", secret)))
    expect(problem).toBeInstanceOf(RangeError)
    expect(String(problem)).not.toContain("hidden")
    expect(String(problem)).not.toContain("6789")
  })

  it("rejects a secret that two keys share, and a tenant that isn't active", () => {
    const secret = "cyc_live_0123456789abcdef"
    const keys = [
      { name: "a", secret },
      { name: "b", secret }
    ]
    expect(() => seedTenants(CyclesServer.makeServer(), [{ tenant: "acme", keys }], nowMs)).toThrow(
      /key b of tenant acme: its secret belongs to the key a of tenant acme$/
    )
    const server = CyclesServer.makeServer()
    seedTenants(server, [{ tenant: "acme" }], nowMs)
    const tenant = server.store.tenants.get("acme")
    if (tenant !== undefined) server.store.tenants.put({ ...tenant, status: "SUSPENDED" })
    expect(() => checkSeed(server, [{ tenant: "acme" }])).toThrow("tenant acme: it exists and is SUSPENDED")
  })
})
