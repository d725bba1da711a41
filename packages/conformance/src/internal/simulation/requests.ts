/** The requests of all clients, with their checks at the time that they leave. */
import type { TransportFailure, TransportResponse } from "@effect-cycles/protocol/CyclesTransport"
import * as Exit from "effect/Exit"
import type { Disk } from "./disk.ts"
import type { Message } from "./message.ts"
import type { Server } from "./server.ts"
import type { Process, World } from "./world.ts"

/** One request, and the response that its client got. Times are milliseconds of the world. */
export interface Attempt {
  readonly process: Process
  readonly key: string
  readonly atMs: number
  /** When the client got the response or the failure; `undefined` if it didn't. */
  endedAtMs: number | undefined
  /** The status; `undefined` without a response. */
  status: number | undefined
  /** The error code; `undefined` if the response has none. */
  code: string | undefined
  /** Whether the response is that of a server that has accepted the request. */
  isAccepted: boolean
}

/** The requests so far. */
export class Requests {
  /** Commits, extensions and releases by reservation. */
  readonly commits = new Map<string, Array<Attempt>>()
  readonly extensions = new Map<string, Array<Attempt>>()
  readonly releases = new Map<string, Array<Attempt>>()
  /** Reserves by key. */
  readonly reserves = new Map<string, Array<Attempt>>()
  readonly #bodies = new Map<string, string>()
  readonly #world: World
  readonly #server: Server
  readonly #report: (problem: string) => void

  constructor(world: World, server: Server, report: (problem: string) => void) {
    this.#world = world
    this.#server = server
    this.#report = report
  }

  /** Records a request. `end` is called with the response that the client gets. */
  begin(process: Process, message: Message): { readonly end: (exit: Response) => void } {
    const { key, operation, reservationId } = message
    const attempt: Attempt = {
      process,
      key,
      atMs: this.#world.nowMs,
      endedAtMs: undefined,
      status: undefined,
      code: undefined,
      isAccepted: false
    }
    if (operation === "reserve") append(this.reserves, key, attempt)
    else if (reservationId !== undefined) {
      if (operation === "commit") append(this.commits, reservationId, attempt)
      if (operation === "extend") append(this.extensions, reservationId, attempt)
      if (operation === "release") append(this.releases, reservationId, attempt)
    }
    return {
      end: (exit) => {
        attempt.endedAtMs = this.#world.nowMs
        if (Exit.isFailure(exit)) return
        const { body, status } = exit.value
        attempt.status = status
        attempt.code = /^\{"error":"([^"]*)"/.exec(body)?.[1]
        attempt.isAccepted = status === 200 && /^\{"(status|decision)":"/.test(body) && body.endsWith("}")
      }
    }
  }

  /** Checks a request. `disk` has the journal of its process. */
  check(process: Process, message: Message, disk: Disk | undefined): void {
    const { body, key, operation, reservationId } = message
    if (operation === "read" || operation === "other") return
    // Two runs under one caller-supplied key have the same reservation and may spend different amounts.
    if (!/^(commit|release)-K/.test(key)) this.#sameBytes(process, message)
    this.#breakdown(process, message)
    if (operation === "reserve" && /^L\d+\./.test(key)) this.#report(`the reserve of ${key} has a second key`)
    if (operation === "commit" || operation === "release") {
      const of = this.#server.callOf(reservationId ?? "")
      if (key !== `${operation}-${of}`)
        this.#report(`the ${operation} of ${reservationId} has the key ${key}, not that of ${of}`)
    }
    // Without a reservation, only the key identifies the record.
    const isApart = operation === "event" && reservationId === undefined && /^(commit|late\d+)-/.test(key)
    if (isApart && disk !== undefined && !disk.writtenKeys.has(key)) {
      if (!disk.isDisturbed && !disk.unopened.has(process))
        this.#report(`the event with the key ${key} was sent before its record was written`)
    }
    const isSettlement = (operation === "commit" || operation === "event") && reservationId !== undefined
    if (isSettlement && disk !== undefined) {
      const promise = disk.promiseOf(reservationId)
      const isWritten =
        operation === "commit"
          ? promise.decided.has(body)
          : Array.from(promise.decided.values()).some(({ mode }) => mode === "event")
      if (!isWritten && !promise.isDisturbed && !disk.unopened.has(process)) {
        this.#report(`the ${operation} of ${reservationId} was sent before its record was written`)
      }
    }
  }

  /** The commit of a pool's block lists its calls by action. After a kill, the list lacks those that were open. */
  #breakdown(process: Process, message: Message): void {
    const { amount, body, key, operation } = message
    if (
      operation !== "commit" ||
      !key.startsWith("commit-P") ||
      amount === 0 ||
      this.commits.has(message.reservationId ?? "")
    )
      return
    const [, lines = ""] = /"joined_calls":\{(.*)\}/.exec(body) ?? []
    const sum = Array.from(lines.matchAll(/"actual":(\d+)/g)).reduce((total, [, actual]) => total + Number(actual), 0)
    const isOwn = key.startsWith(`commit-P${process.name.replace("client ", "").replace(/^(\d+)$/, "$1.0")}`)
    if (sum > amount || (isOwn && sum !== amount))
      this.#report(`the commit with the key ${key} of ${amount} lists calls of ${sum}`)
  }

  /** A retry has the bytes of the first attempt, except for metrics and metadata, which a server may refuse. */
  #sameBytes(process: Process, { body, identity, key, operation }: Message): void {
    // Another process may have an older record of the same reservation.
    const id = operation === "reserve" ? key : `${process.name} ${operation} ${identity} ${key}`
    const before = this.#bodies.get(id)
    if (before === undefined) this.#bodies.set(id, body)
    else if (before !== body && !isReduced(before, body) && !isReduced(body, before)) {
      this.#report(`the ${operation} with the key ${key} was repeated with other bytes`)
    }
  }
}

/** A journal may have both records for some time if the process was killed in between. */
const isReduced = (whole: string, reduced: string): boolean =>
  reduced.length < whole.length && whole.includes('"metrics"')

type Response = Exit.Exit<TransportResponse, TransportFailure>

const append = (attempts: Map<string, Array<Attempt>>, id: string, attempt: Attempt): void => {
  const known = attempts.get(id)
  if (known === undefined) attempts.set(id, [attempt])
  else known.push(attempt)
}
