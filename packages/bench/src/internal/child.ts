/**
 * Runs each row of a benchmark in its own process, so that CPU, heap and compiled code are separate. A process handles
 * one request after another.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { ChildProcess } from "node:child_process"
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"

/** A process of a benchmark. */
export interface Child {
  /** Sends a request and decodes the response. An invalid response is a defect. */
  readonly ask: <A, I>(response: Schema.Codec<A, I>, request: object) => Effect.Effect<A>
}

/** Starts a module as a process. It is killed when the scope closes. */
export const start = (module: URL, ...args: ReadonlyArray<string>): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => fork(fileURLToPath(module), args)),
      ended
    ),
    (child) => ({
      ask: (schema, request) =>
        Effect.flatMap(exchange(child, request), (response) =>
          Effect.orDie(Schema.decodeUnknownEffect(schema)(response))
        )
    })
  )

const ended = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (child.exitCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

const exchange = (child: ChildProcess, request: object): Effect.Effect<unknown> =>
  Effect.callback((resume) => {
    const onExit = (code: number | null): void =>
      resume(Effect.die(new Error(`a process of the benchmark ended with ${code}`)))
    child.once("exit", onExit)
    child.once("message", (response) => {
      child.off("exit", onExit)
      resume(Effect.succeed(response))
    })
    child.send(request)
  })

/** In the child process: handles requests. A request that fails ends the process. */
export const serve = <A, I>(schema: Schema.Codec<A, I>, response: (request: A) => Promise<object>): void => {
  const decode = Schema.decodeUnknownSync(schema)
  process.on("message", (request) => {
    response(decode(request)).then(
      (message) => void process.send?.(message),
      (error: unknown) => {
        console.error(error)
        process.exit(1)
      }
    )
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// messages
// ---------------------------------------------------------------------------------------------------------------------

/** The resources that a process has used since it started. */
export const Usage = Schema.Struct({
  /** User and system time of all threads. */
  cpuMicros: Schema.Finite,
  elapsedMs: Schema.Finite,
  rssBytes: Schema.Finite,
  /** The time from start to end of a unit, if it was measured. */
  latency: Schema.optionalKey(Schema.Struct({ p50Ms: Schema.Finite, p99Ms: Schema.Finite }))
})

/** The resources that a process has used since it started. */
export type Usage = typeof Usage.Type

/** Returns the resources that this process has used since it started. */
export const usage = (): Usage => {
  const { system, user } = process.cpuUsage()
  return { cpuMicros: user + system, elapsedMs: performance.now(), rssBytes: process.memoryUsage.rss() }
}

/** The resources that were used between two measurements; the memory is that of the later one. */
export const between = (before: Usage, after: Usage): Usage => ({
  cpuMicros: after.cpuMicros - before.cpuMicros,
  elapsedMs: after.elapsedMs - before.elapsedMs,
  rssBytes: after.rssBytes
})

/** The URL of a server, and a key for it. */
export const Address = Schema.Struct({ url: Schema.String, apiKey: Schema.String })

/** The URL of a server, and a key for it. */
export type Address = typeof Address.Type
