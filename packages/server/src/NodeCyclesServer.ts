/**
 * The embedded Cycles server on a port, for development and for small deployments with a data file.
 *
 * **Details**
 *
 * - Durability: a response is sent after the change it reports is on disk. All requests of one turn of the event loop share
 *   one transaction (group commit).
 * - It listens on the loopback interface by default. Without a data file the ledger is lost when the process ends.
 * - Responses contain no stack trace, SQL or path: an internal error is a 500 with a request id.
 *
 * **Gotchas**
 *
 * - There is no TLS. Put a proxy in front of the server before it listens on another interface.
 * - Only one server can use a data file at a time.
 * - If a commit to the data file fails, an uncaught exception ends the process. After a restart the server continues with the
 *   last committed state.
 *
 * @see cycles-protocol-v0.yaml (runtime plane) and the governance specification (admin plane)
 * @since 0.1.0
 */
import * as Compiler from "@effect-cycles/protocol/Compiler"
import * as Headers from "@effect-cycles/protocol/Headers"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Path from "node:path"
import * as CyclesServer from "./CyclesServer.ts"
import type { Request, Response, Server } from "./internal/call.ts"
import type { Respond } from "./internal/exchange.ts"
import { serve } from "./internal/exchange.ts"
import type { Plane } from "./internal/handler.ts"
import * as Handler from "./internal/handler.ts"
import * as Page from "./internal/page.ts"
import * as Ports from "./internal/ports.ts"
import * as SqliteStore from "./internal/sqliteStore.ts"
import { makeMemory } from "./internal/store.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Options of a server on a port.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The port of the runtime plane, from 0 to 65535. 0 picks a free port. */
  readonly port: number
  /** The port of the admin plane, from 0 to 65535. 0 picks a free port. Default: both planes share `port`. */
  readonly adminPort?: number | undefined
  /** The interface to listen on. Default: `127.0.0.1`, which other machines can't reach. */
  readonly host?: string | undefined
  /** The key that clients of the admin plane send as `X-Admin-API-Key`. */
  readonly adminKey: string
  /**
   * The path of the data file. A missing file is created; a file of an older format is copied and upgraded. Default: the ledger
   * is kept in memory.
   */
  readonly data?: string | undefined
  /** Limits of one connection. Defaults: see `Limits`. */
  readonly limits?: Partial<Limits> | undefined
  /**
   * How often expired reservations return their budget. The reference server does so every 5 seconds. 0 returns it before the next
   * response. Default: 0.
   */
  readonly sweepInterval?: Duration.Input | undefined
  /**
   * Whether `/` is a page with budgets, live reservations and the latest denials, and `/openapi.json` the description of the runtime
   * plane. The page needs no key on the machine of the server, and the admin key elsewhere. Default: false.
   */
  readonly page?: boolean | undefined
  /**
   * Called after each response of a plane, for a request log. It isn't called for requests of the page, or for requests that are
   * too large or aren't HTTP. Default: nothing.
   */
  readonly onRequest?: ((request: HandledRequest) => void) | undefined
  /** Called for an accepted request with fields that have no effect. Default: nothing. */
  readonly onWarning?: ((message: string) => void) | undefined
}

/**
 * A request and the outcome of its response.
 *
 * @category models
 * @since 0.1.0
 */
export interface HandledRequest {
  /** The HTTP method. */
  readonly method: string
  /** The path, without the query. */
  readonly path: string
  /** The HTTP status. */
  readonly status: number
  /** The time from the end of the request to its response, in milliseconds. It includes the write to the data file. */
  readonly durationMs: number
  /** The id of the tenant whose key the request has, if any. */
  readonly tenant: string | undefined
  /** The code and the message of an error response. */
  readonly error: { readonly code: string; readonly message: string } | undefined
}

/**
 * Limits of one connection, so that a slow or hostile client can't block the others.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  /** The maximum size of a request body, in bytes. A larger body gets a 413. Default: 1,048,576. */
  readonly maxBodyBytes: number
  /** The maximum time for the headers of a request, in milliseconds. Default: 10,000. */
  readonly headersTimeoutMs: number
  /** The maximum time for a whole request, in milliseconds, at least `headersTimeoutMs`. Default: 30,000. */
  readonly requestTimeoutMs: number
  /** How long an idle connection stays open between requests, in milliseconds. Default: 60,000. */
  readonly keepAliveTimeoutMs: number
  /** How long a connection may transfer no data, in milliseconds. Default: 120,000. */
  readonly stallTimeoutMs: number
}

