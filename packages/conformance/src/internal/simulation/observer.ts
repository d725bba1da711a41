/**
 * Independent books of the ledger, from the requests and responses alone, and the rules of the protocol that a response
 * must keep.
 */
import type { TransportResponse } from "@effect-cycles/protocol/CyclesTransport"
import type { Message } from "./message.ts"
import { epochMs } from "./world.ts"

/** One charge that the ledger has made. */
export interface Charge {
  /** The reservation id of a commit, or the event id. */
  readonly id: string
  readonly kind: "commit" | "event"
  readonly key: string
  readonly reservationId: string | undefined
  /** The requested amount. */
  readonly actual: number
  /** The amount that was charged. It is less if the budget was exhausted. */
  readonly charged: number
  readonly agent: string
  /** The caller-supplied key in the action of an event. */
  readonly owner: string | undefined
}

/** A reservation, as the requests and responses show it. */
export interface Reserved {
  readonly id: string
  readonly key: string
  readonly agent: string
  /** The reserved amount. */
  readonly amount: number
  readonly overage: string
  readonly graceMs: number
  /** When the reservation was made. */
  readonly createdAtMs: number
  /** When the lease was granted or extended last, and when it ends. */
  grantedAtMs: number
  endsAtMs: number
  /** The keys of its extensions. */
  readonly extensions: Set<string>
  /** Whether the client may have stopped retrying the commit early, because its key was refused. */
  isBlocked: boolean
  /** The codes with which the server has refused commits, by the body of the commit. */
  readonly refused: Map<string, Set<string>>
}

/** The rounding of the times in requests and responses, in milliseconds. */
const roundingMs = 2

/** The default of a reserve. */
const defaultGraceMs = 5_000

/** The default of a tenant. */
const mostExtensions = 10

/** The charges, reservations and refusals of a ledger. */
export class Observer {
  readonly reservations = new Map<string, Reserved>()
  readonly charges = new Map<string, Charge>()
  /** The keys of the events that the server has refused with a code. */
  readonly refusedEvents = new Set<string>()
  /** Whether the budget of `agent:frozen` is frozen. */
  isFrozen = false
  readonly #report: (problem: string) => void
  /** The reservations by the keys of their reserves. */
  readonly #keys = new Map<string, string>()

  constructor(report: (problem: string) => void) {
    this.#report = report
  }

  /** Records the response to a request that was handled at a time, in milliseconds. */
  observe(message: Message, { body: text, status }: TransportResponse, atMs: number): void {
    switch (message.operation) {
      case "reserve":
        return status === 200 ? this.#reserved(message, text, atMs) : undefined
      case "extend":
        return status === 200 ? this.#extended(message, text, atMs) : undefined
      case "commit":
      case "release":
        return this.#settled(message, text, status, atMs)
      case "event":
        return this.#event(message, text, status)
      default:
        return
    }
  }

