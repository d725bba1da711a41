#!/usr/bin/env node
/**
 * The command `cycles-server --port 7878 [--admin-port 7979] --admin-key K [--data FILE] [--host H]`.
 *
 * It exits with 0 on SIGINT or SIGTERM, with 1 if the data file can't be written, and with 2 if it can't start.
 */
import * as Effect from "effect/Effect"
import { parseArgs } from "node:util"
import * as NodeCyclesServer from "./NodeCyclesServer.ts"

const fail = (problem: string): never => {
  console.error(problem)
  process.exit(2)
}

const parsePort = (name: string, text: string | undefined): number | undefined => {
  if (text === undefined) return undefined
  const value = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  return value <= 65_535 ? value : fail(`--${name} must be a port from 0 to 65535, got ${text}`)
}

const parseOptions = () => {
  try {
    return parseArgs({
      options: {
        port: { type: "string", default: "7878" },
        "admin-port": { type: "string" },
        "admin-key": { type: "string", default: process.env["CYCLES_ADMIN_API_KEY"] ?? "" },
        host: { type: "string", default: "127.0.0.1" },
        data: { type: "string" }
      }
    }).values
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error))
  }
}

const options = parseOptions()
if (options["admin-key"] === "") fail("--admin-key or CYCLES_ADMIN_API_KEY is required: the key of the admin plane")

// A failed commit throws outside of any fiber. The pending responses are not sent. The file has the changes of all
// earlier responses.
process.once("uncaughtException", (error) => {
  console.error(`The Cycles server stopped: ${error.message}`)
  process.exit(1)
})

const program = Effect.gen(function* () {
  const running = yield* NodeCyclesServer.make({
    port: parsePort("port", options.port) ?? 7878,
    adminPort: parsePort("admin-port", options["admin-port"]),
    adminKey: options["admin-key"],
    host: options.host,
    data: options.data
  })
  if (options.host !== "127.0.0.1" && options.host !== "::1" && options.host !== "localhost") {
    console.log(
      `Warning: other machines can reach ${options.host}. Requests and keys are unencrypted unless a TLS proxy is in front`
    )
  }
  console.log(`listening on ${running.url} (pid ${process.pid})`)
  yield* Effect.callback<void>((resume) => {
    process.once("SIGINT", () => resume(Effect.void))
    process.once("SIGTERM", () => resume(Effect.void))
  })
})

Effect.runPromise(
  Effect.scoped(Effect.catchTag(program, "ServerError", (error) => Effect.sync(() => fail(error.message))))
).catch((error: unknown) => fail(String(error)))
