/**
 * The network between the clients and the server: latency, lost, late, doubled and garbled messages, and broken
 * transports.
 */
import type { TransportFailure, TransportRequest, TransportResponse } from "@effect-cycles/protocol/CyclesTransport"
import { failureOf, fromStart, notSent } from "@effect-cycles/protocol/CyclesTransport"
import type { CyclesTransport } from "@effect-cycles/protocol/CyclesTransport"
import * as Exit from "effect/Exit"
import type { Chaos } from "./chaos.ts"
import type { Message } from "./message.ts"
import { messageOf } from "./message.ts"
import type { Server } from "./server.ts"
import type { Process, World } from "./world.ts"

// ---------------------------------------------------------------------------------------------------------------------
// faults
// ---------------------------------------------------------------------------------------------------------------------

const pages = [401, 403, 404, 410, 413, 429, 500, 502, 503] as const

/** Error responses of a server that hasn't processed the request. It may have processed an earlier copy of it. */
const codes = [
  "401 UNAUTHORIZED",
  "403 FORBIDDEN",
  "429 LIMIT_EXCEEDED",
  "500 INTERNAL_ERROR",
  "503 INTERNAL_ERROR"
] as const

/** The faults of one exchange. "After" means that the server processes the request. */
export const faults = [
  "the connection is refused",
  "the connection is refused",
  "the connection is refused",
  "the connection is refused",
  "the request is lost",
  "the request is lost",
  "the response is lost",
  "the response is lost",
  "the response is lost",
  "the request hangs",
  "the response hangs",
  "the response hangs",
  "the request is late",
  "the request is late",
  "the response is late",
  "the request is doubled",
  "the request is doubled",
  "the transport retries",
  "the request is cut off",
  "the response is a page",
  "the response is cut off",
  "the response is empty",
  "the response has wrong types",
  "the transport throws",
  "the transport throws after sending",
  "the transport calls back twice",
  "the transport can't abandon",
  "the transport calls back at once",
  ...pages.map((status) => `page ${status}` as const),
  ...pages.map((status) => `page ${status} after` as const),
  ...codes.map((code) => `code ${code}` as const),
  "code 500 INTERNAL_ERROR after"
] as const

/** A message that leaves its client. */
interface Sent {
  readonly end: Done
}

type Done = (exit: Exit.Exit<TransportResponse, TransportFailure>) => void

// ---------------------------------------------------------------------------------------------------------------------
// network
// ---------------------------------------------------------------------------------------------------------------------

/** The network. */
export class Network {
  /** The number of partitions in progress, by client. */
  readonly partitioned = new Map<number, number>()
  /** The number of times in progress in which a client gets no responses, by client. */
  readonly deaf = new Map<number, number>()
  /** The number of outages of the server in progress. */
  serverOutages = 0
  readonly #world: World
  readonly #chaos: Chaos
  readonly #server: Server
  readonly #rate: number
  readonly #latencyMs: number
  readonly #sent = new Map<string, number>()
  /** Called before a message leaves its client. Returns the callback for the response that the client gets. */
  readonly #onSend: (process: Process, message: Message) => Sent

  constructor(options: {
    readonly world: World
    readonly chaos: Chaos
    readonly server: Server
    readonly rate: number
    readonly latencyMs: number
    readonly onSend: (process: Process, message: Message) => Sent
  }) {
    this.#world = options.world
    this.#chaos = options.chaos
    this.#server = options.server
    this.#rate = options.rate
    this.#latencyMs = options.latencyMs
    this.#onSend = options.onSend
  }

  /** The transport of a process. */
  transport(process: Process, client: number): CyclesTransport {
    return fromStart((request, _context, done) => {
      if (process.isDead) return nothing
      return this.#start(process, client, request, done)
    })
  }

