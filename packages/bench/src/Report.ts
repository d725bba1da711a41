/**
 * What a benchmark found: rows of several rounds, their medians and ratios, as a table and as JSON.
 *
 * Ratios are reported, never asserted: they depend on the machine. What holds on every machine is that the rows of one
 * report were measured side by side, in shuffled rounds.
 */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { cpus, release, totalmem, type } from "node:os"
import type { Usage } from "./internal/child.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** One round of a row. */
export interface Sample {
  /** What was counted: lifecycles, or requests. */
  readonly count: number
  readonly used: Usage
}

/** One thing that was measured. */
export interface Row {
  readonly name: string
  /** CPU microseconds of one lifecycle or request: the median of the rounds, the least, the most. */
  readonly cpuMicros: { readonly median: number; readonly minimum: number; readonly maximum: number }
  /** The median over that of the first row. */
  readonly ratio: number
  /** The largest ratio that is aimed at. */
  readonly goal: number | null
  /** Median of how many were done in a second, with everything on one machine. */
  readonly perSecond: number
  /** Memory of the process after its last round. */
  readonly rssMegabytes: number
  readonly rounds: ReadonlyArray<number>
}

/** Rows that were measured side by side; the first one is what the others are held against. */
export interface Section {
  readonly benchmark: "lifecycle" | "server" | "streamPart"
  readonly title: string
  /** What is counted. */
  readonly unit: "lifecycle" | "request" | "part"
  readonly rows: ReadonlyArray<Row>
}

/** How much is measured. */
export interface Extent {
  /** Lifecycles of one round of a row. */
  readonly count: number
  readonly rounds: number
  /** How many at a time. */
  readonly concurrency: number
}

/** Everything that a run of the benchmarks has to say. */
export interface Report {
  readonly date: string
  readonly extent: Extent
  readonly versions: Readonly<Record<string, string>>
  readonly machine: Readonly<Record<string, string | number>>
  readonly sections: ReadonlyArray<Section>
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** A row that is being measured. */
export interface Measured {
  readonly name: string
  readonly goal?: number | undefined
  readonly samples: ReadonlyArray<Sample>
}

/** The rows of things measured side by side, the first one being the measure of the others. */
export const rows = (measured: ReadonlyArray<Measured>): ReadonlyArray<Row> => {
  const floor = median((measured[0]?.samples ?? []).map(cpuOf))
  return measured.map(({ goal, name, samples }) => {
    const rounds = samples.map(cpuOf)
    return {
      name,
      cpuMicros: { median: median(rounds), minimum: Math.min(...rounds), maximum: Math.max(...rounds) },
      ratio: median(rounds) / floor,
      goal: goal ?? null,
      perSecond: median(samples.map(({ count, used }) => (count * 1_000) / used.elapsedMs)),
      rssMegabytes: (samples.at(-1)?.used.rssBytes ?? 0) / 1_048_576,
      rounds
    }
  })
}

const cpuOf = ({ count, used }: Sample): number => used.cpuMicros / count

/** The middle one; of an even number of values the mean of the two in the middle. */
export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const upper = sorted[sorted.length >> 1] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[(sorted.length >> 1) - 1] ?? Number.NaN) + upper) / 2
}

/** A report of sections, with what they depend on. */
export const make = (extent: Extent, sections: ReadonlyArray<Section>): Report => ({
  date: new Date().toISOString(),
  extent,
  versions: {
    node: process.versions.node,
    v8: process.versions.v8,
    effect: versionOf("effect"),
    undici: versionOf("undici"),
    sqlite: process.versions.sqlite ?? "unknown"
  },
  machine: {
    system: `${type()} ${release()}`,
    architecture: process.arch,
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryGigabytes: Math.round(totalmem() / 1_073_741_824)
  },
  sections
})

const versionOf = (name: string): string => {
  const text = readFileSync(createRequire(import.meta.url).resolve(`${name}/package.json`), "utf8")
  const content: unknown = JSON.parse(text)
  return typeof content === "object" && content !== null && "version" in content ? String(content.version) : "unknown"
}

// ---------------------------------------------------------------------------------------------------------------------
// text
// ---------------------------------------------------------------------------------------------------------------------

/** The report for people: a table of Markdown for each section. */
export const format = ({ date, extent, machine, sections, versions }: Report): string =>
  [
    `${date}, node ${versions["node"]}, effect ${versions["effect"]}, undici ${versions["undici"]}, ` +
      `sqlite ${versions["sqlite"]}, ${machine["cores"]} cores (${machine["cpu"]})`,
    `${extent.rounds} rounds in shuffled order, ${extent.count} lifecycles each, ${extent.concurrency} at a time`,
    ...sections.map(formatSection)
  ].join("\n\n")

const formatSection = ({ rows, title, unit }: Section): string => {
  const header = ["", `CPU µs a ${unit}`, "least to most", "ratio", "goal", `${unit}s/s`, "RSS MB"]
  const table = [
    header,
    header.map((_, i) => (i === 0 ? "---" : "--:")),
    ...rows.map((row) => [
      row.name,
      row.cpuMicros.median.toFixed(1),
      `${row.cpuMicros.minimum.toFixed(0)} to ${row.cpuMicros.maximum.toFixed(0)}`,
      row.ratio.toFixed(2),
      row.goal === null ? "" : `${row.goal.toFixed(1)}${row.ratio <= row.goal ? "" : " (missed)"}`,
      row.perSecond.toFixed(0),
      row.rssMegabytes.toFixed(0)
    ])
  ]
  const widths = header.map((_, i) => Math.max(...table.map((cells) => cells[i]?.length ?? 0)))
  const lines = table.map(
    (cells) =>
      `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(" | ")} |`
  )
  return [`## ${title}`, "", ...lines].join("\n")
}