/**
 * A running server.
 *
 * @category models
 * @since 0.1.0
 */
export interface Running {
  /** The base URL of the runtime plane, without a trailing slash. */
  readonly url: string
  /** The base URL of the admin plane, without a trailing slash. */
  readonly adminUrl: string
  /** The internals of the server, for tests that inspect or change its store. They are not a stable API. */
  readonly server: Server
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Starts a server that runs until the scope closes.
 *
 * **Details**
 *
 * Reservations that expired while the server was down are expired before it listens. While it runs, it expires reservations at
 * every request and every 5 seconds, or only every `sweepInterval`. Closing the scope closes all connections and the data file.
 *
 * **Gotchas**
 *
 * Fails with a `ServerError` if the port or the data file can't be used.
 *
 * @example
 * ```ts
 * import { NodeCyclesServer } from "@effect-cycles/server"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const { url } = yield* NodeCyclesServer.make({ port: 0, adminKey: "secret" })
 *   const response = yield* Effect.promise(() => fetch(`${url}/actuator/health`))
 *   console.log(response.status) // 200
 * })
 *
 * Effect.runPromise(Effect.scoped(program))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Effect.Effect<Running, ServerError, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    Compiler.enable()
    const store = yield* Effect.acquireRelease(
      Effect.try({
        try: () => (options.data === undefined ? makeMemory() : SqliteStore.open(options.data)),
        catch: (cause) => new ServerError({ problem: cause instanceof Error ? cause.message : String(cause) })
      }),
      (store) => Effect.sync(store.close)
    )
    const sweepIntervalMs = Duration.toMillis(options.sweepInterval ?? 0)
    const server = CyclesServer.makeServer({
      store,
      adminKey: options.adminKey,
      warn: options.onWarning,
      isSweptByTimer: sweepIntervalMs > 0
    })
    const respond = groupCommit(server, () => clock.currentTimeMillisUnsafe(), options.onRequest)
    const host = options.host ?? "127.0.0.1"
    const isShared = options.adminPort === undefined
    // Reservations that expired while the server was down must not appear as ACTIVE in a response.
    yield* sweepAll(server)
    const limits = { ...defaultLimits, ...options.limits }
    const page = options.page === true ? yield* makePage(server, options.data) : undefined
    const listenOn = (port: number, plane: Plane, otherPort: number | undefined) =>
      Effect.catchIf(
        listen(host, port, respond(plane), page, limits),
        (error) => error.problem.includes("EADDRINUSE"),
        ({ problem }) =>
          Effect.flatMap(Ports.free(host, port, otherPort), (free) =>
            Effect.fail(new ServerError({ problem: `${problem}. Port ${free} is free` }))
          )
      )
    const port = yield* listenOn(options.port, isShared ? "both" : "runtime", options.adminPort)
    const adminPort = options.adminPort === undefined ? port : yield* listenOn(options.adminPort, "admin", port)
    // Expire reservations even if no request arrives.
    const interval = sweepIntervalMs > 0 ? sweepIntervalMs : defaultSweepMs
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(interval), sweepAll(server))))
    const hostname = host.includes(":") ? `[${host}]` : host
    return { url: `http://${hostname}:${port}`, adminUrl: `http://${hostname}:${adminPort}`, server }
  })

/** Creates the page, and closes it with the scope. */
const makePage = (server: Server, data: string | undefined): Effect.Effect<Page.Page, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const now = () => clock.currentTimeMillisUnsafe()
    const page = Page.make({
      server,
      now,
      store: data === undefined ? "Ledger in memory" : `Ledger in ${Path.basename(data)}`,
      sweep: () => {
        if (server.isSweptByTimer) return
        Handler.sweep(server, now())
        server.store.commit()
      }
    })
    return yield* Effect.acquireRelease(Effect.succeed(page), ({ close }) => Effect.sync(close))
  })

