/** A summary as a table. */
import * as Amount from "@effect-cycles/protocol/Amount"
import { maxInt64 } from "@effect-cycles/protocol/Limits"
import { plural } from "./limits.ts"
import type { BudgetSummary, Line, Summary } from "./summary.ts"

/**
 * Formats a summary as a table: a headline, the budgets, a row for each action and unit, and the same for each child,
 * indented.
 *
 * **Details**
 *
 * Amounts are exact, and `USD_MICROCENTS` are dollars. A row shows the sum of the estimates as `reserved`, the spend as
 * `charged`, and the time that its calls took together. Names of more than 48 columns are cut. Control characters in
 * names are replaced. The text doesn't end with a line break, and its layout may change.
 *
 * @category formatting
 * @since 0.1.0
 */
export const format = (summary: Summary): string => {
  const rows = rowsOf(summary, "")
  const widths: Array<number> = []
  for (const row of rows) {
    if (typeof row === "string") continue
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, widthOf(cell))
    })
  }
  return rows.map((row) => (typeof row === "string" ? row : textOf(row, widths))).join("\n")
}

/** A text, or the cells of a table. */
type Row = string | ReadonlyArray<string>

const rowsOf = (summary: Summary, indent: string): ReadonlyArray<Row> => {
  const heads = [printable(summary.name), ...summary.budgets.map(({ unit }) => labelOf(unit))]
  const width = Math.max(...heads.map(widthOf))
  return [headline(summary), ...summary.budgets.map(budgetText)]
    .map((text, index): Row => `${indent}${padEnd(heads[index] ?? "", width)}  ${text}`)
    .concat(summary.lines.map((line) => cellsOf(line, `${indent}  `)))
    .concat(summary.children.flatMap((child) => rowsOf(child, `${indent}  `)))
}

const headline = (summary: Summary): string => {
  const { calls, denials, elapsedMs, status, steps, stoppedBy, toolCalls, uncertain, wouldDeny } = summary
  const state = stoppedBy === undefined ? status : `stopped by ${printable(stoppedBy)}`
  return [
    `${state} ${status === "ended" ? "after" : "for"} ${durationText(elapsedMs)}`,
    ...(steps === 0 ? [] : [plural(steps, "step")]),
    ...(toolCalls === 0 ? [] : [plural(toolCalls, "tool call")]),
    plural(calls, "call"),
    ...(denials === 0 ? [] : [`${denials} denied`]),
    ...(wouldDeny === 0 ? [] : [`${wouldDeny} would be denied`]),
    ...(uncertain === 0 ? [] : [`${uncertain} uncertain`])
  ].join(", ")
}

const budgetText = ({ allocated, charged, held, remaining, unit }: BudgetSummary): string => {
  const text = (amount: Amount.Amount) => (unit === "USD_MICROCENTS" ? String(amount) : String(amount.amount))
  const isFree = Amount.isZero(held)
  if (allocated === undefined || remaining === undefined) {
    return `${text(charged)}, no budget${isFree ? "" : `, ${text(held)} held`}`
  }
  const percent = Amount.isZero(allocated) ? "" : ` (${(charged.amount * 100n) / allocated.amount} %)`
  const rest = `${text(remaining)} left, ${isFree ? "nothing" : text(held)} held`
  return `${text(charged)} of ${text(allocated)}${percent}, ${rest}`
}

/** The cells of a line. Cells that no row needs are empty. */
const cellsOf = (line: Line, indent: string): ReadonlyArray<string> => [
  `${indent}${printable(`${line.action.kind} ${line.action.name}`)}`,
  plural(line.calls, "call"),
  `${line.denied} denied`,
  line.wouldDeny === 0 ? "" : `${line.wouldDeny} would be denied`,
  line.open === 0 ? "" : `${line.open} open`,
  `reserved ${sumText(line.unit, line.estimated)}`,
  `charged ${sumText(line.unit, line.charged)}`,
  line.uncertain === 0 ? "" : `${line.uncertain} uncertain`,
  durationText(line.latencyMs),
  `max ${durationText(line.maxLatencyMs)}`
]

/** Aligns the cells: the first one to the left, the others to the right. Omits columns that are empty in all rows. */
const textOf = (row: ReadonlyArray<string>, widths: ReadonlyArray<number>): string =>
  row
    .flatMap((cell, column) => {
      const width = widths[column] ?? 0
      if (width === 0) return []
      return [column === 0 ? padEnd(cell, width) : `${" ".repeat(width - widthOf(cell))}${cell}`]
    })
    .join("  ")

// ---------------------------------------------------------------------------------------------------------------------
// cells
// ---------------------------------------------------------------------------------------------------------------------

const labelOf = (unit: Amount.Unit): string => (unit === "USD_MICROCENTS" ? "USD" : printable(unit))

const sumText = (unit: Amount.Unit, sum: bigint): string =>
  sum > maxInt64 ? `${sum} ${printable(unit)}` : printable(String(Amount.make(unit, sum)))

const durationText = (ms: number): string => {
  if (ms < 1_000) return `${ms} ms`
  const seconds = Math.floor(ms / 1_000)
  if (seconds < 10) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

// ---------------------------------------------------------------------------------------------------------------------
// width
// ---------------------------------------------------------------------------------------------------------------------

/** The number of columns of a name. A longer one is cut. */
const maxWidth = 48

/** Control characters and marks of direction, with which a name could change the rest of the table. */
const unprintable = /[\p{Cc}\u2028\u2029\u200E\u200F\u202A-\u202E\u2066-\u2069]/gu

/** Characters with two columns in a terminal. */
const wide =
  /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\uFF01-\uFF60]/u

const segmentsOf = (text: string) => new Intl.Segmenter("en").segment(text)

const widthOf = (text: string): number => {
  let width = 0
  for (const { segment } of segmentsOf(text)) width += wide.test(segment) ? 2 : 1
  return width
}

const padEnd = (text: string, width: number): string => `${text}${" ".repeat(width - widthOf(text))}`

/** A name that fits into a row. */
const printable = (name: string): string => {
  const text = name.replace(unprintable, "\uFFFD")
  if (widthOf(text) <= maxWidth) return text
  let cut = ""
  for (const { segment } of segmentsOf(text)) {
    if (widthOf(cut) + widthOf(segment) > maxWidth - 1) break
    cut += segment
  }
  return `${cut}…`
}
