/**
 * The embedded server on a port: for development, and for small deployments with a data file.
 *
 * An answer leaves after what it tells of is durable; all answers that wait together share one commit. It listens on the
 * loopback interface unless it is told otherwise.
 *
 * Source: ours.
 */
import * as Headers from "@effect-cycles/protocol/Headers"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as CyclesServer from "./CyclesServer.ts"
import type { Request, Response, Server } from "./internal/call.ts"
import type { Plane } from "./internal/handler.ts"
import * as Handler from "./internal/handler.ts"
import * as SqliteStore from "./internal/sqliteStore.ts"
import { makeMemory } from "./internal/store.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Where and how a server runs. */
export interface Options {
  /** The port of the runtime plane, and of the administrator's where that has none of its own; 0 takes a free one. */
  readonly port: number
  /** The port of the administrator's plane. Default: that of the runtime plane. */
  readonly adminPort?: number | undefined
  /** Default `127.0.0.1`: nobody else can reach it. */
  readonly host?: string | undefined
  /** The administrator's key. */
  readonly adminKey: string
  /** A data file. Default: the books are kept in memory and end with the process. */
  readonly data?: string | undefined
  /** What a connection may ask for, and for how long. */
  readonly limits?: Partial<Limits> | undefined
}

/** What keeps one connection from taking the server from all others. */
export interface Limits {
  /** The largest body, in bytes; a larger one is a 413. Default 1,048,576. */
  readonly maxBodyBytes: number
  /** How long a connection may take for the headers of a request, in milliseconds. Default 10,000. */
  readonly headersTimeoutMs: number
  /** How long for a whole request, in milliseconds, not less than that for its headers. Default 30,000. */
  readonly requestTimeoutMs: number
  /** How long a connection may be without a request, in milliseconds. Default 60,000. */
  readonly keepAliveTimeoutMs: number
  /** How long an answer may wait for its reader to take any of it, in milliseconds. Default 120,000. */
  readonly stallTimeoutMs: number
}

/** A server that runs. */
export interface Running {
  readonly url: string
  readonly adminUrl: string
  /** What it is made of, for a test to change by hand. */
  readonly server: Server
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Starts a server in a scope; closing the scope ends all connections and closes the data file. */
export const make = (options: Options): Effect.Effect<Running, ServerError, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const store = yield* Effect.acquireRelease(
      Effect.try({
        try: () => (options.data === undefined ? makeMemory() : SqliteStore.open(options.data)),
        catch: (cause) => new ServerError({ problem: cause instanceof Error ? cause.message : String(cause) })
      }),
      (store) => Effect.sync(store.close)
    )
    const server = CyclesServer.makeServer({ store, adminKey: options.adminKey })
    const respond = groupCommit(server, () => clock.currentTimeMillisUnsafe())
    const host = options.host ?? "127.0.0.1"
    const isShared = options.adminPort === undefined
    // What fell due while the server was down is done before anybody can ask.
    while (Handler.sweep(server, clock.currentTimeMillisUnsafe())) if (store.isDirty()) store.commit()
    const limits = { ...defaultLimits, ...options.limits }
    const port = yield* listen(host, options.port, respond(isShared ? "both" : "runtime"), limits)
    const adminPort =
      options.adminPort === undefined ? port : yield* listen(host, options.adminPort, respond("admin"), limits)
    // What falls due while nobody asks is done all the same.
    yield* Effect.forkScoped(
      Effect.forever(
        Effect.andThen(
          Effect.sleep(sweepMs),
          Effect.sync(() => {
            Handler.sweep(server, clock.currentTimeMillisUnsafe())
            if (store.isDirty()) store.commit()
          })
        )
      )
    )
    const name = host.includes(":") ? `[${host}]` : host
    return { url: `http://${name}:${port}`, adminUrl: `http://${name}:${adminPort}`, server }
  })

/** How often expired reservations are looked for, as the reference does. */
const sweepMs = 5_000

// ---------------------------------------------------------------------------------------------------------------------
// durable answers
// ---------------------------------------------------------------------------------------------------------------------

type Respond = (request: Request, send: (response: Response) => void) => void

