/**
 * The programs of the pages print what the pages show.
 */
import { rmSync } from "node:fs"
import { afterAll, describe, expect, it } from "vitest"
import { folder, pages, programsOf, run } from "../programs.ts"

afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The guide to operations shows commands, which `operations.test.ts` runs. */
const withoutPrograms = ["docs/guide/10-operations.md"]

const guides = pages.filter((page) => page.startsWith("docs/guide/"))

describe("the guides", () => {
  it("are numbered without gaps", () => {
    const numbers = guides.map((page) => Number(/\/(\d\d)-[^/]*$/.exec(page)?.[1]))
    expect(new Set(numbers).size).toBe(numbers.length)
    expect(numbers.toSorted((a, b) => a - b)).toEqual(numbers.map((_, i) => i + 1))
  })

  it.each(["README.md", ...guides].filter((page) => !withoutPrograms.includes(page)))("%s has a program", (page) => {
    expect(programsOf(page)).not.toEqual([])
  })
})

for (const page of pages.filter((page) => programsOf(page).length > 0)) {
  describe(page, () => {
    it.each(programsOf(page))("program $number prints what the page shows", async (program) => {
      expect((await run(program)).trimEnd()).toBe(program.output.trimEnd())
    })
  })
}
