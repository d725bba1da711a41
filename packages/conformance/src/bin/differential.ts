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
import { integer, parsed, refuse } from "../internal/arguments.ts"

const usage = `Usage: pnpm differential --a URL --b URL [--seed N] [--requests N] [--admin-a URL] [--admin-b URL] [--reference]

  --a URL, --b URL              the servers to compare
  --admin-a URL, --admin-b URL  their admin planes. Default: the same URLs
  --seed N                      an integer from 0; the same seed repeats the same requests. Default: random
  --requests N                  the number of requests to each server. Default: 10000
  --reference                   one of them is the reference server: don't report its known differences

The admin keys are in CYCLES_ADMIN_API_KEY, or in CYCLES_ADMIN_API_KEY_A and CYCLES_ADMIN_API_KEY_B. The servers keep the
tenants that it makes. The first difference is shrunk and printed; the exit code is 1 then.`

const { values } = parsed(usage, (args) =>
  parseArgs({
    args,
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
)

const urlOf = (name: string, url: string | undefined): string => {
  if (url === undefined) return refuse(usage, `--${name} is missing`)
  if (!URL.canParse(url) || !url.startsWith("http")) return refuse(usage, `--${name} must be an http URL, got ${url}`)
  return url.replace(/\/+$/, "")
}

const targetOf = (name: "a" | "b"): Differential.Target => {
  const url = urlOf(name, values[name])
  const variable = `CYCLES_ADMIN_API_KEY_${name.toUpperCase()}`
  const adminKey = process.env[variable] ?? process.env["CYCLES_ADMIN_API_KEY"]
  if (adminKey === undefined) return refuse(usage, `CYCLES_ADMIN_API_KEY, or ${variable}, is missing`)
  return { url, adminUrl: urlOf(`admin-${name}`, values[`admin-${name}`] ?? url), adminKey }
}

const causeOf = (error: unknown): string =>
  String(error instanceof Error && error.cause instanceof Error ? error.cause.message : error)

const a = targetOf("a")
const b = targetOf("b")
const seed = integer(usage, "seed", values.seed, 0)
const requests = integer(usage, "requests", values.requests, 1)

console.log(`seed ${seed}`)
for (const { adminUrl, url } of [a, b]) {
  for (const one of new Set([url, adminUrl])) {
    await fetch(one).catch((error: unknown) => refuse(usage, `${one} can't be reached: ${causeOf(error)}`))
  }
}
const report = await Effect.runPromise(Differential.run({ a, b, seed, requests, isReference: values.reference }))
for (const [reason, count] of report.known) console.log(`known, ${count} times: ${reason}`)
console.log(`${report.requests} requests to each server: ${report.failure ?? "no difference"}`)
process.exitCode = report.failure === undefined ? 0 : 1
