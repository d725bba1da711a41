/**
 * The embedded server on the loopback interface, with the quirks of the reference server: a slow key check whose cost
 * all waiting calls share, connections that close after 100 requests, chunked responses without a length, rate limit
 * headers that set no limit, and slow reads of balances and lists.
 *
 * The ledger is in memory. Each quirk can be configured, so that a test doesn't have to wait a minute.
 */
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as WithQuirks from "./internal/quirks.ts"
import * as Loopback from "./internal/loopback.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The server and its quirks. */
export interface Options extends CyclesServer.MemoryOptions, WithQuirks.Quirks {
  /** The port. Default: a free one. */
  readonly port?: number | undefined
}

/** A running server. */
export interface QuirkServer {
  readonly url: string
  /** The embedded server, for tests that inspect its ledger. */
  readonly server: CyclesServer.CyclesServer
  /** Counters of the requests so far. */
  readonly counts: () => WithQuirks.Counts
  /** Clears the cache of checked keys, which otherwise expire after a minute. */
  readonly forgetKeys: () => void
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Starts the server. Its connections are closed with the scope. */
export const make = (options: Options = {}): Effect.Effect<QuirkServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const server = yield* CyclesServer.makeMemoryServer(options)
    const run = Effect.runSyncWith(yield* Effect.context<never>())
    const around = WithQuirks.make((incoming, body, outgoing) => {
      const response = run(server.handle(Loopback.requestOf(incoming, body)))
      // Written before the end, so that the response has no content-length.
      outgoing.writeHead(response.status, response.headers)
      outgoing.write(response.body)
      outgoing.end()
    }, options)
    const url = yield* Loopback.listen(options.port ?? 0, around.listener, around.isServed)
    return { url, server, counts: around.counts, forgetKeys: around.forgetKeys }
  })