/** Sweeps in batches, between which requests are handled. */
const sweepAll = (server: Server): Effect.Effect<void> =>
  Effect.gen(function* () {
    while (true) {
      const mayHaveMore = Handler.sweep(server, yield* Clock.currentTimeMillis)
      server.store.commit()
      if (!mayHaveMore) return
      yield* Effect.yieldNow
    }
  })

/** The interval between sweeps without requests; the reference server uses the same. */
const defaultSweepMs = 5_000

// ---------------------------------------------------------------------------------------------------------------------
// group commit
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Handles the requests of one turn of the event loop together, in one transaction, and then sends their responses. Syncing the
 * file dominates the cost of a request on SQLite, and code that runs several times in a row is much faster.
 */
const groupCommit = (server: Server, now: () => number, onRequest: Options["onRequest"]) => {
  let queue: Array<Pending> = []

  const handleAll = (): void => {
    const batch = queue
    queue = []
    const responses = batch.map(({ plane, request, send, startedAt }) => {
      const response = Handler.handle(server, plane, request, now())
      return () => {
        send(response)
        onRequest?.(handledRequest(request, response, performance.now() - startedAt))
      }
    })
    server.store.commit()
    for (const sendResponse of responses) sendResponse()
  }

  return (plane: Plane): Respond =>
    (request, send) => {
      if (queue.length === 0) setImmediate(handleAll)
      queue.push({ plane, request, send, startedAt: onRequest === undefined ? 0 : performance.now() })
    }
}

interface Pending {
  readonly plane: Plane
  readonly request: Request
  readonly send: (response: Response) => void
  readonly startedAt: number
}

const handledRequest = (
  { method, url }: Request,
  { body, headers, status }: Response,
  durationMs: number
): HandledRequest => {
  const error: Readonly<Record<string, unknown>> = status < 400 || body === "" ? {} : Object(JSON.parse(body))
  return {
    method,
    path: url.split("?", 1)[0] ?? "",
    status,
    durationMs,
    tenant: headers[Headers.TENANT],
    error: typeof error["error"] === "string" ? { code: error["error"], message: String(error["message"]) } : undefined
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// sockets
// ---------------------------------------------------------------------------------------------------------------------

const defaultLimits: Limits = {
  maxBodyBytes: 1_048_576,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  keepAliveTimeoutMs: 60_000,
  stallTimeoutMs: 120_000
}

/** Listens until the scope closes, and returns the port. */
const listen = (
  host: string,
  port: number,
  respond: Respond,
  page: Page.Page | undefined,
  limits: Limits
): Effect.Effect<number, ServerError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<Http.Server, ServerError>((resume) => {
        const http = Http.createServer(
          {
            requestTimeout: limits.requestTimeoutMs,
            headersTimeout: limits.headersTimeoutMs,
            keepAliveTimeout: limits.keepAliveTimeoutMs,
            // The interval at which Node checks the first two timeouts. Its default of 30 s is too long for them.
            connectionsCheckingInterval: Math.min(1_000, Math.ceil(limits.headersTimeoutMs / 4)),
            maxHeaderSize: 16_384
          },
          (incoming, outgoing) => {
            if (page?.handle(incoming, outgoing) !== true) serve(incoming, outgoing, respond, limits.maxBodyBytes)
          }
        )
        http.setTimeout(limits.stallTimeoutMs)
        http.once("error", (error) => {
          resume(Effect.fail(new ServerError({ problem: `can't listen on ${host}:${port}: ${error.message}` })))
        })
        http.listen(port, host, () => resume(Effect.succeed(http)))
      }),
      (http) =>
        Effect.callback<void>((resume) => {
          http.close(() => resume(Effect.void))
          http.closeAllConnections()
        })
    ),
    (http) => {
      const address = http.address()
      return typeof address === "object" && address !== null ? address.port : port
    }
  )

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The server could not start: the port is in use, or the data file can't be used.
 *
 * @category errors
 * @since 0.1.0
 */
export class ServerError extends Schema.TaggedError<ServerError>()("ServerError", {
  /** What failed, with the address or the path of the file. */
  problem: Schema.String
}) {
  override get message(): string {
    return `The Cycles server can't run: ${this.problem}`
  }
}
