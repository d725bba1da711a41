/** The report of a denial that a client in shadow mode doesn't enforce. */
import * as Effect from "effect/Effect"
import type { CyclesError } from "../../CyclesError.ts"
import * as Log from "./log.ts"
import * as Metrics from "./metrics.ts"

/** Counts and logs a denial that isn't enforced. */
export const report = (by: "server" | "process" | "run", denial: CyclesError): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    Metrics.shadowDenial(by, fiber.context)
    return Log.warning(`Not enforced in shadow mode: ${denial.message}`)
  })
