/**
 * `pnpm --silent recovery-adapter SCENARIO-ID`: the adapter of the published recovery runner. It reads the scenario as JSON
 * from standard input, runs it, and prints one line of JSON.
 */
import * as Effect from "effect/Effect"
import { text } from "node:stream/consumers"
import * as Recovery from "../Recovery.ts"

const id = process.argv[2] ?? ""

const fail = (problem: string): never => {
  console.error(problem)
  process.exit(2)
}

const read = (input: string): unknown => {
  try {
    return JSON.parse(input)
  } catch {
    return fail("standard input is not JSON")
  }
}

const asked = read(await text(process.stdin))
if (typeof asked !== "object" || asked === null || !("id" in asked) || asked.id !== id) {
  fail(`the scenario on standard input is not ${id}`)
}
if (typeof asked === "object" && asked !== null && ("expected_requests" in asked || "assertions" in asked)) {
  fail("the input must not contain the expected results")
}
const scenario =
  (Object.hasOwn(Recovery.scenarios, id) ? Recovery.scenarios[id] : undefined) ?? fail(`there is no scenario ${id}`)

const checks = await Effect.runPromise(Recovery.run(scenario))
const failed = checks.filter((check) => !check.isMet)
for (const check of failed) console.error(`${check.name}: ${check.found}`)
console.log(
  JSON.stringify({
    scenario_id: id,
    passed: checks.length > 0 && failed.length === 0,
    native_tests: checks.map((check) => `packages/conformance/src/Recovery.ts > ${id} > ${check.name}`),
    diagnostic:
      failed.length === 0
        ? `${checks.length} checks, 0 failed`
        : `${checks.length} checks, ${failed.length} failed: ${failed.map((check) => check.name).join("; ")}`
  })
)
