#!/usr/bin/env node
/** The program `effect-cycles`. See `docs/guide/10-operations.md`. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Fs from "node:fs"
import * as Main from "./internal/cli/main.ts"

const manifest: { readonly version: string } = JSON.parse(
  Fs.readFileSync(new URL("../../package.json", import.meta.url), "utf8")
)

for (const stream of [process.stdout, process.stderr]) {
  // The reader has closed the pipe, for example `head`.
  stream.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1))
}

const fiber = Effect.runFork(
  Main.run({
    args: process.argv.slice(2),
    env: process.env,
    version: manifest.version,
    writer: { out: (text) => void process.stdout.write(text), error: (text) => void process.stderr.write(text) }
  })
)

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => fiber.interruptUnsafe())

fiber.addObserver((exit) => {
  process.exitCode = exit._tag === "Success" ? exit.value : 130
})

await Effect.runPromise(Fiber.await(fiber))
