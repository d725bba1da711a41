/**
 * `pnpm --silent habit-server [--port P] [--budget N] [--closing announced|abrupt] [--key-check-ms N]
 * [--slow-read-ms N]`
 *
 * Prints one line of JSON: address, tenant and key, with a budget of N tokens; then serves until SIGINT or SIGTERM.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { parseArgs } from "node:util"
import { runUntilSignal } from "../internal/untilSignal.ts"
import * as QuirkServer from "../QuirkServer.ts"

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "7878" },
    budget: { type: "string", default: "1000000000" },
    closing: { type: "string", default: "announced" },
    "key-check-ms": { type: "string", default: "265" },
    "slow-read-ms": { type: "string", default: "1000" }
  }
})

const program = Effect.gen(function* () {
  const { server, url } = yield* QuirkServer.make({
    port: Number(values.port),
    budgets: [{ unit: "TOKENS", allocated: BigInt(values.budget) }],
    closing: values.closing === "abrupt" ? "abrupt" : "announced",
    keyCheckMs: Number(values["key-check-ms"]),
    slowReadMs: Number(values["slow-read-ms"])
  })
  const apiKey = Redacted.value(server.apiKey)
  console.log(JSON.stringify({ baseUrl: url, tenant: server.tenant, apiKey, pid: process.pid }))
})

runUntilSignal(program)
