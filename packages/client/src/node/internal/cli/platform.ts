/**
 * The platform services that `effect/cli` requires, on Node built-ins, so that the package doesn't depend on
 * `@effect/platform-node`. The program doesn't read files, start processes or prompt through them: paths are passed
 * as text, and the wizard isn't enabled.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import * as ChildProcess from "effect/process/ChildProcessSpawner"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"
import type { Writer } from "./output.ts"

const unused = (name: string): Effect.Effect<never> => Effect.die(new Error(`effect-cycles doesn't use ${name}`))

/** Provides the services. */
export const layer = (args: ReadonlyArray<string>, { error, out }: Writer) =>
  Layer.mergeAll(
    FileSystem.layerNoop({}),
    Path.layer,
    Layer.succeed(
      ChildProcess.ChildProcessSpawner,
      ChildProcess.make(() => unused("processes"))
    ),
    Layer.succeed(
      Stdio.Stdio,
      Stdio.make({
        args: Effect.succeed(args),
        stdout: () => sink(out),
        stderr: () => sink(error),
        stdin: Stream.empty
      })
    ),
    Layer.succeed(
      Terminal.Terminal,
      Terminal.make({
        columns: Effect.sync(() => process.stdout.columns ?? 80),
        rows: Effect.sync(() => process.stdout.rows ?? 24),
        size: unused("the size of the terminal"),
        readInput: unused("input"),
        readLine: unused("input"),
        display: (text) => Effect.sync(() => out(text))
      })
    )
  )

const sink = (write: (text: string) => void): Sink.Sink<void, string | Uint8Array> =>
  Sink.forEach((chunk: string | Uint8Array) =>
    Effect.sync(() => write(typeof chunk === "string" ? chunk : new TextDecoder().decode(chunk)))
  )
