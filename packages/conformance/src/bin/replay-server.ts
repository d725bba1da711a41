/**
 * `pnpm --silent replay-server --port P --admin-port Q --hook-port H --admin-key K [--data FILE]`
 */
import * as Effect from "effect/Effect"
import { parseArgs } from "node:util"
import { runUntilSignal } from "../internal/untilSignal.ts"
import * as ReplayServer from "../ReplayServer.ts"

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "7878" },
    "admin-port": { type: "string", default: "7979" },
    "hook-port": { type: "string", default: "7980" },
    "admin-key": { type: "string", default: "admin" },
    data: { type: "string" }
  }
})

const program = Effect.gen(function* () {
  const running = yield* ReplayServer.make({
    port: Number(values.port),
    adminPort: Number(values["admin-port"]),
    hookPort: Number(values["hook-port"]),
    adminKey: values["admin-key"],
    data: values.data
  })
  console.log(`listening on ${running.url} (pid ${process.pid})`)
})

runUntilSignal(program)
