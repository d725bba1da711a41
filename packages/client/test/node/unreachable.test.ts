/** Processes that are killed while the server is away. */
import { Fault } from "@effect-cycles/testing"
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

const program = join(import.meta.dirname, "spendAwayAndDie.ts")

describe("process killed while the server is away", () => {
  it.live.each<readonly [time: "after" | "during", journal: string]>([
    ["after", "journal"],
    ["after", "journal.sqlite"],
    ["during", "journal.sqlite"]
  ])(
    "leaves the spend of an allowed call to the next client, which charges it once: killed %s the call, %s",
    ([time, journal]) =>
      Effect.gen(function* () {
        const { apiKey, server, test, url } = yield* serveBridged
        const target = join(temporaryFolder(), journal)
        yield* test.always("any", Fault.connectionRefused)
        const child = spawn(process.execPath, [program, url, apiKey, target, time], {
          stdio: ["ignore", "ignore", "inherit"]
        })
        yield* Effect.promise(() => new Promise((resolve) => child.once("exit", resolve)))
        expect(child.signalCode).toBe("SIGKILL")
        expect((yield* server.books("TOKENS")).spent).toBe(0n)
        yield* test.clearFaults()
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
        expect((yield* server.books("TOKENS")).spent).toBe(42n)
      }).pipe(Effect.scoped),
    20_000
  )
})
