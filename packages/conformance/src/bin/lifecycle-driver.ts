/**
 * `pnpm --silent lifecycle-driver < call.json`: prints one line of JSON. The exit code is 0 if the call was run, whatever its
 * result, and 2 if the input is invalid.
 */
import * as Json from "@effect-cycles/protocol/Json"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import { text } from "node:stream/consumers"
import * as LifecycleDriver from "../LifecycleDriver.ts"

const program = Effect.flatMap(
  Effect.promise(() => text(process.stdin)),
  (input) => Effect.flatMap(LifecycleDriver.read(input), LifecycleDriver.run)
).pipe(Effect.provide(Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)])))

Effect.runPromise(program).then(
  (outcome) => console.log(Json.stringify(outcome)),
  (error: unknown) => {
    const problem = error instanceof Error ? error.message : String(error)
    console.error(problem)
    console.log(JSON.stringify({ exit: "Refused", errors: [problem] }))
    process.exitCode = 2
  }
)
