/**
 * Hostile input: random responses, requests, journal files, configuration and values of callers, for a fixed time.
 *
 * Each area generates cases that are plain data. A failing case shrinks to a small one and is printed with the command
 * that runs it again. All output of the suite is searched for secrets.
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import type { AnyArea, Area } from "./internal/fuzz/area.ts"
import * as SecretScan from "./internal/fuzz/secretScan.ts"
import * as Watchdog from "./internal/fuzz/watchdog.ts"

export {
  /** All areas of the suite. */
  areas
} from "./internal/fuzz/areas.ts"

/** The result of one area. */
export interface Report {
  readonly area: string
  /** The number of cases, without those of shrinking. */
  readonly cases: number
  /**
   * Violated invariants of the smallest failing case, with the command that runs it again. Empty if all cases passed.
   */
  readonly failures: ReadonlyArray<string>
  /** How many texts were searched for secrets, by where they come from. */
  readonly seen: ReadonlyMap<string, number>
}

/** The options of a run. */
export interface Options {
  /** The same seed generates the same cases. */
  readonly seed: number
  /** How long cases are started. A failing case shrinks beyond it. */
  readonly seconds: number
}

/** Runs random cases of an area until the time is over, or until one fails. */
export const run = (area: AnyArea, { seconds, seed }: Options): Effect.Effect<Report> =>
  area.use((area) => runArea(area, seconds, seed))

/** Runs one case of an area, as a failure prints it. */
export const runCase = (area: AnyArea, json: string): Effect.Effect<ReadonlyArray<string>> =>
  area.use((area) => runOne(area, JSON.parse(json)))

const runOne = <A>(area: Area<A>, value: A): Effect.Effect<ReadonlyArray<string>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const scan = SecretScan.make()
      const check = yield* area.start(scan)
      const watchdog = yield* Watchdog.make()
      return [...(yield* watchdog.guard(reproduction(area.name, value), check(value))), ...scan.take()]
    })
  )

const runArea = <A>(area: Area<A>, seconds: number, seed: number): Effect.Effect<Report> =>
  Effect.scoped(
    Effect.gen(function* () {
      const scan = SecretScan.make()
      const check = yield* area.start(scan)
      const watchdog = yield* Watchdog.make()
      const checked = (value: A) =>
        Effect.map(watchdog.guard(reproduction(area.name, value), check(value)), (violations) => [
          ...violations,
          ...scan.take()
        ])
      let cases = 0
      for (const value of area.always ?? []) {
        cases += 1
        const violations = yield* checked(value)
        if (violations.length === 0) continue
        const failures = [`${violations.join("; ")}\n  ${reproduction(area.name, value)}`]
        return { area: area.name, cases, failures, seen: scan.seen }
      }
      const endsAt = Date.now() + seconds * 1_000
      let isShrinking = false
      let first: ReadonlyArray<string> = []
      const property = (value: A): Effect.Effect<boolean> =>
        Effect.suspend(() => {
          if (Date.now() > endsAt + (isShrinking ? shrinkingMs : 0)) return Effect.succeed(true)
          if (!isShrinking) cases += 1
          return Effect.map(checked(value), (violations) => {
            if (!isShrinking) first = violations
            isShrinking ||= violations.length > 0
            return violations.length === 0
          })
        })
      for (let batch = 0; Date.now() < endsAt; batch++) {
        const result = yield* Arbitrary.checkEffect(area.cases, property, {
          runs: batchSize,
          seed: `${seed}-${batch}`,
          maxShrinks: 500,
          concurrency: area.concurrency
        })
        if (result._tag === "Exhausted") return yield* Effect.die(new Error(`${area.name} generates too few cases`))
        if (result._tag !== "Falsified") continue
        const shrunk = yield* checked(result.shrunkInput)
        const isRepeatable = shrunk.length > 0
        const failure = isRepeatable
          ? shrunk.join("; ")
          : `failed once, and passed when it was repeated: ${first.join("; ")}`
        const command = reproduction(area.name, isRepeatable ? result.shrunkInput : result.initialInput)
        return { area: area.name, cases, failures: [`${failure}\n  seed ${seed}: ${command}`], seen: scan.seen }
      }
      return { area: area.name, cases, failures: [], seen: scan.seen }
    })
  )

/** The number of cases with one seed, whose size grows from the first to the last. */
const batchSize = 50

/** How long a failing case may shrink beyond the time of the run. */
const shrinkingMs = 60_000

const reproduction = (area: string, value: unknown): string =>
  `pnpm fuzz --area ${area} --case '${JSON.stringify(value).replaceAll("'", "\\u0027")}'`
