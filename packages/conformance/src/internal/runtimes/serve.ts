/**
 * An embedded server on a free port, with the tenant `acme` and a budget of 10,000 tokens.
 */
import * as NodeCyclesServer from "@effect-cycles/server/NodeCyclesServer"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"

/** Starts the server in a scope, and returns the configuration of a client. */
export const serve = Effect.gen(function* () {
  const adminKey = crypto.randomUUID()
  const { adminUrl, url } = yield* NodeCyclesServer.make({ port: 0, adminKey })
  const admin = (path: string, body: object) =>
    Effect.promise(async (): Promise<{ readonly [name: string]: unknown }> => {
      const response = await fetch(adminUrl + path, {
        method: "POST",
        headers: { "content-type": "application/json", "x-admin-api-key": adminKey },
        body: JSON.stringify(body)
      })
      if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
      return Object(await response.json())
    })
  yield* admin("/v1/admin/tenants", { tenant_id: "acme", name: "Acme" })
  const key = yield* admin("/v1/admin/api-keys", { tenant_id: "acme", name: "agent" })
  yield* admin("/v1/admin/budgets", {
    tenant_id: "acme",
    scope: "tenant:acme",
    unit: "TOKENS",
    allocated: { unit: "TOKENS", amount: 10_000 }
  })
  return { baseUrl: url, apiKey: Redacted.make(String(key["key_secret"])), subject: { tenant: "acme" } }
})
