/** The parts of the administrator's API that the suites need: tenants, keys and budgets. */
import * as Json from "@effect-cycles/protocol/Json"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"

/** The administrator's API of a server. */
export interface Admin {
  readonly url: string
  readonly key: Redacted.Redacted
}

/** Sends a request to the administrator's API. An error response is a defect that contains its text. */
export const send = (
  admin: Admin,
  method: "GET" | "POST" | "PATCH",
  path: string,
  body?: object
): Effect.Effect<Readonly<Record<string, unknown>>> =>
  Effect.promise(async (signal) => {
    const response = await fetch(`${admin.url}/v1/admin${path}`, {
      method,
      signal,
      headers: { "content-type": "application/json", "x-admin-api-key": Redacted.value(admin.key) },
      ...(body === undefined ? undefined : { body: Json.stringify(body) })
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path} returned ${response.status}: ${text}`)
    return Object(JSON.parse(text))
  })

/** Makes a tenant. Returns a key with the permissions of the runtime API. */
export const makeTenant = (admin: Admin, tenant: string, options?: object): Effect.Effect<Redacted.Redacted> =>
  Effect.gen(function* () {
    yield* send(admin, "POST", "/tenants", { tenant_id: tenant, name: tenant, ...options })
    const key = yield* send(admin, "POST", "/api-keys", { tenant_id: tenant, name: "suite" })
    return Redacted.make(String(key["key_secret"]))
  })

/** Makes a budget of tokens. `scope` is relative to the tenant; empty for the tenant itself. */
export const makeBudget = (
  admin: Admin,
  tenant: string,
  scope: string,
  allocated: number | bigint,
  overdraftLimit: number | bigint = 0
): Effect.Effect<void> =>
  Effect.asVoid(
    send(admin, "POST", "/budgets", {
      tenant_id: tenant,
      scope: `tenant:${tenant}${scope === "" ? "" : `/${scope}`}`,
      unit: "TOKENS",
      allocated: { unit: "TOKENS", amount: allocated },
      overdraft_limit: { unit: "TOKENS", amount: overdraftLimit }
    })
  )
