/** Checks of the requests of all clients, at the time that they leave. */
import type { Disk } from "./disk.ts"
import type { Message, Server } from "./server.ts"
import type { Process, World } from "./world.ts"

/** The requests so far. */
export class Requests {
  /** When commits were sent, by process and reservation. */
  readonly commits = new Map<string, Array<number>>()
  /** When extensions and releases were sent, by reservation. */
  readonly extensions = new Map<string, Array<number>>()
  readonly releases = new Map<string, Array<number>>()
  /** When reserves were sent, by key. */
  readonly reserves = new Map<string, Array<number>>()
  readonly #bodies = new Map<string, string>()
  readonly #world: World
  readonly #server: Server
  readonly #report: (problem: string) => void

  constructor(world: World, server: Server, report: (problem: string) => void) {
    this.#world = world
    this.#server = server
    this.#report = report
  }

  /** Checks a request. `disk` has the journal of its process. */
  observe(process: Process, message: Message, disk: Disk | undefined): void {
    const { body, key, operation, reservationId } = message
    if (operation === "commit" && reservationId !== undefined)
      append(this.commits, `${process.name} ${reservationId}`, this.#world.nowMs)
    if (operation === "extend" && reservationId !== undefined) append(this.extensions, reservationId, this.#world.nowMs)
    if (operation === "release" && reservationId !== undefined) append(this.releases, reservationId, this.#world.nowMs)
    if (operation === "reserve") append(this.reserves, key, this.#world.nowMs)
    if (operation === "read" || operation === "other") return
    // Two runs under one caller-supplied key have the same reservation and may spend different amounts.
    if (!/^(commit|release)-K/.test(key)) this.#sameBytes(process, message)
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
      const isWritten = operation === "commit" ? promise.decided.has(body) : promise.decided.size > 0
      if (!isWritten && !promise.isDisturbed && !disk.unopened.has(process)) {
        this.#report(`the ${operation} of ${reservationId} was sent before its record was written`)
      }
    }
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

const append = (times: Map<string, Array<number>>, id: string, atMs: number): void => {
  const known = times.get(id)
  if (known === undefined) times.set(id, [atMs])
  else known.push(atMs)
}
