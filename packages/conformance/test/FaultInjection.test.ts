import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Report, Scenario } from "../src/FaultInjection.ts"
import * as FaultInjection from "../src/FaultInjection.ts"

/** How many scenarios are run: `CYCLES_INJECT_RUNS`, 1500 if it isn't set. Two thirds have one fault, the others a few. */
const runs = Number(process.env["CYCLES_INJECT_RUNS"] ?? 1_500)

/** Decides which scenarios with one fault are left out, and which faults are combined. */
const seed = Number(process.env["CYCLES_INJECT_SEED"] ?? 20_261_126)

/** The scenario of a failure, as printed by the test. If it is set, only this scenario is run. */
const only = process.env["CYCLES_INJECT_SCENARIO"]

const timeoutMs = Math.max(300_000, runs * 1_000)

/** The violations of all scenarios, each with the line that runs it again. */
const problemsOf = (reports: ReadonlyArray<Report>): ReadonlyArray<string> =>
  reports
    .filter(({ violations }) => violations.length > 0)
    .map(({ scenario, violations }) => `${violations.join("; ")}\n  ${FaultInjection.reproduction(scenario)}`)

/** Several run concurrently: each has its own clock, and sometimes waits for the event loop. */
const run = (scenarios: ReadonlyArray<Scenario>): Effect.Effect<ReadonlyArray<Report>> =>
  Effect.forEach(scenarios, FaultInjection.run, { concurrency: 4 })

/** A part of a list, spread over all of it. */
const sample = <A>(list: ReadonlyArray<A>, size: number): ReadonlyArray<A> => {
  const step = Math.max(1, list.length / Math.max(1, size))
  const first = seed % Math.max(1, Math.floor(step))
  const sampled: Array<A> = []
  for (let at = first; at < list.length; at += step) {
    const one = list[Math.floor(at)]
    if (one !== undefined) sampled.push(one)
  }
  return sampled
}

describe("FaultInjection", () => {
  if (only !== undefined) {
    it.live("holds for the scenario in CYCLES_INJECT_SCENARIO", () =>
      Effect.gen(function* () {
        const report = yield* FaultInjection.run(JSON.parse(only))
        expect(report.violations).toEqual([])
      })
    )
    return
  }

  it.live(
    "settles spend exactly once in every form without faults",
    () =>
      Effect.gen(function* () {
        expect(problemsOf(yield* run(FaultInjection.plain))).toEqual([])
      }),
    timeoutMs
  )

  it.live(
    "charges known spend exactly once and returns in time, with a fault at any call of any collaborator",
    () =>
      Effect.gen(function* () {
        const all = (yield* run(FaultInjection.plain)).flatMap(({ calls, scenario }) =>
          FaultInjection.singles(scenario, calls)
        )
        const scenarios = sample(all, (runs * 2) / 3)
        const reports = yield* run(scenarios)
        // A fault that no call meets proves nothing.
        expect(reports.filter(({ met }) => met.size === 0).map(({ scenario }) => scenario.faults)).toEqual([])
        expect(problemsOf(reports)).toEqual([])
      }),
    timeoutMs
  )

  it.live(
    "charges known spend exactly once and returns in time, with two to four faults",
    () =>
      Effect.gen(function* () {
        const scenarios = Array.from({ length: Math.ceil(runs / 3) }, (_, i) => FaultInjection.combination(seed + i))
        expect(problemsOf(yield* run([...FaultInjection.together, ...scenarios]))).toEqual([])
      }),
    timeoutMs
  )
})
