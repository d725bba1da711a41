/**
 * Runs the embedded server in a separate process: `embedded.ts [FOLDER]`, in memory, or with a data file in the folder. Each
 * `start` begins with an empty ledger.
 */
import * as NodeCyclesServer from "@effect-cycles/server/NodeCyclesServer"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import * as Child from "./child.ts"
import { tenant } from "./plain.ts"

const folder = process.argv[2]
const adminKey = randomUUID()
let scope = Scope.makeUnsafe()

const start = async (): Promise<Child.Address> => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  scope = Scope.makeUnsafe()
  const data = folder === undefined ? undefined : join(folder, `${randomUUID()}.sqlite`)
  const { adminUrl, url } = await Effect.runPromise(
    Scope.provide(NodeCyclesServer.make({ port: 0, adminKey, data }), scope)
  )
  const ask = async (path: string, body: object): Promise<unknown> => {
    const response = await fetch(adminUrl + path, {
      method: "POST",
      headers: { "x-admin-api-key": adminKey, "content-type": "application/json" },
      body: JSON.stringify(body)
    })
    if (!response.ok) throw new Error(`${path} returned ${response.status}: ${await response.text()}`)
    return response.json()
  }
  await ask("/v1/admin/tenants", { tenant_id: tenant, name: tenant })
  const key = await ask("/v1/admin/api-keys", { tenant_id: tenant, name: "bench" })
  await ask("/v1/admin/budgets", {
    tenant_id: tenant,
    scope: `tenant:${tenant}`,
    unit: "TOKENS",
    allocated: { unit: "TOKENS", amount: 1_000_000_000_000 }
  })
  return { url, apiKey: Schema.decodeUnknownSync(Key)(key).key_secret }
}

const Key = Schema.Struct({ key_secret: Schema.String })

Child.serve(Schema.Struct({ _tag: Schema.Literals(["start", "usage"]) }), async (request) =>
  request._tag === "start" ? start() : Child.usage()
)
