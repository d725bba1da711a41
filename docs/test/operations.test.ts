/**
 * The guide to operations shows what the program prints, and lists its commands, flags and checks.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { JournalSqlite } from "effect-cycles/node"
import { SettlementJournal } from "effect-cycles"
import { checks } from "../../packages/client/src/node/internal/cli/doctor/finding.ts"
import { run, serve } from "../../packages/client/test/node/cli/support.ts"
import { temporaryFolder } from "../../packages/client/test/node/support.ts"

const page = readFileSync(join(import.meta.dirname, "../guide/10-operations.md"), "utf8")

/** The output that the guide shows for a command. */
const sample = (command: string): string => {
  const start = page.indexOf(`$ ${command}\n`)
  expect(start).toBeGreaterThan(0)
  return page.slice(start + command.length + 3, page.indexOf("```", start))
}

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
        (command) => Effect.map(run(`${command} --help`, {}), ({ out }) => out)
      )).join("\n")
      for (const [flag] of page.matchAll(/--[a-z][a-z-]*/g)) expect(help).toContain(flag)
    })
  )

  it.live("shows what the doctor prints", () =>
    Effect.gen(function* () {
      const { env } = yield* serve
      const folder = temporaryFolder()
      const journal = join(folder, "journal.sqlite")
      yield* Effect.flatMap(SettlementJournal.SettlementJournal, (store) =>
        Effect.flatMap(store.open({ baseUrl: "http://localhost", fingerprint: "f" }), ({ adoptOpen }) => adoptOpen)
      ).pipe(Effect.provide(JournalSqlite.layer({ filename: journal })))
      const { out } = yield* run(`doctor --agent planner --journal ${journal}`, env)
      expect(normalize(out).replaceAll(folder, "/data")).toBe(normalize(sample("effect-cycles doctor --agent planner")))
      const wrong = yield* run(`doctor --tenant globex --journal ${journal}`, env)
      expect(wrong.out).toContain(sample("effect-cycles doctor --tenant globex").replace("...\n", ""))
    })
  )
})