  #start(process: Process, client: number, request: TransportRequest, done: Done): () => void {
    const world = this.#world
    const message = messageOf(request, (id) => this.#server.callOf(id))
    const sent = this.#onSend(process, message)
    const count = (this.#sent.get(message.identity) ?? 0) + 1
    this.#sent.set(message.identity, count)
    const identity = `net ${message.identity} #${count}`
    const fault = this.#chaos.pick(identity, this.#rate, faults)
    if (fault !== undefined && /^code 40[13]/.test(fault)) this.#server.block(message.reservationId)
    world.trace.add(
      world.nowMs,
      process.name,
      `sends ${message.identity}`,
      () => `${message.summary}${fault === undefined ? "" : ` [fault: ${fault}]`}`
    )
    const latency = (which: string): number => this.#chaos.between(`${identity} ${which}`, 1, this.#latencyMs)
    const lateMs = (): number => this.#chaos.between(`${identity} late`, 2_000, 45_000)
    let isOver = false
    const end: Done = (exit) => {
      if (isOver || process.isDead) return
      isOver = true
      world.current = process
      sent.end(exit)
      world.trace.add(
        world.nowMs,
        process.name,
        `gets ${message.identity} ${Exit.isSuccess(exit) ? exit.value.status : "failure"}`,
        () =>
          Exit.isSuccess(exit)
            ? exit.value.body.slice(0, 160)
            : String(exit.cause.reasons[0]?._tag === "Fail" ? exit.cause.reasons[0].error.problem : "")
      )
      done(exit)
    }
    const isCutOff = (): boolean => this.serverOutages > 0 || (this.partitioned.get(client) ?? 0) > 0
    /** Delivers the request, and passes the response on unless it is lost on the way. */
    const deliver = (afterMs: number, then: (response: TransportResponse) => void, delivered = request): void => {
      if (isCutOff()) {
        world.at(latency("cut"), () =>
          end(Exit.fail(this.serverOutages > 0 ? notSent("ECONNREFUSED", undefined) : broken))
        )
        return
      }
      world.at(afterMs, () => {
        if (isCutOff()) return void world.at(latency("cut"), () => end(Exit.fail(broken)))
        this.#server.handle(delivered, message, (response) => {
          world.at(latency("back"), () => {
            const isLost = isCutOff() || (this.deaf.get(client) ?? 0) > 0
            if (response === undefined || isLost) return end(Exit.fail(broken))
            then(response)
          })
        })
      })
    }
    const succeed = (response: TransportResponse): void => end(Exit.succeed(response))
    const abandon = (): void => {
      isOver = true
    }
    const there = latency("there")
    switch (fault) {
      case undefined:
        deliver(there, succeed)
        return abandon
      case "the connection is refused":
        world.at(there, () => end(Exit.fail(notSent("ECONNREFUSED", undefined))))
        return abandon
      case "the request is lost":
        world.at(there, () => end(Exit.fail(broken)))
        return abandon
      case "the response is lost":
        deliver(there, () => end(Exit.fail(broken)))
        return abandon
      case "the request hangs":
        return abandon
      case "the response hangs":
        deliver(there, nothing)
        return abandon
      case "the request is late":
        deliver(lateMs(), succeed)
        return abandon
      case "the response is late":
        deliver(there, (response) => world.at(lateMs(), () => succeed(response)))
        return abandon
      case "the request is doubled":
        if (!isCutOff()) {
          world.at(lateMs(), () => {
            if (!isCutOff()) this.#server.handle(request, message, nothing)
          })
        }
        deliver(there, succeed)
        return abandon
      case "the transport retries":
        deliver(
          there,
          request.isRepeatable
            ? () => deliver(latency("again"), (response) => succeed({ ...response, attempts: 2 }))
            : succeed
        )
        return abandon
      case "the request is cut off":
        deliver(there, succeed, { ...request, body: request.body?.slice(0, request.body.length >> 1) })
        return abandon
      case "the response is a page":
        deliver(there, () => succeed(page(200)))
        return abandon
      case "the response is cut off":
        deliver(there, (response) => succeed({ ...response, body: response.body.slice(0, response.body.length >> 1) }))
        return abandon
      case "the response is empty":
        deliver(there, (response) => succeed({ ...response, body: "{}" }))
        return abandon
      case "the response has wrong types":
        deliver(there, (response) => succeed({ ...response, body: wrongTypes }))
        return abandon
      case "the transport throws":
        throw new Error("injected: the transport throws")
      case "the transport throws after sending":
        deliver(there, nothing)
        throw new Error("injected: the transport throws")
      case "the transport calls back twice":
        deliver(there, (response) => {
          succeed(response)
          if (!process.isDead) done(Exit.succeed(page(500)))
        })
        return abandon
      case "the transport can't abandon":
        deliver(lateMs(), succeed)
        return () => {
          isOver = true
          throw new Error("injected: the transport can't abandon")
        }
      case "the transport calls back at once":
        if (isCutOff()) end(Exit.fail(broken))
        else {
          this.#server.handle(request, message, (response) =>
            response === undefined ? end(Exit.fail(broken)) : succeed(response)
          )
          this.#server.commit()
        }
        return abandon
      case "code 500 INTERNAL_ERROR after":
        deliver(there, () => succeed(coded(500, "INTERNAL_ERROR")))
        return abandon
      default: {
        const [kind = "", status = "", code = ""] = fault.split(" ")
        if (kind === "code") world.at(there, () => succeed(coded(Number(status), code)))
        else if (code === "after") deliver(there, () => succeed(page(Number(status))))
        else world.at(there, () => succeed(page(Number(status))))
        return abandon
      }
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const nothing = (): void => {}

const broken: TransportFailure = failureOf(Object.assign(new Error("injected: ECONNRESET"), { code: "ECONNRESET" }))

const wrongTypes = JSON.stringify({ status: 7, charged: "much", reservation_id: [], decision: null, event_id: {} })

const page = (status: number): TransportResponse => ({
  status,
  headers: { "content-type": "text/html" },
  body: "<html>an error page</html>",
  attempts: 1
})

const coded = (status: number, code: string): TransportResponse => ({
  status,
  headers: { "content-type": "application/json", ...(status === 429 ? { "retry-after": "2" } : undefined) },
  body: JSON.stringify({ error: code, message: "injected", request_id: "injected" }),
  attempts: 1
})
