/**
 * What the reference server does besides answering: it is slow to check a key, closes connections, answers in chunks,
 * reads slowly. Put around any listener.
 *
 * Source: measured on the reference server and its store.
 */
import type * as Http from "node:http"
import type { Socket } from "node:net"
import { performance } from "node:perf_hooks"
import type { Listener } from "./loopback.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The habits, each of which can be set; the defaults are as measured. */
export interface Habits {
  /** How much CPU the check of a key takes, in milliseconds. Default 265. */
  readonly keyCheckMs?: number | undefined
  /** How long a checked key is remembered, from when the check was done, however often it is used. Default 60,000. */
  readonly keyMemoryMs?: number | undefined
  /** Over how many cores all checks that are under way are spread. Default 2. */
  readonly cores?: number | undefined
  /** How many requests a connection serves; 0 sets no end. Default 100. */
  readonly requestsPerConnection?: number | undefined
  /**
   * `announced`: the last answer says `Connection: close`. `abrupt`: nothing is said, and the connection is cut when the
   * next request arrives, which is not looked at. Default `announced`.
   */
  readonly closing?: "announced" | "abrupt" | undefined
  /** How long reading balances or a list takes, in milliseconds. Default 1,000. */
  readonly slowReadMs?: number | undefined
}

/** What was seen of a client. */
export interface Counts {
  /** Requests that were looked at, by method and path with `:id` for ids: `GET /v1/reservations/:id`. */
  readonly requests: ReadonlyMap<string, number>
  /** How often a key was checked because it was not remembered. */
  readonly keyChecks: number
  readonly connections: number
  /** Requests that were cut off by the end of their connection. */
  readonly cut: number
}

/** A listener with habits. */
export interface WithHabits {
  readonly listener: Listener
  /** Called for each new request before its body is read; false where the connection was cut instead. */
  readonly isServed: (incoming: Http.IncomingMessage, outgoing: Http.ServerResponse) => boolean
  readonly counts: () => Counts
  /** Forgets that keys were checked, as after a minute. */
  readonly forgetKeys: () => void
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Puts habits around a listener. */
export const make = (listener: Listener, habits: Habits = {}): WithHabits => {
  const { closing = "announced", keyMemoryMs = 60_000, requestsPerConnection = 100, slowReadMs = 1_000 } = habits
  const cpu = makeCpu(habits.cores ?? 2)
  const keyCheckMs = habits.keyCheckMs ?? 265
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

/**
 * CPU that is shared evenly by all that need some: they all go on at once, and the more there are, the slower each of
 * them goes. Nothing is really computed.
 */
const makeCpu = (cores: number): ((ms: number, done: () => void) => void) => {
  /** What each one that has been there from the start would have had by now. */
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
