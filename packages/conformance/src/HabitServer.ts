/**
 * The embedded server with all habits of the reference server, on loopback: the key check that all waiting calls pay, the
 * connections that end after 100 requests, answers in chunks without a length, rate limit headers that mean none, slow
 * reads of balances and lists.
 *
 * It keeps its books in memory. Each habit can be set, so that a test need not wait for a minute.
 */
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import * as WithHabits from "./internal/habits.ts"
import * as Loopback from "./internal/loopback.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** What it is started with. */
export interface Options extends CyclesServer.MemoryOptions, WithHabits.Habits {
  /** Default: a free one. */
  readonly port?: number | undefined
}

/** A server that runs. */
export interface HabitServer {
  readonly url: string
  /** What keeps the books, for a test to look at. */
  readonly server: CyclesServer.CyclesServer
  /** What was seen of the clients so far. */
  readonly counts: () => WithHabits.Counts
  /** Forgets that keys were checked, as after a minute. */
  readonly forgetKeys: () => void
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Starts it; its connections end with the scope. */
export const make = (options: Options = {}): Effect.Effect<HabitServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const server = yield* CyclesServer.makeMemoryServer(options)
    const run = Effect.runSyncWith(yield* Effect.context<never>())
    const around = WithHabits.make((incoming, body, outgoing) => {
      const response = run(
        server.handle({
          method: incoming.method ?? "GET",
          url: incoming.url ?? "/",
          headers: single(incoming.headers),
          body
        })
      )
      // Written before it is ended, so that no length is known.
      outgoing.writeHead(response.status, response.headers)
      outgoing.write(response.body)
      outgoing.end()
    }, options)
    const url = yield* Loopback.listen(options.port ?? 0, around.listener, around.isServed)
    return { url, server, counts: around.counts, forgetKeys: around.forgetKeys }
  })

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const single = (headers: Http.IncomingHttpHeaders): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (typeof value === "string" ? [[name, value]] : []))
  )
