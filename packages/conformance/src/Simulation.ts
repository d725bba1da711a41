/**
 * Deterministic simulation: many clients, a network, the ledger and their disks in one process, on virtual time, from
 * one seed.
 *
 * A world has up to six clients and makes up to 1,000 guarded calls in every form, while messages are lost, late,
 * doubled and garbled, clocks drift and jump, the server restarts, processes are killed, and collaborators throw or
 * hang. When nothing is left to do, the invariants are checked against books that are kept outside the client and the
 * server. The same seed repeats the same world, and a failing one is shrunk to a short story.
 */
import * as Plans from "./internal/simulation/make.ts"
import type { Plan } from "./internal/simulation/plan.ts"
import type { Shrunk } from "./internal/simulation/shrink.ts"
import { shrink } from "./internal/simulation/shrink.ts"
import type { Result } from "./internal/simulation/simulation.ts"
import { run } from "./internal/simulation/simulation.ts"
import { storyOf } from "./internal/simulation/story.ts"

export {
  /** Runs one world. */
  run
} from "./internal/simulation/simulation.ts"

export {
  /** Shrinks a failing world. */
  shrink
} from "./internal/simulation/shrink.ts"

export {
  /** Formats a shrunk world as a story, one numbered line for each event. */
  storyOf
} from "./internal/simulation/story.ts"

export {
  /** Makes the world of a seed. */
  make
} from "./internal/simulation/make.ts"

export type {
  /** A world: its clients, calls and faults. */
  Plan
} from "./internal/simulation/plan.ts"

export type {
  /** The result of a world. */
  Result
} from "./internal/simulation/simulation.ts"

export type {
  /** A failing world that can't be made smaller. */
  Shrunk
} from "./internal/simulation/shrink.ts"

/** The calls of one world. */
export const callsPerWorld = 1_000

/** A world that violates an invariant. */
export interface Failure {
  readonly seed: number
  readonly lifecycles: number
  readonly plan: Plan
  readonly result: Result
}

/** The result of many worlds. */
export interface Report {
  readonly worlds: number
  readonly lifecycles: number
  readonly faults: number
  /** The virtual time of all worlds, in milliseconds. */
  readonly virtualMs: number
  /** The hash of all traces. */
  readonly hash: string
  readonly failures: ReadonlyArray<Failure>
}

/**
 * Runs as many worlds as the lifecycles need, with the seeds `seed`, `seed + 1` and so on. Stops after the first
 * failing world, unless `isComplete` is given.
 */
export const simulate = async (options: {
  readonly seed: number
  readonly lifecycles: number
  readonly isComplete?: boolean | undefined
  /** Called after each world. */
  readonly onWorld?: ((seed: number, result: Result) => void) | undefined
}): Promise<Report> => {
  const failures: Array<Failure> = []
  const hashes: Array<string> = []
  let worlds = 0
  let lifecycles = 0
  let faults = 0
  let virtualMs = 0
  while (lifecycles < options.lifecycles && (failures.length === 0 || options.isComplete === true)) {
    const seed = options.seed + worlds
    const count = Math.min(callsPerWorld, options.lifecycles - lifecycles)
    const plan = Plans.make(seed, count)
    const result = await run(plan)
    options.onWorld?.(seed, result)
    if (result.violations.length > 0) failures.push({ seed, lifecycles: count, plan, result })
    worlds += 1
    lifecycles += count
    faults += result.met.size
    virtualMs += result.virtualMs
    hashes.push(result.hash)
    // Other work of the process, such as the messages of a test runner, needs turns of the real event loop.
    await new Promise((resume) => setImmediate(resume))
  }
  return { worlds, lifecycles, faults, virtualMs, hash: combined(hashes), failures }
}

/** Describes a failing world: its violations, the command that repeats it, and the story of its shrunk world. */
export const explain = async ({ lifecycles, plan, result, seed }: Failure): Promise<string> => {
  const shrunk: Shrunk = await shrink(plan, result)
  return [
    `The world of seed ${seed} violates ${result.violations.length} invariants:`,
    ...result.violations.map((violation) => `  - ${violation}`),
    `Repeat it by: pnpm simulate --seed ${seed} --lifecycles ${lifecycles}`,
    "",
    storyOf(shrunk)
  ].join("\n")
}

const combined = (hashes: ReadonlyArray<string>): string => {
  let value = 0n
  for (const hash of hashes) value = (value * 1_000_003n + BigInt(`0x${hash}`)) % (1n << 64n)
  return value.toString(16).padStart(16, "0")
}
