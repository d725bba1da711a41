/** Runs the program in this process, and a Cycles server on a port for it. */
import { NodeCyclesServer } from "@effect-cycles/server"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { join } from "node:path"
import type { Finding } from "../../../src/node/internal/cli/doctor/finding.ts"
import * as Main from "../../../src/node/internal/cli/main.ts"
import { temporaryFolder } from "../support.ts"

export interface Ran {
  readonly code: number
  readonly out: string
  readonly error: string
}

/** Variables by name. */
export type Env = Readonly<Record<string, string>>

/** Runs the program with arguments and variables. */
export const run = (args: string | ReadonlyArray<string>, env: Env): Effect.Effect<Ran> =>
  Effect.suspend(() => {
    let out = ""
    let error = ""
    return Effect.map(
      Main.run({
        args: typeof args === "string" ? args.split(" ") : args,
        env,
        version: "1.2.3",
        writer: {
          out: (text) => {
            out += text
          },
          error: (text) => {
            error += text
          }
        }
      }),
      (code) => ({ code, out, error })
    )
  })

/** Runs the doctor. Its journal is a file that doesn't exist, unless the arguments name one. */
export const doctor = (env: Env, ...args: ReadonlyArray<string>) =>
  Effect.map(
    run(
      [
        "doctor",
        "--json",
        ...(args.includes("--journal") ? [] : ["--journal", join(temporaryFolder(), "j.sqlite")]),
        ...args
      ],
      env
    ),
    (ran) => {
      const report: { readonly ok: boolean; readonly findings: ReadonlyArray<Finding> } = JSON.parse(ran.out)
      return {
        ...ran,
        ok: report.ok,
        of: (check: string): ReadonlyArray<Finding> => report.findings.filter((finding) => finding.check === check)
      }
    }
  )

const adminKey = "admin-key-of-the-test"

/** A server with the tenants `acme` and `globex`. */
export interface Server {
  readonly url: string
  /** The variables of a client of `acme`. */
  readonly env: Env
  /** A key of `globex`. */
  readonly otherKey: string
  /** Sends a request to the admin plane. */
  readonly admin: (method: string, path: string, body?: object) => Effect.Effect<Readonly<Record<string, unknown>>>
}

/** Starts a server. `acme` has 5,000 tokens, and 1,000 tokens for its agent `planner`. */
export const serve: Effect.Effect<Server, NodeCyclesServer.ServerError, Scope.Scope> = Effect.gen(function* () {
  const { url } = yield* NodeCyclesServer.make({ port: 0, adminKey })
  const admin: Server["admin"] = (method, path, body) =>
    Effect.promise(async () => {
      const response = await fetch(`${url}/v1/admin/${path}`, {
        method,
        headers: { "x-admin-api-key": adminKey, "content-type": "application/json" },
        ...(body === undefined ? undefined : { body: JSON.stringify(body) })
      })
      const json: unknown = await response.json()
      if (!response.ok) throw new Error(JSON.stringify(json))
      return { ...(typeof json === "object" ? json : undefined) }
    })
  const keys: Array<string> = []
  for (const tenant of ["acme", "globex"]) {
    yield* admin("POST", "tenants", { tenant_id: tenant, name: tenant })
    keys.push(String((yield* admin("POST", "api-keys", { tenant_id: tenant, name: "test" }))["key_secret"]))
  }
  const [key = "", otherKey = ""] = keys
  for (const [scope, amount] of [
    ["tenant:acme", 5_000],
    ["tenant:acme/agent:planner", 1_000]
  ] as const) {
    const unit = "TOKENS"
    yield* admin("POST", "budgets", { tenant_id: "acme", scope, unit, allocated: { unit, amount } })
  }
  return { url, env: { CYCLES_BASE_URL: url, CYCLES_API_KEY: key, CYCLES_TENANT: "acme" }, otherKey, admin }
})
