import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Report, Story } from "../src/FaultInjection.ts"
import * as FaultInjection from "../src/FaultInjection.ts"

/** How many stories are run: `CYCLES_INJECT_RUNS`, 1500 if it isn't set. Two thirds have one fault, the others a few. */
const runs = Number(process.env["CYCLES_INJECT_RUNS"] ?? 1_500)

/** Decides which stories with one fault are left out, and which faults are combined. */
const seed = Number(process.env["CYCLES_INJECT_SEED"] ?? 20_261_126)

/** The story of a failure, as the failure prints it: nothing else is run. */
const only = process.env["CYCLES_INJECT_STORY"]

const timeoutMs = Math.max(300_000, runs * 1_000)

/** The violations of all stories, each with the line that runs it again. */
const problemsOf = (reports: ReadonlyArray<Report>): ReadonlyArray<string> =>
  reports
    .filter(({ violations }) => violations.length > 0)
    .map(({ story, violations }) => `${violations.join("; ")}\n  ${FaultInjection.reproduction(story)}`)

/** Several at once: each has a clock of its own, and waits now and then for turns of the event loop. */
const run = (stories: ReadonlyArray<Story>): Effect.Effect<ReadonlyArray<Report>> =>
  Effect.forEach(stories, FaultInjection.run, { concurrency: 4 })

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
    it.live("the story of CYCLES_INJECT_STORY", () =>
      Effect.gen(function* () {
        const report = yield* FaultInjection.run(JSON.parse(only))
        expect(report.violations).toEqual([])
      })
    )
    return
  }

  it.live(
    "without faults, every form settles its spend exactly once",
    () =>
      Effect.gen(function* () {
        expect(problemsOf(yield* run(FaultInjection.plain))).toEqual([])
      }),
    timeoutMs
  )

  it.live(
    "whatever collaborator breaks at whatever call, known spend is charged exactly once and callers return in time",
    () =>
      Effect.gen(function* () {
        const all = (yield* run(FaultInjection.plain)).flatMap(({ calls, story }) =>
          FaultInjection.singles(story, calls)
        )
        const stories = sample(all, (runs * 2) / 3)
        const reports = yield* run(stories)
        // A fault that no call meets shows nothing.
        expect(reports.filter(({ met }) => met.size === 0).map(({ story }) => story.faults)).toEqual([])
        expect(problemsOf(reports)).toEqual([])
      }),
    timeoutMs
  )

  it.live(
    "nor do two to four faults at once change that",
    () =>
      Effect.gen(function* () {
        const stories = Array.from({ length: Math.ceil(runs / 3) }, (_, i) => FaultInjection.combination(seed + i))
        expect(problemsOf(yield* run([...FaultInjection.together, ...stories]))).toEqual([])
      }),
    timeoutMs
  )
})
