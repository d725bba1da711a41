/**
 * The programs of the guide to runs do what the guide says.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { CyclesTest } from "@effect-cycles/testing"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type { Cycles } from "effect-cycles"
import { afterAll, describe, expect, it } from "vitest"
import { blocksOf } from "../../scripts/docs.ts"

const guide = readFileSync(join(import.meta.dirname, "../guide/18-runs.md"), "utf8")

// Below this folder, so that imports resolve as in a guide. The guide to testing has its own folder.
const folder = join(import.meta.dirname, "runs/build")

mkdirSync(folder, { recursive: true })

afterAll(() => rmSync(join(import.meta.dirname, "runs"), { recursive: true, force: true }))

const live = CyclesTest.layer({
  budgets: [
    { unit: "USD_MICROCENTS", allocated: 1_000_000_000 },
    { unit: "CREDITS", allocated: 1_000 }
  ]
})

/** Runs the program that a code block exports. Returns its result and what it prints. */
const run = async (code: string, name: string) => {
  const file = join(folder, `${name}.ts`)
  writeFileSync(file, code)
  const { program }: { program: Effect.Effect<unknown, unknown, Cycles.Cycles> } = await import(file)
  const printed: Array<unknown> = []
  const console: Console.Console = { ...globalThis.console, log: (text: unknown) => void printed.push(text) }
  const result = await Effect.runPromise(
    program.pipe(Effect.provide(live), Effect.provideService(Console.Console, console))
  )
  return { result, printed }
}

describe("the guide to runs", () => {
  const [agent = "", helpers = "", watching = ""] = blocksOf(guide)

  it("denies the call that doesn't fit, with the message of the guide", async () => {
    const { printed, result } = await run(agent, "agent")
    expect(result).toBe(0)
    expect(printed).toEqual([expect.stringContaining("RUN_BUDGET_EXCEEDED")])
    expect(guide).toContain(`\n${String(printed[0])}\n`)
  })

  it("lists the children of a run", async () => {
    expect(await run(helpers, "helpers")).toEqual({
      result: "20 CREDITS spent",
      printed: ["scout: 1 call, 0 denied", "historian: 1 call, 0 denied"]
    })
  })

  it("reports a threshold and raises a budget", async () => {
    expect(await run(watching, "watching")).toEqual({
      result: "3 calls, 90 CREDITS spent, 0 CREDITS held",
      printed: ["30 CREDITS of 60 CREDITS used"]
    })
  })
})
