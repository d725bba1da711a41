/**
 * What the guide to settlement draws and lists is what the code has.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import * as Lifecycle from "../../packages/client/src/internal/reservation/lifecycle.ts"
import * as Recovery from "../../packages/conformance/src/Recovery.ts"

const folder = join(import.meta.dirname, "../guide")

const guide = readFileSync(join(folder, "03-settlement.md"), "utf8")

const drawing = /```mermaid\n([\s\S]*?)```/.exec(guide)?.[1] ?? ""

const lines = drawing.split("\n").flatMap((line) => (line.includes("-->") ? [line.trim()] : []))

describe("the guide to settlement", () => {
  it("draws exactly the transitions of the state machine, and its start and ends", () => {
    const rows = Object.entries(Lifecycle.transitions)
    const expected = [
      "[*] --> reserving",
      ...rows.flatMap(([state, row]) => Object.entries(row).map(([event, to]) => `${state} --> ${to}: ${event}`)),
      ...rows.flatMap(([state, row]) => (Object.keys(row).length === 0 ? [`${state} --> [*]`] : []))
    ]
    expect(lines.toSorted()).toEqual(expected.toSorted())
  })

  it("explains every state", () => {
    const section = guide.slice(guide.indexOf("| state "), guide.indexOf("## What happens"))
    const explained = Array.from(section.matchAll(/^\| (`.*?) *\|/gm), ([, cell = ""]) => cell.replaceAll("`", ""))
    expect(explained.flatMap((cell) => cell.split(", ")).toSorted()).toEqual(
      Object.keys(Lifecycle.transitions).toSorted()
    )
  })

  it("names a test for each recovery scenario, and it is there", () => {
    const page = readFileSync(join(folder, "../maintainers/recovery-scenarios.md"), "utf8")
    const rows = Array.from(page.matchAll(/^\| (CR-[A-Z]+-\d+).*\]\((.*)\) "(.*)" *\|$/gm))
    expect(rows.map(([, id]) => id).toSorted()).toEqual(Object.keys(Recovery.scenarios).toSorted())
    for (const [, id, path = "", name = ""] of rows) {
      expect([id, readFileSync(join(folder, path), "utf8").includes(name)]).toEqual([id, true])
    }
  })
})
