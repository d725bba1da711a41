/**
 * `pnpm differential --a URL --b URL --seed N [--requests N] [--admin-a URL] [--admin-b URL] [--reference]`: compares
 * two servers.
 *
 * The admin keys are in CYCLES_ADMIN_API_KEY, or CYCLES_ADMIN_API_KEY_A and CYCLES_ADMIN_API_KEY_B. Without `--admin-a`
 * the admin plane has the same URL. The servers keep the tenants that it makes. The exit code is 1 if there is a
 * difference.
 */
import * as Effect from "effect/Effect"
import { parseArgs } from "node:util"
import * as Differential from "../Differential.ts"

const { values } = parseArgs({
  options: {
    a: { type: "string" },
    b: { type: "string" },
    "admin-a": { type: "string" },
    "admin-b": { type: "string" },
    seed: { type: "string", default: String(Date.now() % 1_000_000_000) },
    requests: { type: "string", default: "10000" },
    reference: { type: "boolean", default: false }
  }
})

const keyOf = (name: string): string | undefined => process.env[name] ?? process.env["CYCLES_ADMIN_API_KEY"]

const targetOf = (
  url: string | undefined,
  adminUrl: string | undefined,
  adminKey: string | undefined
): Differential.Target | undefined =>
  url === undefined || adminKey === undefined
    ? undefined
    : { url: url.replace(/\/+$/, ""), adminUrl: (adminUrl ?? url).replace(/\/+$/, ""), adminKey }

const a = targetOf(values.a, values["admin-a"], keyOf("CYCLES_ADMIN_API_KEY_A"))
const b = targetOf(values.b, values["admin-b"], keyOf("CYCLES_ADMIN_API_KEY_B"))
const seed = Number(values.seed)
const requests = Number(values.requests)

if (a === undefined || b === undefined || !Number.isSafeInteger(seed) || !(requests > 0)) {
  console.error("differential needs --a URL, --b URL, an integer for --seed, and CYCLES_ADMIN_API_KEY")
  process.exitCode = 2
} else {
  console.log(`seed ${seed}`)
  const report = await Effect.runPromise(Differential.run({ a, b, seed, requests, isReference: values.reference }))
  for (const [reason, count] of report.known) console.log(`known, ${count} times: ${reason}`)
  console.log(`${report.requests} requests to each server: ${report.failure ?? "no difference"}`)
  process.exitCode = report.failure === undefined ? 0 : 1
}
