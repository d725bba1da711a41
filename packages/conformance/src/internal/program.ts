/** Runs the programs of this package in separate processes. */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { join } from "node:path"

/** The exit code and output of a program. */
export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program of `src/bin`, with `env` in addition to the environment of this process, and waits for its end. */
export const runProgram = (
  name: string,
  args: ReadonlyArray<string>,
  input: string,
  env?: Readonly<Record<string, string>>
): Effect.Effect<Ended> =>
  Effect.callback((resume) => {
    const child = spawn(process.execPath, [join(import.meta.dirname, `../bin/${name}.ts`), ...args], {
      env: { ...process.env, ...env }
    })
    let stdout = ""
    let stderr = ""
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString("utf8")))
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString("utf8")))
    child.stdin.end(input)
    child.once("close", (code) => resume(Effect.succeed({ code, stdout, stderr })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })
