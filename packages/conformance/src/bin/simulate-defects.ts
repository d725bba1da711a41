/**
 * `pnpm simulate:defects [--lifecycles M] [NAME ...]`: searches for each deliberate defect with at most M calls, and
 * prints a table. The exit code is 1 if one isn't found.
 */
import { parseArgs } from "node:util"
import * as Defects from "../Defects.ts"
import type { Found } from "../DefectSearch.ts"
import * as DefectSearch from "../DefectSearch.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { lifecycles: { type: "string", default: "25000" } }
})
const found: Array<Found> = []
for (const defect of Defects.all()) {
  if (positionals.length > 0 && !positionals.includes(defect.name)) continue
  const one = await DefectSearch.search(defect, Number(values.lifecycles))
  found.push(one)
  console.error(
    `${defect.name}: ${one.seed === undefined ? "NOT FOUND" : `seed ${one.seed}, ${one.lifecycles} lifecycles`}`
  )
}
console.log(DefectSearch.tableOf(found))
if (found.length === 0 || found.some(({ seed }) => seed === undefined)) process.exitCode = 1
