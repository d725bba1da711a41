/** Processes that kill themselves, and the clients that find their journal afterwards. */
import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Cycles } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import { spawn } from "node:child_process"
import { join } from "node:path"
import { journalAt } from "./records.ts"

/** Runs a program of this folder until it kills itself, and returns its standard output. */
export const runKilled = (program: string, ...args: ReadonlyArray<string>): Effect.Effect<string> =>
  Effect.promise(
    () =>
      new Promise<{ readonly output: string; readonly signal: string | null }>((resolve) => {
        const child = spawn(process.execPath, [join(import.meta.dirname, program), ...args], {
          stdio: ["ignore", "pipe", "inherit"]
        })
        let output = ""
        child.stdout.on("data", (chunk) => (output += String(chunk)))
        child.once("close", (_, signal) => resolve({ output, signal }))
      })
  ).pipe(
    Effect.map(({ output, signal }) => {
      expect(signal).toBe("SIGKILL")
      return output
    })
  )

/** Expects that each of two clients, one after the other, settles everything in a journal. */
export const flushTwice = (baseUrl: string, apiKey: string, target: string): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (let i = 0; i < 2; i++) {
      const layer = NodeCycles.layer(
        { baseUrl, apiKey: Redacted.make(apiKey), subject: { tenant: "acme" } },
        { journal: journalAt(target) }
      )
      expect(yield* Effect.provide(Cycles.flush(), layer, { local: true })).toEqual({ isComplete: true, pending: 0 })
    }
  })
