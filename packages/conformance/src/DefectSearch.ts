/** Searches for a deliberate defect: loads the simulation with its patches, and runs worlds until one fails. */
import { createViteServer } from "vitest/node"
import type { Defect } from "./Defects.ts"
import { plugin, root } from "./Defects.ts"
import type * as Simulation from "./Simulation.ts"

/** The result of a search. */
export interface Found {
  readonly defect: Defect
  /** The seed of the failing world; `undefined` if no world failed. */
  readonly seed: number | undefined
  /** The calls that were made until then. */
  readonly lifecycles: number
  /** The first violated invariant. */
  readonly violation: string | undefined
  /** The story of the shrunk world; only if it was asked for. */
  readonly story: string | undefined
}

/** The calls of one world in a search: more and smaller worlds reach more kinds of faults. */
const callsPerWorld = 250

/** Searches for a defect with at most `lifecycles` calls. With `isTold`, shrinks the failing world to a story. */
export const search = async (defect: Defect, lifecycles: number, isTold = false): Promise<Found> => {
  const patched = new Set<string>()
  const server = await createViteServer({
    root,
    configFile: false,
    logLevel: "error",
    server: { middlewareMode: true, watch: null, hmr: false, ws: false },
    optimizeDeps: { noDiscovery: true },
    plugins: [plugin(defect, patched)]
  })
  try {
    const { explain, make, run } = await load(server)
    for (const { file } of defect.patches) {
      if (!patched.has(file))
        throw new Error(`the simulation doesn't load ${file}, which the defect ${defect.name} changes`)
    }
    let count = 0
    for (let seed = 1; count < lifecycles; seed += 1) {
      const plan = make(seed, callsPerWorld)
      const result = await run(plan)
      count += callsPerWorld
      const [violation] = result.violations
      if (violation === undefined) continue
      const story = isTold ? await explain({ seed, lifecycles: callsPerWorld, plan, result }) : undefined
      return { defect, seed, lifecycles: count, violation, story }
    }
    return { defect, seed: undefined, lifecycles: count, violation: undefined, story: undefined }
  } finally {
    await server.close()
  }
}

const load = async (server: Awaited<ReturnType<typeof createViteServer>>): Promise<typeof Simulation> => {
  const loaded: unknown = await server.ssrLoadModule("/packages/conformance/src/Simulation.ts")
  if (isSimulation(loaded)) return loaded
  throw new Error("the module of the simulation could not be loaded")
}

const isSimulation = (loaded: unknown): loaded is typeof Simulation =>
  typeof loaded === "object" && loaded !== null && "run" in loaded && "make" in loaded

/** Formats searches as a table. */
export const tableOf = (found: ReadonlyArray<Found>): string =>
  [
    "| defect | seed | lifecycles until found | first violation |",
    "| --- | --- | --- | --- |",
    ...found.map(
      ({ defect, lifecycles, seed, violation }) =>
        `| ${defect.title} (\`${defect.name}\`) | ${seed ?? "none"} | ${seed === undefined ? `not in ${lifecycles}` : lifecycles} | ${violation?.replaceAll("|", "\\|").slice(0, 120) ?? ""} |`
    )
  ].join("\n")
