/**
 * Every example runs to its end, as a reader would start it.
 */
import { execFile } from "node:child_process"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"

const folder = join(import.meta.dirname, "../examples")

const examples = readdirSync(folder).filter((name) => /^\d\d_.*\.ts$/.test(name))

const { CYCLES_BASE_URL: _, CYCLES_ADMIN_URL: __, ...environment } = process.env

const run = async (name: string): Promise<string> =>
  (await promisify(execFile)(process.execPath, [join(folder, name)], { env: environment })).stdout

/** The example whose whole output is recorded. Its models are scripts and its clock is a test clock. */
const agent = "08_agent.ts"

describe("examples", () => {
  it("are there", () => {
    expect(examples).toContain("01_quickstart.ts")
  })

  it.each(examples.filter((name) => name !== agent))("%s runs to its end", async (name) => {
    expect((await run(name)).trimEnd().endsWith("Done.")).toBe(true)
  })

  it(`${agent} prints the same summary each time`, async () => {
    await expect(await run(agent)).toMatchFileSnapshot("support/08_agent.txt")
  })
})
