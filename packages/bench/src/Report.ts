/**
 * The results of a benchmark: rows with several rounds, their medians and ratios, as a table and as JSON.
 *
 * Ratios are reported, never asserted, because they depend on the machine. The rows of one report are measured side by
 * side, in shuffled rounds.
 */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { cpus, loadavg, release, totalmem, type } from "node:os"
import type { Usage } from "./internal/child.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** One round of a row. */
export interface Sample {
  /** The measured value, in the measure of the section; usually CPU microseconds per unit. */
  readonly value: number
  /** The number of units per second, with all processes on one machine; if it says something. */
  readonly perSecond?: number | undefined
  /** The memory of the process after the round. */
  readonly rssMegabytes?: number | undefined
  /** The time from start to end of a unit. */
  readonly latency?: { readonly p50Ms: number; readonly p99Ms: number } | undefined
}

/** The median, minimum and maximum of the rounds. */
export interface Spread {
  readonly median: number
  readonly minimum: number
  readonly maximum: number
}

/** The limit that a median should not exceed: of the value, of its ratio to the baseline, or of its difference. */
export interface Goal {
  readonly of: "value" | "ratio" | "more"
  readonly most: number
}

/** The result of one candidate. */
export interface Row {
  readonly name: string
  readonly value: Spread
  /** The value divided by that of the baseline in the same round. */
  readonly ratio: Spread
  /** The value minus that of the baseline in the same round. */
  readonly more: Spread
  readonly goal: Goal | null
  /** The medians of the rounds. */
  readonly latency: { readonly p50Ms: number; readonly p99Ms: number } | null
  readonly perSecond: number | null
  readonly rssMegabytes: number | null
  readonly rounds: ReadonlyArray<number>
}

/** The names of the benchmarks. */
export const benchmarks = [
  "lifecycle",
  "server",
  "streamElement",
  "streamPart",
  "runLevels",
  "leases",
  "journal",
  "imports"
] as const

/** The name of a benchmark. */
export type Benchmark = (typeof benchmarks)[number]

/** Rows that were measured side by side. The first one is the baseline, unless a row names another one. */
export interface Section {
  readonly benchmark: Benchmark
  readonly title: string
  /** The measured quantity, for example `CPU µs a lifecycle`. */
  readonly measure: string
  /** The unit that is counted for rows with a rate. */
  readonly unit?: string | undefined
  /** Whether the table shows ratios to the baseline, or differences from it. */
  readonly against: "ratio" | "more" | "nothing"
  readonly rows: ReadonlyArray<Row>
}

/** The extent of a measurement. */
export interface Extent {
  /** The number of lifecycles in a round of a row. */
  readonly count: number
  readonly rounds: number
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
  /** The name of the baseline. Default: the first candidate. */
  readonly over?: string | undefined
  readonly goal?: Goal | undefined
  readonly samples: ReadonlyArray<Sample>
}

/** Returns a sample of a process that used CPU time for a number of units. */
export const sampleOf = (count: number, { cpuMicros, elapsedMs, latency, rssBytes }: Usage): Sample => ({
  value: cpuMicros / count,
  perSecond: (count * 1_000) / elapsedMs,
  rssMegabytes: rssBytes / 1_048_576,
  latency
})

/** Returns the rows of candidates that were measured side by side, compared with their baselines round by round. */
export const rows = (measured: ReadonlyArray<Measured>): ReadonlyArray<Row> =>
  measured.map(({ goal, name, over, samples }) => {
    const baseline = measured.find((one) => one.name === over) ?? measured[0]
    const of = (compare: (value: number, base: number) => number) =>
      spread(samples.map(({ value }, round) => compare(value, baseline?.samples[round]?.value ?? Number.NaN)))
    const latencies = samples.flatMap(({ latency }) => (latency === undefined ? [] : [latency]))
    const rates = samples.flatMap(({ perSecond }) => (perSecond === undefined ? [] : [perSecond]))
    return {
      name,
      value: of((value) => value),
      ratio: of((value, base) => value / base),
      more: of((value, base) => value - base),
      goal: goal ?? null,
      latency:
        latencies.length === 0
          ? null
          : {
              p50Ms: median(latencies.map(({ p50Ms }) => p50Ms)),
              p99Ms: median(latencies.map(({ p99Ms }) => p99Ms))
            },
      perSecond: rates.length === 0 ? null : median(rates),
      rssMegabytes: samples.at(-1)?.rssMegabytes ?? null,
      rounds: samples.map(({ value }) => value)
    }
  })

