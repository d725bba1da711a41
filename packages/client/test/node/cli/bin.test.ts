/** The program as a child process, and that it prints no secret. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { spawn } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { vi } from "vitest"
import * as Redact from "../../../src/node/internal/cli/redact.ts"
import { listen } from "../loopback.ts"
import { temporaryFolder } from "../support.ts"
import type { Env, Ran } from "./support.ts"
import { run, serve } from "./support.ts"

// A busy machine starts a process in seconds.
vi.setConfig({ testTimeout: 60_000 })

const bin = fileURLToPath(new URL("../../../src/node/bin.ts", import.meta.url))

/** Runs the program as a child process with an empty home folder. */
const runBin = (args: ReadonlyArray<string>, env: Env): Effect.Effect<Ran> =>
  Effect.callback((resume) => {
    const child = spawn(process.execPath, [bin, ...args], {
      env: { PATH: process.env["PATH"], HOME: temporaryFolder(), NODE_NO_WARNINGS: "1", ...env }
    })
    let out = ""
    let error = ""
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()))
    child.stderr.on("data", (chunk: Buffer) => (error += chunk.toString()))
    child.once("close", (code) => resume(Effect.succeed({ code: code ?? -1, out, error })))
  })

describe("the program effect-cycles", () => {
  it.live("checks a working server, and exits with 0", () =>
    Effect.gen(function* () {
      const { env } = yield* serve
      const ran = yield* runBin(["doctor"], env)
      expect({ code: ran.code, error: ran.error }).toEqual({ code: 0, error: "" })
      expect(ran.out).toMatch(/^ok +budgets +5000 TOKENS left$/m)
    })
  )

  it.live("exits with 1 if a check fails, and with 2 if the arguments are invalid", () =>
    Effect.gen(function* () {
      expect((yield* runBin(["doctor"], {})).code).toBe(1)
      expect((yield* runBin(["doctor", "--colour"], {})).code).toBe(2)
    })
  )

  it.live("prints its version, help and completions", () =>
    Effect.gen(function* () {
      const manifest: { readonly version: string } = JSON.parse(
        readFileSync(new URL("../../../package.json", import.meta.url), "utf8")
      )
      expect((yield* runBin(["--version"], {})).out).toContain(manifest.version)
      const help = yield* run("--help", {})
      for (const name of ["doctor", "journal", "balances", "reservations"]) expect(help.out).toContain(name)
      for (const path of ["doctor", "journal", "journal retry", "journal forget", "balances", "reservations"]) {
        const ran = yield* run(`${path} --help`, {})
        expect({ path, code: ran.code }).toEqual({ path, code: 0 })
        expect(ran.out).toContain(`effect-cycles ${path}`)
      }
      for (const shell of ["bash", "zsh", "fish"]) {
        expect((yield* run(`--completions ${shell}`, {})).out).toContain("doctor")
      }
    })
  )

  it.live("doesn't create files in the home folder", () =>
    Effect.gen(function* () {
      const home = temporaryFolder()
      const { env } = yield* serve
      for (const args of [["doctor"], ["journal", "list"], ["balances"]]) {
        expect((yield* runBin(args, { ...env, HOME: home })).code).toBe(0)
      }
      expect(existsSync(join(home, ".effect-cycles"))).toBe(false)
    })
  )
})

describe("secrets", () => {
  const secret = "s3cret/value+with=signs"

  it.live("are redacted in responses, arguments, addresses and logs", () =>
    Effect.gen(function* () {
      const { url } = yield* listen((outgoing) =>
        outgoing.writeHead(403, { "content-type": "application/json", "x-cycles-tenant": secret }).end(
          JSON.stringify({
            error: "FORBIDDEN",
            message: `${secret} ${encodeURIComponent(secret)} http://u:${secret}@host/`,
            request_id: secret
          })
        )
      )
      const env = { CYCLES_BASE_URL: url, CYCLES_API_KEY: secret, CYCLES_TENANT: "acme" }
      const withUser = { ...env, CYCLES_BASE_URL: `http://admin:${secret}@127.0.0.1:1/?token=${secret}` }
      for (const [args, variables] of [
        ["doctor", env],
        ["doctor --json", env],
        ["balances", env],
        ["reservations", env],
        ["doctor", withUser],
        ["balances", withUser],
        [`balances --base-url http://u:${secret}@127.0.0.1:1`, env],
        [`balances --tenant ${secret}`, env],
        [`doctor --api-key=${secret}`, env],
        [`journal forget ${secret}`, env],
        [secret, env]
      ] as const) {
        const ran = yield* run(`${args}`, { ...variables, HOME: temporaryFolder() })
        expect({ args, leaks: `${ran.out}${ran.error}`.includes("s3cret") }).toEqual({ args, leaks: false })
        expect(ran.code).not.toBe(0)
      }
    })
  )

  it("redacts a key that isn't in the environment by its form", () => {
    const redact = Redact.make({})
    expect(redact("Unrecognized argument: cyc_live_Eemh_BiuNBPpzB3EYGFx")).toBe("Unrecognized argument: <redacted>")
    expect(redact("proxy http://user:pass@proxy:3128/ failed")).toBe("proxy http://***@proxy:3128/ failed")
  })

  it.prop(
    "redacts a key anywhere in a text, also in JSON and in a query",
    {
      key: Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{8,40}$/)),
      before: Schema.String,
      after: Schema.String
    },
    ({ after, before, key }) => {
      const redact = Redact.make({ CYCLES_API_KEY: key })
      for (const form of [key, JSON.stringify(key), encodeURIComponent(key)]) {
        const rest = redact(`${before}${form}${after}`).replaceAll("<redacted>", "")
        for (const secret of [key, JSON.stringify(key).slice(1, -1), encodeURIComponent(key)]) {
          expect(rest).not.toContain(secret)
        }
      }
    },
    { timeout: 60_000 }
  )
})
