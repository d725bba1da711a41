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

describe("examples", () => {
  it("are there", () => {
    expect(examples).toContain("01_quickstart.ts")
  })

  it.each(examples)("%s runs to its end", async (name) => {
    const { stdout } = await promisify(execFile)(process.execPath, [join(folder, name)], { env: environment })
    expect(stdout.trimEnd().endsWith("Done.")).toBe(true)
  })
})