const spread = (values: ReadonlyArray<number>): Spread => ({
  median: median(values),
  minimum: Math.min(...values),
  maximum: Math.max(...values)
})

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
    /** The load average of the last 15 minutes: the noise of other programs. */
    load: (loadavg()[2] ?? 0).toFixed(1),
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
      `sqlite ${versions["sqlite"]}, ${machine["cores"]} cores (${machine["cpu"]}), load ${machine["load"]}`,
    `${extent.rounds} rounds in shuffled order, ${extent.count} lifecycles each`,
    ...sections.map(formatSection)
  ].join("\n\n")

interface Column {
  readonly header: string
  /** The cell of a row; nothing if the row has no value. */
  readonly cell: (row: Row) => string | undefined
}

const formatSection = (section: Section): string => {
  const { rows, title } = section
  // A column in which no row has a value is left out.
  const columns = columnsOf(section).filter(({ cell }) => rows.some((row) => cell(row) !== undefined))
  const table = [
    columns.map(({ header }) => header),
    columns.map((_, i) => (i === 0 ? "---" : "--:")),
    ...rows.map((row) => columns.map(({ cell }) => cell(row) ?? ""))
  ]
  const widths = columns.map((_, i) => Math.max(...table.map((cells) => cells[i]?.length ?? 0)))
  const lines = table.map(
    (cells) =>
      `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(" | ")} |`
  )
  return [`## ${title}`, "", ...lines].join("\n")
}

const columnsOf = ({ against, measure, unit }: Section): ReadonlyArray<Column> => [
  { header: "", cell: ({ name }) => name },
  { header: `${measure}, min`, cell: ({ value }) => short(value.minimum) },
  { header: "median", cell: ({ value }) => short(value.median) },
  { header: "max", cell: ({ value }) => short(value.maximum) },
  ...(against === "ratio"
    ? [
        { header: "ratio, min", cell: ({ ratio }: Row) => ratio.minimum.toFixed(2) },
        { header: "median", cell: ({ ratio }: Row) => ratio.median.toFixed(2) },
        { header: "max", cell: ({ ratio }: Row) => ratio.maximum.toFixed(2) }
      ]
    : []),
  ...(against === "more"
    ? [
        { header: "more, min", cell: ({ more }: Row) => short(more.minimum) },
        { header: "median", cell: ({ more }: Row) => short(more.median) },
        { header: "max", cell: ({ more }: Row) => short(more.maximum) }
      ]
    : []),
  { header: "goal", cell: goalOf },
  { header: "p50 ms", cell: ({ latency }) => (latency === null ? undefined : short(latency.p50Ms)) },
  { header: "p99 ms", cell: ({ latency }) => (latency === null ? undefined : short(latency.p99Ms)) },
  { header: `${unit ?? ""}s/s`, cell: ({ perSecond }) => perSecond?.toFixed(0) },
  { header: "RSS MB", cell: ({ rssMegabytes }) => rssMegabytes?.toFixed(0) }
]

/** The goal of a row, and whether its median misses it. */
const goalOf = ({ goal, ...row }: Row): string | undefined =>
  goal === null ? undefined : `${goal.most}${row[goal.of].median <= goal.most ? "" : " (missed)"}`

/** About three significant digits. */
const short = (value: number): string => value.toFixed(Math.abs(value) < 10 ? 2 : Math.abs(value) < 1_000 ? 1 : 0)
