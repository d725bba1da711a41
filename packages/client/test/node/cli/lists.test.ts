/** `effect-cycles balances` and `effect-cycles reservations`, and invalid arguments of all commands. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Cycles, SettlementJournal } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import { vi } from "vitest"
import { action, tokens } from "../../support/live.ts"
import { refusingUrl } from "../loopback.ts"
import type { Server } from "./support.ts"
import { run, serve } from "./support.ts"

// Real I/O is slow on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

/** One guarded call that commits 7 tokens, and one that releases its estimate. */
const spend = ({ env, url }: Server) =>
  Effect.gen(function* () {
    yield* Cycles.withCycles(Effect.void, { action, estimate: tokens(10), actual: tokens(7) })
    yield* Effect.ignore(
      Cycles.withCycles(Effect.fail("no"), { action, estimate: tokens(10), subject: { agent: "planner" } })
    )
  }).pipe(
    Effect.provide(
      NodeCycles.layer(
        { baseUrl: url, apiKey: Redacted.make(env["CYCLES_API_KEY"] ?? ""), subject: { tenant: "acme" } },
        { journal: SettlementJournal.layerMemory }
      )
    )
  )

const rowsOf = (out: string): ReadonlyArray<ReadonlyArray<string>> =>
  out
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => line.split(/ {2,}/))

describe("effect-cycles balances", () => {
  it.live("prints the budgets of the subject and those below it", () =>
    Effect.gen(function* () {
      const server = yield* serve
      yield* spend(server)
      const { code, out } = yield* run("balances", server.env)
      expect(code).toBe(0)
      expect(rowsOf(out)).toEqual([
        ["tenant:acme", "5000 TOKENS", "7 TOKENS", "0 TOKENS", "-", "4993 TOKENS"],
        ["tenant:acme/agent:planner", "1000 TOKENS", "0 TOKENS", "0 TOKENS", "-", "1000 TOKENS"]
      ])
      expect(rowsOf((yield* run("balances --agent planner", server.env)).out)).toHaveLength(1)
    })
  )

  it.live("prints JSON with the names of the protocol", () =>
    Effect.gen(function* () {
      const server = yield* serve
      const { out } = yield* run("balances --json --limit 1", server.env)
      expect(JSON.parse(out)).toMatchObject([
        { scope_path: "tenant:acme", remaining: { unit: "TOKENS", amount: 5_000 } }
      ])
    })
  )

  it.live("fails without a subject, for a wrong tenant and for a server that is down", () =>
    Effect.gen(function* () {
      const { env } = yield* serve
      const { CYCLES_TENANT: _, ...rest } = env
      const cases = [
        [yield* run("balances", rest), "Pass --tenant, or set CYCLES_TENANT."],
        [yield* run("balances --tenant globex", env), "403 FORBIDDEN"],
        [yield* run(["balances", "--base-url", yield* refusingUrl], env), "ECONNREFUSED"],
        [yield* run("balances", {}), "CYCLES_BASE_URL is not set"]
      ] as const
      for (const [ran, expected] of cases) {
        expect(ran.code).toBe(1)
        expect(ran.out).toBe("")
        expect(ran.error).toContain(expected)
        expect(ran.error).not.toMatch(/\n +at /)
      }
    })
  )
})

describe("effect-cycles reservations", () => {
  it.live("prints the newest first, filtered by the fields of the API", () =>
    Effect.gen(function* () {
      const server = yield* serve
      yield* spend(server)
      const statuses = (args: string) =>
        Effect.map(run(`reservations ${args}`, server.env), ({ out }) => rowsOf(out).map((row) => row[1]))
      expect(yield* statuses("--sort-by created_at_ms")).toHaveLength(2)
      expect(yield* statuses("--status committed")).toEqual(["COMMITTED"])
      expect(yield* statuses("--agent planner")).toEqual(["RELEASED"])
      expect(yield* statuses("--from 2020-01-01T00:00:00Z --to 2020-01-02T00:00:00Z")).toEqual([])
      expect(yield* statuses("--finalized-from 2020-01-01T00:00:00Z --sort-by status --sort-dir asc")).toEqual([
        "COMMITTED",
        "RELEASED"
      ])
      const { out } = yield* run("reservations --status COMMITTED", server.env)
      expect(rowsOf(out)[0]?.slice(1, 4)).toEqual(["COMMITTED", "10 TOKENS", "7 TOKENS"])
      expect(out).toContain("llm.completion openai:gpt-5")
    })
  )

  it.live("prints at most --limit rows, and whether there are more", () =>
    Effect.gen(function* () {
      const server = yield* serve
      yield* spend(server)
      const { out } = yield* run("reservations --limit 1", server.env)
      expect(out).toContain("There are more reservations: pass a larger --limit.")
      expect(JSON.parse((yield* run("reservations --limit 1 --json", server.env)).out)).toHaveLength(1)
    })
  )
})

describe("effect-cycles", () => {
  it.live.each([
    "reservations --from yesterday",
    "reservations --limit 0",
    "reservations --sort-by colour",
    "reservations --tenant a/b",
    "journal forget",
    "doctor extra",
    "nonsense"
  ])("rejects the arguments %s with exit code 2", (args) =>
    Effect.gen(function* () {
      const ran = yield* run(args, { CYCLES_BASE_URL: "http://127.0.0.1:1", CYCLES_API_KEY: "k" })
      expect(ran.code).toBe(2)
      expect(ran.out).toBe("")
      expect(ran.error).toContain("--help shows the arguments.")
    })
  )
})
