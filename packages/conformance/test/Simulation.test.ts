/**
 * Worlds of the simulation. CI runs 100,000 lifecycles by `pnpm simulate`; `CYCLES_SIMULATE_LIFECYCLES` and
 * `CYCLES_SIMULATE_SEED` change what this suite runs.
 */
import { describe, expect, it } from "vitest"
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import * as Simulation from "../src/Simulation.ts"

const lifecycles = Number(process.env["CYCLES_SIMULATE_LIFECYCLES"] ?? 6_000)
const seed = Number(process.env["CYCLES_SIMULATE_SEED"] ?? 1)

describe("Simulation", () => {
  it("keeps every invariant in every world", { timeout: 1_800_000 }, async () => {
    const report = await Simulation.simulate({ seed, lifecycles })
    const [failure] = report.failures
    expect(failure === undefined ? "" : await Simulation.explain(failure)).toBe("")
    expect(report.lifecycles).toBe(lifecycles)
  })

  it("repeats a world exactly, in one process and in two", { timeout: 300_000 }, async () => {
    const plan = Simulation.make(2, 200)
    const first = await Simulation.run(plan)
    const second = await Simulation.run(plan)
    expect(first.events).toBeGreaterThan(1_000)
    expect(first.met.size).toBeGreaterThan(10)
    expect({ ...second, lines: [] }).toEqual({ ...first, lines: [] })
    const bin = join(import.meta.dirname, "../src/bin/simulate.ts")
    const other = spawnSync(process.execPath, [bin, "--seed", "2", "--lifecycles", "200", "--verbose"], {
      encoding: "utf8"
    })
    expect(other.stdout).toContain(`trace ${first.hash}`)
  })

  it("makes different worlds of different seeds", () => {
    expect(Simulation.make(3, 20)).not.toEqual(Simulation.make(4, 20))
  })

  it("injects faults of the network, and incidents such as a killed process", { timeout: 300_000 }, async () => {
    const { met } = await Simulation.run(Simulation.make(2, 200))
    const kinds = new Set(Array.from(met, (identity) => identity.split(" ")[0]))
    expect(kinds).toContain("net")
    expect(kinds).toContain("incident")
  })
})
