/** Formats the report of a soak as text. */
import type { Report, Sample } from "../../Soak.ts"
import { total } from "./books.ts"

const mebibytes = (bytes: number): string => `${(bytes / 1_048_576).toFixed(1)} MiB`

/** Formats a sample as one line. */
export const formatSample = (sample: Sample): string =>
  [
    `${Math.round(sample.atMs / 1_000)} s`,
    `${sample.calls} calls`,
    `heap ${mebibytes(sample.heapBytes)}`,
    `rss ${mebibytes(sample.rssBytes)}`,
    `${sample.handles} handles (${sample.sockets} sockets, ${sample.timers} timers)`,
    `${sample.files} files`,
    `journal ${sample.journalRecords} records, ${mebibytes(sample.journalBytes)}`,
    `data file ${mebibytes(sample.databaseBytes)}, ${sample.reservations} reservations`
  ].join("; ")

const counts = (title: string, values: ReadonlyMap<string, number>): string => {
  const sorted = Array.from(values).toSorted(([, a], [, b]) => b - a)
  return `${title}: ${total(values)} (${sorted.map(([name, count]) => `${count} ${name}`).join(", ")})`
}

/** Formats a report. Its last line is `passed`, or the number of problems. */
export const format = ({ books, calls, failures, faults, flatness, logs, problems, samples }: Report): string => {
  const [first] = samples
  const middle = samples[Math.floor(samples.length / 2)]
  const last = samples.at(-1)
  const spent = books.reduce((sum, one) => sum + one.spent, 0)
  const charged = books.reduce((sum, one) => sum + one.charged, 0)
  const stored =
    middle !== undefined && last !== undefined && last.reservations > middle.reservations
      ? Math.round((last.databaseBytes - middle.databaseBytes) / (last.reservations - middle.reservations))
      : undefined
  return [
    counts("calls", calls),
    counts("faults", faults),
    counts("failures", failures),
    counts("logged messages", logs),
    ...(first === undefined ? [] : [`start: ${formatSample(first)}`]),
    ...(middle === undefined ? [] : [`middle: ${formatSample(middle)}`]),
    ...(last === undefined ? [] : [`end: ${formatSample(last)}`]),
    ...(stored === undefined ? [] : [`data file: ${stored} bytes for each reservation`]),
    ...flatness.map(
      ({ growth, isFlat, name, tolerance, z }) =>
        `${name}: ${isFlat ? "flat" : "GROWS"}; second half ${growth >= 0 ? "+" : ""}${Math.round(growth)}, z = ${z.toFixed(2)} (fails above 2.33 and +${tolerance})`
    ),
    `books: ${spent} tokens spent, ${charged} charged, ${books.length} forms`,
    ...problems.map((problem) => `FAILED ${problem}`),
    problems.length === 0 ? "passed" : `${problems.length} failed`
  ].join("\n")
}
