/** What the command prints: tables, JSON, and a console whose lines are redacted. */
import * as Json from "@effect-cycles/protocol/Json"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { formatWithOptions } from "node:util"

/** Prints a line to standard output. */
export const print = (text: string): Effect.Effect<void> => Console.log(text)

/** Prints a line to standard error. */
export const printError = (text: string): Effect.Effect<void> => Console.error(text)

/** Prints a value as one JSON document. Integers above 2^53 keep all digits. */
export const printJson = (value: unknown): Effect.Effect<void> => print(Json.stringify(value))

/** Formats rows as a table with aligned columns. The last column isn't padded. */
export const table = (header: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const all = [header, ...rows].map((row) => row.map(shown))
  const widths = header.map((_, i) => Math.max(...all.map((row) => row[i]?.length ?? 0)))
  return all
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

/** Texts of servers and files can contain control characters, which would change the terminal. */
export const shown = (text: string): string => text.replaceAll(/\p{Cc}+/gu, " ")

/** A duration in the largest unit that gives a number of at least 1, such as `3 min`. */
export const age = (ms: number): string => {
  const [size, unit] = units.find(([size]) => Math.abs(ms) >= size) ?? [1, "ms"]
  return `${Math.round(ms / size)} ${unit}`
}

const units: ReadonlyArray<readonly [number, string]> = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1_000, "s"]
]

/** An instant in epoch milliseconds, in UTC. An instant outside of the range of dates is printed as a number. */
export const instant = (ms: number): string =>
  Number.isFinite(ms) && Math.abs(ms) <= 8_640_000_000_000_000 ? new Date(ms).toISOString() : String(ms)

/** A count with its noun. */
export const count = (n: number, one: string, several = `${one}s`): string => `${n} ${n === 1 ? one : several}`

/** Where lines are written. */
export interface Writer {
  /** Writes to standard output. */
  readonly out: (text: string) => void
  /** Writes to standard error. */
  readonly error: (text: string) => void
}

/** A console that redacts each line. Errors and warnings are written to standard error. */
export const makeConsole = ({ error, out }: Writer, redact: (text: string) => string): Console.Console => {
  const to =
    (write: (text: string) => void) =>
    (...args: ReadonlyArray<unknown>) =>
      write(`${redact(formatWithOptions({ colors: false }, ...args))}\n`)
  const ignore = (): void => {}
  const stdout = to(out)
  const stderr = to(error)
  return {
    assert: ignore,
    clear: ignore,
    count: ignore,
    countReset: ignore,
    debug: stderr,
    dir: stdout,
    dirxml: stdout,
    error: stderr,
    group: stderr,
    groupCollapsed: stderr,
    groupEnd: ignore,
    info: stdout,
    log: stdout,
    table: stdout,
    time: ignore,
    timeEnd: ignore,
    timeLog: ignore,
    trace: stderr,
    warn: stderr
  }
}
