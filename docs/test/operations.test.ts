/**
 * The guide to operations shows what the program prints, and lists all that it has.
 */
import { NodeCyclesServer } from "@effect-cycles/server"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { JournalSqlite } from "effect-cycles/node"
import { SettlementJournal } from "effect-cycles"
import { checks } from "../../packages/client/src/node/internal/cli/doctor/finding.ts"
import * as Main from "../../packages/client/src/node/internal/cli/main.ts"

const page = readFileSync(join(import.meta.dirname, "../guide/10-operations.md"), "utf8")

/** The output that the guide shows for a command. */
const sample = (command: string): string => {
  const start = page.indexOf(`$ ${command}\n`)
  expect(start).toBeGreaterThan(0)
  return page.slice(start + command.length + 3, page.indexOf("```", start))
}

const run = (args: string, env: Readonly<Record<string, string>>) =>
  Effect.gen(function* () {
    let out = ""
    const add = (text: string): void => {
      out += text
    }
    yield* Main.run({ args: args.split(" "), env, version: "0", writer: { out: add, error: add } })
    return out
  })

/** A server with the tenant and the budgets of the guide, and the variables for it. */
const serve = Effect.gen(function* () {
  const { url } = yield* NodeCyclesServer.make({ port: 0, adminKey: "admin" })
  const post = (path: string, body: object) =>
    Effect.promise(async (): Promise<{ readonly key_secret?: string }> => {
      const response = await fetch(`${url}/v1/admin/${path}`, {
        method: "POST",
        headers: { "x-admin-api-key": "admin", "content-type": "application/json" },
        body: JSON.stringify(body)
      })
      return JSON.parse(await response.text())
    })
  yield* post("tenants", { tenant_id: "acme", name: "acme" })
  const { key_secret } = yield* post("api-keys", { tenant_id: "acme", name: "guide" })
  const unit = "TOKENS"
  yield* post("budgets", { tenant_id: "acme", scope: "tenant:acme", unit, allocated: { unit, amount: 5_000 } })
  const planner = "tenant:acme/agent:planner"
  yield* post("budgets", { tenant_id: "acme", scope: planner, unit, allocated: { unit, amount: 1_000 } })
  return { CYCLES_BASE_URL: url, CYCLES_API_KEY: key_secret ?? "", CYCLES_TENANT: "acme" }
})

const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-cycles-guide-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const normalize = (text: string): string =>
  text.replaceAll(/http:\/\/127\.0\.0\.1:\d+/g, "URL").replaceAll(/in \d+ ms/g, "in N ms")

describe("the guide to operations", () => {
  it("lists the checks of the doctor and the commands", () => {
    for (const check of checks) expect(page).toContain(`| \`${check}\` `)
    for (const command of ["doctor", "balances", "reservations", "list", "export", "retry", "forget"]) {
      expect(page).toMatch(new RegExp(`\\| \\[\`(journal )?${command}\`\\]`))
    }
  })

  it.effect("names flags that exist", () =>
    Effect.gen(function* () {
      const help = (yield* Effect.forEach(
        ["doctor", "balances", "reservations", "journal list", "journal export", "journal retry", "journal forget"],
        (command) => run(`${command} --help`, {})
      )).join("\n")
      for (const [flag] of page.matchAll(/--[a-z][a-z-]*/g)) expect(help).toContain(flag)
    })
  )

  it.live("shows what the doctor prints", () =>
    Effect.gen(function* () {
      const env = yield* serve
      const folder = yield* temporaryFolder
      const journal = join(folder, "journal.sqlite")
      yield* Effect.flatMap(SettlementJournal.SettlementJournal, (store) =>
        Effect.flatMap(store.open({ baseUrl: "http://localhost", fingerprint: "f" }), ({ adoptOpen }) => adoptOpen)
      ).pipe(Effect.provide(JournalSqlite.layer({ filename: journal })))
      const printed = yield* run(`doctor --agent planner --journal ${journal}`, env)
      expect(normalize(printed).replaceAll(folder, "/data")).toBe(
        normalize(sample("effect-cycles doctor --agent planner"))
      )
      const wrong = yield* run(`doctor --tenant globex --journal ${journal}`, env)
      expect(wrong).toContain(sample("effect-cycles doctor --tenant globex").replace("...\n", ""))
    })
  )
})
