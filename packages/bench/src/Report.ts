/**
 * The results of a benchmark: rows with several rounds, their medians and ratios, as a table and as JSON.
 *
 * Ratios are reported, never asserted, because they depend on the machine. The rows of one report are measured side by side, in
 * shuffled rounds.
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
  /** The number of lifecycles, requests or parts. */
  readonly count: number
  readonly used: Usage
}

/** The result of one candidate. */
export interface Row {
  readonly name: string
  /** CPU microseconds per unit: the median, minimum and maximum of the rounds. */
  readonly cpuMicros: { readonly median: number; readonly minimum: number; readonly maximum: number }
  /** The median divided by that of the first row. */
  readonly ratio: number
  /** The goal for the ratio: at most this value. */
  readonly goal: number | null
  /** The median number of units per second, with all processes on one machine. */
  readonly perSecond: number
  /** The memory of the process after its last round. */
  readonly rssMegabytes: number
  readonly rounds: ReadonlyArray<number>
}

/** Rows that were measured side by side. The first one is the baseline. */
export interface Section {
  readonly benchmark: "lifecycle" | "server" | "streamPart"
  readonly title: string
  /** The unit that is counted. */
  readonly unit: "lifecycle" | "request" | "part"
  readonly rows: ReadonlyArray<Row>
}

/** The extent of a measurement. */
export interface Extent {
  /** The number of lifecycles in a round of a row. */
  readonly count: number
  readonly rounds: number
  /** The number of concurrent lifecycles. */
  readonly concurrency: number
}

/** The result of a run of the benchmarks. */
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

/** The samples of one candidate. */
export interface Measured {
  readonly name: string
  readonly goal?: number | undefined
  readonly samples: ReadonlyArray<Sample>
}

/** Returns the rows of candidates that were measured side by side, with ratios to the first one. */
export const rows = (measured: ReadonlyArray<Measured>): ReadonlyArray<Row> => {
  const baseline = median((measured[0]?.samples ?? []).map(cpuOf))
  return measured.map(({ goal, name, samples }) => {
    const rounds = samples.map(cpuOf)
    return {
      name,
      cpuMicros: { median: median(rounds), minimum: Math.min(...rounds), maximum: Math.max(...rounds) },
      ratio: median(rounds) / baseline,
      goal: goal ?? null,
      perSecond: median(samples.map(({ count, used }) => (count * 1_000) / used.elapsedMs)),
      rssMegabytes: (samples.at(-1)?.used.rssBytes ?? 0) / 1_048_576,
      rounds
    }
  })
}

const cpuOf = ({ count, used }: Sample): number => used.cpuMicros / count

/** The median; for an even number of values the mean of the two in the middle. */
const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const upper = sorted[sorted.length >> 1] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[(sorted.length >> 1) - 1] ?? Number.NaN) + upper) / 2
}

/** Makes a report, with the versions and the machine that the results depend on. */
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

/** Formats a report as Markdown, with a table for each section. */
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
