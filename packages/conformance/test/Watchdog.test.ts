import { describe, expect, it } from "@effect/vitest"
import { spawn } from "node:child_process"

const program = `
  import * as Effect from "effect/Effect"
  import * as Watchdog from "./src/internal/fuzz/watchdog.ts"
  await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
    const watchdog = yield* Watchdog.make({ limitMs: 1_000 })
    yield* watchdog.guard("a finished case", Effect.sleep(300))
    yield* watchdog.guard("a case that waits", Effect.sleep(3_000))
    console.log("waited")
    yield* watchdog.guard("the blocking case", Effect.sync(() => { for (;;) if (Date.now() < 0) break }))
  })))
`

describe("Watchdog", () => {
  it("ends a process whose event loop is blocked, and prints the running case", { timeout: 60_000 }, async () => {
    const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
      cwd: new URL("..", import.meta.url)
    })
    let output = ""
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
    let errors = ""
    child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()))
    const signal = await new Promise((resolve) => child.once("close", (_, signal) => resolve(signal)))
    expect({ errors, output, signal }).toEqual({
      output: "waited\n",
      errors: "FAILED the event loop was blocked for 1000 ms by one of:\nthe blocking case\n",
      signal: "SIGKILL"
    })
  })
})
