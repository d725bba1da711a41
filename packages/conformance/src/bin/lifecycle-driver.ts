/**
 * `pnpm --silent lifecycle-driver < story.json`: prints one line of JSON.
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
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 2
  }
)
