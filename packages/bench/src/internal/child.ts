/**
 * Processes of a benchmark: each of what is measured runs in one of its own, so that its CPU, its heap and its compiled code
 * are its own, and answers questions one after another.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { ChildProcess } from "node:child_process"
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"

/** A process of a benchmark. */
export interface Child {
  /** Asks a question; an answer that is none is a defect, since both sides are ours. */
  readonly ask: <A, I>(answer: Schema.Codec<A, I>, question: object) => Effect.Effect<A>
}

/** Starts a module as a process; it is killed when the scope closes. */
export const start = (module: URL, ...args: ReadonlyArray<string>): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => fork(fileURLToPath(module), args)),
      ended
    ),
    (child) => ({
      ask: (schema, question) =>
        Effect.flatMap(exchange(child, question), (answer) => Effect.orDie(Schema.decodeUnknownEffect(schema)(answer)))
    })
  )

const ended = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (child.exitCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

const exchange = (child: ChildProcess, question: object): Effect.Effect<unknown> =>
  Effect.callback((resume) => {
    const onExit = (code: number | null): void =>
      resume(Effect.die(new Error(`a process of the benchmark ended with ${code}`)))
    child.once("exit", onExit)
    child.once("message", (answer) => {
      child.off("exit", onExit)
      resume(Effect.succeed(answer))
    })
    child.send(question)
  })

/** In the process itself: answers the questions that are asked. A question that can't be answered ends the process. */
export const serve = <A, I>(schema: Schema.Codec<A, I>, answer: (question: A) => Promise<object>): void => {
  const decode = Schema.decodeUnknownSync(schema)
  process.on("message", (question) => {
    answer(decode(question)).then(
      (message) => void process.send?.(message),
      (error: unknown) => {
        console.error(error)
        process.exit(1)
      }
    )
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// what is asked
// ---------------------------------------------------------------------------------------------------------------------

/** What a process has used since it began. */
export const Usage = Schema.Struct({
  /** User and system, of all threads. */
  cpuMicros: Schema.Finite,
  elapsedMs: Schema.Finite,
  rssBytes: Schema.Finite
})

/** What a process has used since it began. */
export type Usage = typeof Usage.Type

/** What this process has used since it began. */
export const usage = (): Usage => {
  const { system, user } = process.cpuUsage()
  return { cpuMicros: user + system, elapsedMs: performance.now(), rssBytes: process.memoryUsage.rss() }
}

/** What was used between two moments; the memory is that of the later one. */
export const between = (before: Usage, after: Usage): Usage => ({
  cpuMicros: after.cpuMicros - before.cpuMicros,
  elapsedMs: after.elapsedMs - before.elapsedMs,
  rssBytes: after.rssBytes
})

/** Where a server of a benchmark answers. */
export const Address = Schema.Struct({ url: Schema.String, apiKey: Schema.String })

/** Where a server of a benchmark answers. */
export type Address = typeof Address.Type
