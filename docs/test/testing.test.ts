/**
 * The guide to testing lists the faults that there are, and its tests pass.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { Fault } from "@effect-cycles/testing"
import { blocksOf } from "../../scripts/docs.ts"

const guide = readFileSync(join(import.meta.dirname, "../guide/04-testing.md"), "utf8")

// Below this folder, so that imports resolve as in a guide.
const folder = join(import.meta.dirname, "build/testing")

mkdirSync(folder, { recursive: true })

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe("the guide to testing", () => {
  it("lists the faults", () => {
    const table = guide.slice(guide.indexOf("| fault "), guide.indexOf("`Fault.make` makes your own"))
    const listed = Array.from(table.matchAll(/^\| `(\w+)/gm), ([, name = ""]) => name)
    const faults = Object.keys(Fault).filter((name) => name !== "make" && name !== "times")
    expect(listed.toSorted()).toEqual(faults.toSorted())
  })

  // Each code block with tests registers them here; `programs.test.ts` runs the programs.
  for (const [i, code] of blocksOf(guide)
    .filter((code) => code.includes("@effect/vitest"))
    .entries()) {
    const file = join(folder, `testing-${i + 1}.ts`)
    writeFileSync(file, code)
    describe(`code block ${i + 1}`, async () => {
      await import(file)
    })
  }
})
