/**
 * Wraps a listener in the quirks of the reference server: slow key checks, closed connections, chunked responses and slow
 * reads. The defaults were measured on the reference server.
 */
import type * as Http from "node:http"
import type { Socket } from "node:net"
import { performance } from "node:perf_hooks"
import type { Listener } from "./loopback.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The configuration of the quirks. */
export interface Quirks {
  /** The CPU time of a key check, in milliseconds. Default 265. */
  readonly keyCheckMs?: number | undefined
  /**
   * How long a checked key is cached, in milliseconds from the end of the check. Using it doesn't extend that. Default 60,000.
   */
  readonly keyMemoryMs?: number | undefined
  /** The number of cores that concurrent checks share. Default 2. */
  readonly cores?: number | undefined
  /** The number of requests that a connection serves; 0 means no limit. Default 100. */
  readonly requestsPerConnection?: number | undefined
  /**
   * `announced`: the last response has `Connection: close`. `abrupt`: the connection is closed without notice when the next
   * request arrives, and that request isn't processed. Default `announced`.
   */
  readonly closing?: "announced" | "abrupt" | undefined
  /** The latency of reading balances or a list, in milliseconds. Default 1,000. */
  readonly slowReadMs?: number | undefined
}

/** Counters of a client's requests. */
export interface Counts {
  /** Processed requests, by method and path with `:id` for ids: `GET /v1/reservations/:id`. */
  readonly requests: ReadonlyMap<string, number>
  /** The number of key checks, each for a key that wasn't cached. */
  readonly keyChecks: number
  readonly connections: number
  /** Requests that were dropped with their connection. */
  readonly cut: number
}

/** A listener with quirks. */
export interface WithQuirks {
  readonly listener: Listener
  /** Called for each request before its body is read. Returns false if the connection was closed instead. */
  readonly isServed: (incoming: Http.IncomingMessage, outgoing: Http.ServerResponse) => boolean
  readonly counts: () => Counts
  /** Clears the cache of checked keys. */
  readonly forgetKeys: () => void
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Wraps a listener in quirks. */
export const make = (listener: Listener, quirks: Quirks = {}): WithQuirks => {
  const { closing = "announced", keyMemoryMs = 60_000, requestsPerConnection = 100, slowReadMs = 1_000 } = quirks
  const cpu = makeCpu(quirks.cores ?? 2)
  const keyCheckMs = quirks.keyCheckMs ?? 265
  const known = new Map<string, number>()
  const served = new WeakMap<Socket, number>()
  const requests = new Map<string, number>()
  const counted = { keyChecks: 0, connections: 0, cut: 0 }

  const checkKey = (incoming: Http.IncomingMessage, then: () => void): void => {
    const key = incoming.headers["x-cycles-api-key"]
    if (typeof key !== "string" || performance.now() < (known.get(key) ?? Number.NEGATIVE_INFINITY)) return then()
    counted.keyChecks += 1
    cpu(keyCheckMs, () => {
      known.set(key, performance.now() + keyMemoryMs)
      then()
    })
  }

  return {
    isServed: ({ socket }, outgoing) => {
      const before = served.get(socket)
      if (before === undefined) counted.connections += 1
      const count = (before ?? 0) + 1
      served.set(socket, count)
      if (requestsPerConnection === 0) return true
      if (closing === "announced") {
        if (count >= requestsPerConnection) outgoing.setHeader("connection", "close")
        return true
      }
      if (count <= requestsPerConnection) return true
      counted.cut += 1
      socket.destroy()
      return false
    },
    listener: (incoming, body, outgoing) => {
      const operation = operationOf(incoming)
      requests.set(operation, (requests.get(operation) ?? 0) + 1)
      checkKey(incoming, () => {
        if (slowReads.has(operation)) setTimeout(() => listener(incoming, body, outgoing), slowReadMs)
        else listener(incoming, body, outgoing)
      })
    },
    counts: () => ({ ...counted, requests }),
    forgetKeys: () => known.clear()
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const slowReads: ReadonlySet<string> = new Set(["GET /v1/balances", "GET /v1/reservations"])

const operationOf = (incoming: Http.IncomingMessage): string => {
  const [path = ""] = (incoming.url ?? "").split("?")
  return `${incoming.method ?? "GET"} ${path.replace(/^(\/v1\/(?:reservations|evidence)\/)[^/]+/, "$1:id")}`
}

/** Simulated CPU time, shared evenly: all jobs run at once, and each slows down as their number grows. */
const makeCpu = (cores: number): ((ms: number, done: () => void) => void) => {
  /** The CPU time that a job would have received if it had run from the start. */
  let given = 0
  let updatedAt = performance.now()
  let timer: NodeJS.Timeout | undefined
  const jobs: Array<{ readonly until: number; readonly done: () => void }> = []

  const share = (): number => Math.min(1, cores / jobs.length)

  const update = (): void => {
    const now = performance.now()
    if (jobs.length > 0) given += (now - updatedAt) * share()
    updatedAt = now
    const ended = jobs.filter((job) => job.until <= given + 0.5)
    for (const job of ended) jobs.splice(jobs.indexOf(job), 1)
    clearTimeout(timer)
    const next = Math.min(...jobs.map((job) => job.until))
    if (jobs.length > 0) timer = setTimeout(update, Math.max(1, (next - given) / share()))
    for (const job of ended) job.done()
  }

  return (ms, done) => {
    update()
    jobs.push({ until: given + ms, done })
    update()
  }
}
