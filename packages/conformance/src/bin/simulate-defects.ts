/**
 * `pnpm simulate:defects [--lifecycles M] [--story] [NAME ...]`: searches for each deliberate defect with at most M calls, and
 * prints a table. The exit code is 1 if one isn't found.
 */
import { parseArgs } from "node:util"
import * as Defects from "../Defects.ts"
import type { Found } from "../DefectSearch.ts"
import * as DefectSearch from "../DefectSearch.ts"
import { integer, parsed, refuse } from "../internal/arguments.ts"

const usage = `Usage: pnpm simulate:defects [--lifecycles M] [--story] [NAME ...]

  --lifecycles M  the most guarded calls in which a defect must be found. Default: 25000
  --story         print the story of the shrunk world that shows the defect
  NAME            a file of packages/conformance/defects without its extension. Default: all

Searches for deliberate defects and prints a table. The exit code is 1 if one isn't found.`

const { positionals, values } = parsed(usage, (args) =>
  parseArgs({
    args,
    allowPositionals: true,
    options: { lifecycles: { type: "string", default: "25000" }, story: { type: "boolean", default: false } }
  })
)
const lifecycles = integer(usage, "lifecycles", values.lifecycles, 1)
const defects = Defects.all()
for (const name of positionals)
  if (!defects.some((defect) => defect.name === name)) refuse(usage, `there is no defect ${name}`)
const found: Array<Found> = []
for (const defect of defects) {
  if (positionals.length > 0 && !positionals.includes(defect.name)) continue
  const one = await DefectSearch.search(defect, lifecycles, values.story)
  found.push(one)
  console.error(
    `${defect.name}: ${one.seed === undefined ? "NOT FOUND" : `seed ${one.seed}, ${one.lifecycles} lifecycles`}`
  )
}
console.log(DefectSearch.tableOf(found))
for (const { defect, story } of found) if (story !== undefined) console.log(`\n${defect.title}\n\n${story}`)
if (found.some(({ seed }) => seed === undefined)) process.exitCode = 1
