/** Processes that are killed while calls draw on a pool. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Cycles } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import { spawn } from "node:child_process"
import { join } from "node:path"
import { serveBridged } from "../support/bridge.ts"
import { journalAt } from "./records.ts"
import { temporaryFolder } from "./support.ts"

const program = join(import.meta.dirname, "poolAndDie.ts")

/** The processes that are killed for each journal: a share of `CYCLES_CRASH_KILLS`, at least 2. */
const kills = Math.max(2, Math.round(Number(process.env["CYCLES_CRASH_KILLS"] ?? 0) / 4))

/** Runs a process to its end, and returns the sums of its calls: begun, and returned. */
const sumsOf = (args: ReadonlyArray<string>) =>
  Effect.promise(
    () =>
      new Promise<{ readonly began: number; readonly returned: number; readonly signal: string | null }>((resolve) => {
        const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "inherit"] })
        let text = ""
        child.stdout.on("data", (chunk) => (text += String(chunk)))
        child.once("close", (_, signal) => {
          const sum = (step: string) =>
            text
              .split("\n")
              .map((line) => line.split(" "))
              .reduce((total, [name, cost]) => total + (name === step ? Number(cost) : 0), 0)
          resolve({ began: sum("began"), returned: sum("returned"), signal })
        })
      })
  )

describe("process killed while calls draw on a pool", () => {
  it.live.each<readonly [durability: "journal" | "memory", journal: string]>([
    ["journal", "journal"],
    ["journal", "journal.sqlite"],
    ["memory", "journal"],
    ["memory", "journal.sqlite"]
  ])(
    "leaves the spend to the next client, which charges it once: durability %s, %s",
    ([durability, journal]) =>
      Effect.gen(function* () {
        const { apiKey, server, url } = yield* serveBridged
        const target = join(temporaryFolder(), journal)
        for (let round = 0; round < kills; round++) {
          const before = (yield* server.books("TOKENS")).spent
          const { began, returned, signal } = yield* sumsOf([
            url,
            apiKey,
            target,
            durability,
            String((durability === "memory" ? 800 : 40) + ((round * 53) % 120))
          ])
          expect(signal).toBe("SIGKILL")
          for (let i = 0; i < 2; i++) {
            const layer = NodeCycles.layer(
              { baseUrl: url, apiKey: Redacted.make(apiKey), subject: { tenant: "acme" } },
              { journal: journalAt(target) }
            )
            expect(yield* Effect.provide(Cycles.flush(), layer, { local: true })).toEqual({
              isComplete: true,
              pending: 0
            })
          }
          // A block whose response was lost in the kill stays reserved until its lease ends.
          const { spent } = yield* server.books("TOKENS")
          const charged = Number(spent - before)
          // A call may be in the journal before it has returned. With `memory`, it may return before that.
          expect(charged).toBeLessThanOrEqual(began)
          expect(charged).toBeGreaterThan(0)
          if (durability === "journal") expect(charged).toBeGreaterThanOrEqual(returned)
        }
      }).pipe(Effect.scoped),
    60_000 + kills * 10_000
  )
})
