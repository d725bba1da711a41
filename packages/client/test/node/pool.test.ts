/** Processes that are killed while calls draw on a pool. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { join } from "node:path"
import { serveBridged } from "../support/bridge.ts"
import { flushTwice, runKilled } from "./killed.ts"
import { temporaryFolder } from "./support.ts"

/** The processes that are killed for each journal: a share of `CYCLES_CRASH_KILLS`, at least 2. */
const kills = Math.max(2, Math.round(Number(process.env["CYCLES_CRASH_KILLS"] ?? 0) / 4))

/** The sum of the costs that a process has printed after a word. */
const sumOf = (output: string, word: string) =>
  output
    .split("\n")
    .map((line) => line.split(" "))
    .reduce((total, [name, cost]) => total + (name === word ? Number(cost) : 0), 0)

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
          const output = yield* runKilled(
            "poolAndDie.ts",
            url,
            apiKey,
            target,
            durability,
            String((durability === "memory" ? 800 : 40) + ((round * 53) % 120))
          )
          yield* flushTwice(url, apiKey, target)
          // A block whose response was lost in the kill stays reserved until its lease ends.
          const { spent } = yield* server.books("TOKENS")
          const charged = Number(spent - before)
          // A call may be in the journal before it has returned. With `memory`, it may return before that.
          expect(charged).toBeLessThanOrEqual(sumOf(output, "began"))
          expect(charged).toBeGreaterThan(0)
          if (durability === "journal") expect(charged).toBeGreaterThanOrEqual(sumOf(output, "returned"))
        }
      }).pipe(Effect.scoped),
    60_000 + kills * 10_000
  )
})
