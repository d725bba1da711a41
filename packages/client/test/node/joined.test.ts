/** Processes that are killed while guarded calls draw on the reservation of a run or of a guard. */
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

const program = join(import.meta.dirname, "joinAndDie.ts")

describe("process killed while calls draw on a reservation", () => {
  it.live.each<readonly [lender: "run" | "guard", journal: string]>([
    ["run", "journal"],
    ["run", "journal.sqlite"],
    ["guard", "journal.sqlite"]
  ])(
    "leaves the drawn and the recorded spend to the next client, which commits it once: %s, %s",
    ([lender, journal]) =>
      Effect.gen(function* () {
        const { apiKey, server, url } = yield* serveBridged
        const target = join(temporaryFolder(), journal)
        const child = spawn(process.execPath, [program, url, apiKey, target, lender], {
          stdio: ["ignore", "ignore", "inherit"]
        })
        yield* Effect.promise(() => new Promise((resolve) => child.once("exit", resolve)))
        expect(child.signalCode).toBe("SIGKILL")
        expect(yield* server.books("TOKENS")).toMatchObject({ spent: 0n, reserved: 500n })
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
        expect(yield* server.books("TOKENS")).toMatchObject({ spent: 70n, reserved: 0n })
      }).pipe(Effect.scoped),
    20_000
  )
})
