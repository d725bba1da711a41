/** The deliberate defects. `pnpm simulate:defects` searches for all of them, this suite for a few. */
import { describe, expect, it } from "vitest"
import * as Defects from "../src/Defects.ts"
import * as DefectSearch from "../src/DefectSearch.ts"

/** Those that a few worlds find. With `CYCLES_DEFECTS=all` the suite searches for all. */
const quick = ["journal-after-request", "failure-releases-spend", "server-expiry-keeps-hold"]

describe("Defects", () => {
  const defects = Defects.all()

  it("are at least twenty", () => {
    expect(defects.length).toBeGreaterThanOrEqual(20)
  })

  it.each(defects)("$name applies to the sources", (defect) => {
    Defects.check(defect)
  })

  it("fail if their text no longer occurs exactly once", () => {
    const defect = Defects.parse(
      "example",
      "# An example\n\nfile: a.ts\n<<<<<<< search\nold\n=======\nnew\n>>>>>>> replace\n"
    )
    expect(Defects.apply(defect, "a.ts", "an old text")).toBe("an new text")
    expect(() => Defects.apply(defect, "a.ts", "another text")).toThrow("occurs 0 times")
    expect(() => Defects.apply(defect, "a.ts", "old and old")).toThrow("occurs 2 times")
  })

  it("are shrunk to a story of one call that a person can read", { timeout: 900_000 }, async () => {
    const [defect] = defects.filter(({ name }) => name === "failure-releases-spend")
    if (defect === undefined) return expect.fail("the defect is missing")
    const { story = "" } = await DefectSearch.search(defect, 25_000, true)
    expect(story).toContain("Shrunk to 1 calls of 1 clients with 0 faults")
    expect(story.split("\n").length).toBeLessThan(60)
  })

  const searched = defects.filter(({ name }) => process.env["CYCLES_DEFECTS"] === "all" || quick.includes(name))

  it.each(searched)("$name is found by the simulation", { timeout: 900_000 }, async (defect) => {
    const found = await DefectSearch.search(defect, 25_000)
    expect(found.seed).toBeDefined()
  })
})