  #reserved({ amount, body, key }: Message, text: string, atMs: number): void {
    const id = /"reservation_id":"([^"]*)"/.exec(text)?.[1]
    if (id === undefined) return
    const known = this.reservations.get(id)
    const leftMs = Number(/"remaining_ttl_ms":(\d+)/.exec(text)?.[1] ?? 0)
    if (known !== undefined) {
      if (leftMs > Math.max(0, known.endsAtMs - atMs) + roundingMs)
        this.#report(`the repeated reserve of ${key} returns a lease of ${leftMs} ms, which has ended before`)
      return
    }
    const other = this.#keys.get(key)
    if (other !== undefined) this.#report(`the reserve of ${key} has made the reservations ${other} and ${id}`)
    this.#keys.set(key, id)
    const agent = agentIn(body)
    if (agent === "frozen" && this.isFrozen) this.#report(`the reserve of ${key} was accepted by a frozen budget`)
    this.reservations.set(id, {
      id,
      key,
      agent,
      amount,
      overage: overageIn(body),
      graceMs: Number(/"grace_period_ms":(\d+)/.exec(body)?.[1] ?? defaultGraceMs),
      createdAtMs: atMs,
      grantedAtMs: atMs,
      endsAtMs: leaseOf(text),
      extensions: new Set(),
      isBlocked: false,
      refused: new Map()
    })
  }

  #extended({ key, reservationId = "" }: Message, text: string, atMs: number): void {
    const reservation = this.reservations.get(reservationId)
    // A repeated extension returns the response of the first one.
    if (reservation === undefined || reservation.extensions.has(key)) return
    if (atMs > reservation.endsAtMs + roundingMs)
      this.#report(`the lease of ${reservationId} was extended after its end`)
    reservation.extensions.add(key)
    if (reservation.extensions.size > mostExtensions)
      this.#report(`the lease of ${reservationId} was extended ${reservation.extensions.size} times`)
    reservation.grantedAtMs = atMs
    reservation.endsAtMs = leaseOf(text)
  }

  #settled({ amount, body, key, operation, reservationId = "" }: Message, text: string, status: number, atMs: number) {
    const reservation = this.reservations.get(reservationId)
    if (status === 200) {
      if (operation === "commit")
        this.#charge(
          {
            id: reservationId,
            kind: "commit",
            key,
            reservationId,
            actual: amount,
            charged: chargedIn(text) ?? amount,
            agent: "",
            owner: undefined
          },
          reservation?.overage ?? ""
        )
      return
    }
    if (reservation === undefined) return
    const code = codeIn(text)
    if (code === "RESERVATION_EXPIRED" && atMs < reservation.endsAtMs + reservation.graceMs - roundingMs)
      this.#report(`the ${operation} of ${reservationId} was refused as expired before the end of its grace period`)
    if (operation === "release") return
    const codes = reservation.refused.get(body)
    if (codes === undefined) reservation.refused.set(body, new Set([code]))
    else codes.add(code)
  }

  #event({ amount, body, key, reservationId }: Message, text: string, status: number): void {
    if (status !== 201) return void this.refusedEvents.add(key)
    const agent = agentIn(body)
    const id = /"event_id":"([^"]*)"/.exec(text)?.[1] ?? ""
    if (agent === "frozen" && this.isFrozen && !this.charges.has(id))
      this.#report(`the event ${key} was accepted by a frozen budget`)
    this.#charge(
      {
        id,
        kind: "event",
        key,
        reservationId,
        actual: amount,
        charged: chargedIn(text) ?? amount,
        agent,
        owner: ownerIn(body)
      },
      overageIn(body)
    )
  }

  /** Adds a charge. The response to a repeated request must be the same. */
  #charge(charge: Charge, overage: string): void {
    const { actual, charged, id, kind } = charge
    const before = this.charges.get(id)
    if (before === undefined) this.charges.set(id, charge)
    else if (before.actual !== actual) this.#report(`${kind} ${id} was charged twice: ${before.actual} and ${actual}`)
    const reserved = kind === "commit" ? (this.reservations.get(id)?.amount ?? 0) : 0
    if (overage === "REJECT" && ((kind === "commit" && actual > reserved) || charged < actual))
      this.#report(`${kind} ${id} was charged ${charged} of ${actual}, although its policy is REJECT`)
    if (charged > actual || charged < Math.min(actual, reserved))
      this.#report(`${kind} ${id} was charged ${charged}, the request was ${actual} and ${reserved} were reserved`)
  }
}

/** When the lease in a response ends, in milliseconds of the world. */
const leaseOf = (text: string): number => Number(/"expires_at_ms":(\d+)/.exec(text)?.[1] ?? 0) - epochMs

const chargedIn = (text: string): number | undefined => {
  const amount = /"charged":\{[^}]*"amount":(\d+)/.exec(text)?.[1]
  return amount === undefined ? undefined : Number(amount)
}

const agentIn = (body: string): string => /"agent":"([^"]*)"/.exec(body)?.[1] ?? ""

const overageIn = (body: string): string => /"overage_policy":"([^"]*)"/.exec(body)?.[1] ?? ""

const codeIn = (text: string): string => /"error":"([^"]*)"/.exec(text)?.[1] ?? ""

/** The caller-supplied key in the action of an event, if its key doesn't show it. */
export const ownerIn = (body: string): string | undefined => /"name":"test:(K\d+)"/.exec(body)?.[1]