/**
 * Answers requests, and holds back what tells of a change until the change is durable. All answers of one turn of the event
 * loop leave together: writing them one by one wakes the other side for each.
 */
const groupCommit = (server: Server, now: () => number) => {
  let pending: Array<() => void> = []
  let isScheduled = false

  const commit = (): void => {
    const batch = pending
    pending = []
    isScheduled = false
    server.store.commit()
    for (const send of batch) send()
  }

  return (plane: Plane): Respond =>
    (request, send) => {
      const response = Handler.handle(server, plane, request, now())
      pending.push(() => send(response))
      if (isScheduled) return
      isScheduled = true
      setImmediate(commit)
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

/** Listens, and returns the port. */
const listen = (
  host: string,
  port: number,
  respond: Respond,
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
            // How exact the two above are: they are looked at this often, every 30 s if nothing is said.
            connectionsCheckingInterval: Math.min(1_000, Math.ceil(limits.headersTimeoutMs / 4)),
            maxHeaderSize: 16_384
          },
          (incoming, outgoing) => serve(incoming, outgoing, respond, limits.maxBodyBytes)
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

const serve = (
  incoming: Http.IncomingMessage,
  outgoing: Http.ServerResponse,
  respond: Respond,
  maxBodyBytes: number
): void => {
  const send = ({ body, headers, status }: Response): void => {
    const length = Buffer.byteLength(body)
    const fields: Array<string> = []
    for (const name in headers) fields.push(name, headers[name] ?? "")
    if (length > 0) fields.push("content-length", String(length))
    outgoing.writeHead(status, fields)
    // One byte a character: nothing has to be encoded.
    outgoing.end(body, length === body.length ? "latin1" : "utf8")
  }
  const respondTo = (body: string): void => {
    const { headers, method = "GET", url = "/" } = incoming
    respond({ method, url, headers: hasSingleValues(headers) ? headers : singleValues(headers), body }, send)
  }
  incoming.on("error", () => outgoing.destroy())
  if (incoming.method === "GET" || incoming.method === "HEAD") {
    incoming.resume()
    respondTo("")
    return
  }
  const chunks: Array<Buffer> = []
  let size = 0
  incoming.on("data", (chunk: Buffer) => {
    const before = size
    size += chunk.length
    if (size <= maxBodyBytes) {
      chunks.push(chunk)
      return
    }
    if (before <= maxBodyBytes) {
      chunks.length = 0
      rejectBody(outgoing, maxBodyBytes)
    }
    // The rest is read and dropped, so that the answer arrives; but not without end.
    if (size > 8 * maxBodyBytes) incoming.destroy()
  })
  incoming.on("end", () => {
    if (size > maxBodyBytes) outgoing.end()
    else respondTo(chunks.length === 1 ? String(chunks[0]) : Buffer.concat(chunks).toString("utf8"))
  })
}

/** Says that a body is too large, and that the connection ends. */
const rejectBody = (outgoing: Http.ServerResponse, maxBodyBytes: number): void => {
  const id = globalThis.crypto.randomUUID()
  const trace = globalThis.crypto.randomUUID().replaceAll("-", "")
  const body = JSON.stringify({
    error: "INVALID_REQUEST",
    message: `A body has at most ${maxBodyBytes} bytes`,
    request_id: id,
    trace_id: trace
  })
  outgoing.writeHead(413, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    connection: "close",
    [Headers.REQUEST_ID]: id,
    [Headers.TRACE_ID]: trace
  })
  outgoing.write(body)
}

/** Whether each header is one text. Node makes one of those that came more often, but for this one. */
const hasSingleValues = (headers: Http.IncomingHttpHeaders): headers is Record<string, string | undefined> =>
  headers["set-cookie"] === undefined

const singleValues = (headers: Http.IncomingHttpHeaders): Request["headers"] => {
  const result: Record<string, string> = {}
  for (const name in headers) {
    const value = headers[name]
    if (typeof value === "string") result[name] = value
  }
  return result
}

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/** The server could not be started: the port is taken, or the data file can't be used. */
export class ServerError extends Schema.TaggedError<ServerError>()("ServerError", {
  problem: Schema.String
}) {
  override get message(): string {
    return `The Cycles server can't run: ${this.problem}`
  }
}
