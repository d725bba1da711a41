/**
 * What the guides list is what the code has.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { AiTelemetry } from "@effect-cycles/ai"
import { Telemetry } from "effect-cycles"
import * as CyclesError from "../../packages/client/src/CyclesError.ts"

const guide = (name: string): string => readFileSync(join(import.meta.dirname, "../guide", name), "utf8")

const client = join(import.meta.dirname, "../../packages/client/src")

/** The first cells of all rows that begin with a match, as they are. */
const rows = (page: string, cell: RegExp): ReadonlyArray<string> =>
  Array.from(page.matchAll(new RegExp(`^\\| \`(${cell.source})\` `, "gm")), ([, name = ""]) => name)

describe("the guide to configuration", () => {
  const page = guide("02-configuration.md")

  it("lists the variables that the client reads", () => {
    const subject = ["TENANT", "WORKSPACE", "APP", "WORKFLOW", "AGENT", "TOOLSET"].map((field) => `CYCLES_${field}`)
    const named = ["CyclesConfig.ts", "internal/config/env.ts", "node/internal/variables.ts"].flatMap((path) =>
      Array.from(readFileSync(join(client, path), "utf8").matchAll(/"(CYCLES_[A-Z_]+)"/g), ([, name = ""]) => name)
    )
    expect(rows(page, /CYCLES_[A-Z_]+/).toSorted()).toEqual(Array.from(new Set([...named, ...subject])).toSorted())
  })

  it("lists the fields of a client's configuration", () => {
    const source = readFileSync(join(client, "CyclesConfig.ts"), "utf8")
    const models = source.slice(source.indexOf("interface ClientConfig"), source.indexOf("// policies"))
    const fields = Array.from(models.matchAll(/^ {2}readonly (\w+)/gm), ([, name = ""]) => name)
    const table = page.slice(page.indexOf("## In the program"), page.indexOf("`NodeCycles.layer` takes"))
    const listed = Array.from(table.matchAll(/^\| (`.*?`) +\|/gm), ([, cell = ""]) => cell.replaceAll("`", ""))
    expect(listed.flatMap((cell) => cell.split(", ")).toSorted()).toEqual(fields.toSorted())
  })
})

describe("the guide to observability", () => {
  const page = guide("05-observability.md")

  it("lists the metrics of the client and of guarded models", () => {
    const metrics = [...Object.values(Telemetry), ...Object.values(AiTelemetry)].flatMap((one) =>
      typeof one === "object" && "id" in one ? [one.id] : []
    )
    expect(rows(page.slice(0, page.indexOf("## What to alert on")), /cycles_\w+/).toSorted()).toEqual(
      metrics.toSorted()
    )
  })

  it("alerts on metrics that exist, and explains each alert", () => {
    const rules = page.slice(page.indexOf("```yaml"), page.indexOf("## Dead letters"))
    const queried = Array.from(rules.matchAll(/cycles_\w+/g), ([name]) => name)
    expect(queried).not.toEqual([])
    // A histogram is queried by its series.
    for (const name of queried) expect(page).toContain(`| \`${name.replace(/_(bucket|count|sum)$/, "")}\` `)
    const alerts = Array.from(rules.matchAll(/alert: (\w+)/g), ([, name = ""]) => name)
    expect(rows(page, /Cycles[A-Z]\w+/).toSorted()).toEqual(alerts.toSorted())
  })

  it("lists the spans, one for each operation", () => {
    for (const operation of CyclesError.Operation.literals) expect(page).toContain(`\`Cycles.${operation}\``)
  })
})

describe("getting started", () => {
  it("says what to do about every error of a call", () => {
    const section = guide("01-getting-started.md").split("## What now?")[1]
    for (const tag of ["BudgetExceeded", "ApiError", "TransportError", "ProtocolError", "InvalidRequest"]) {
      expect(section).toContain(`\`${tag}\``)
    }
  })
})

describe("the README", () => {
  it("lists every guide in one table, in order, and the index every decision", () => {
    const docs = join(import.meta.dirname, "..")
    const readme = readFileSync(join(docs, "../README.md"), "utf8")
    const table = /^## Guides\n\n((?:\|.*\n)*)/m.exec(readme)?.[1] ?? ""
    const listed = Array.from(table.matchAll(/\(docs\/guide\/(.*?)\)/g), ([, name]) => name)
    expect(listed).toEqual(readdirSync(join(docs, "guide")).toSorted())
    const index = readFileSync(join(docs, "decisions/README.md"), "utf8")
    for (const name of readdirSync(join(docs, "decisions"))) {
      if (name !== "README.md") expect(index).toContain(name)
    }
  })
})
