/** The ledger of a world, and independent books of every charge, which the requests and responses show. */
import type { TransportRequest, TransportResponse } from "@effect-cycles/protocol/CyclesTransport"
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import { agents } from "./plan.ts"
import type { Process, World } from "./world.ts"
import { epochMs } from "./world.ts"

// ---------------------------------------------------------------------------------------------------------------------
// messages
// ---------------------------------------------------------------------------------------------------------------------

/** A request, as the checks see it. */
export interface Message {
  readonly operation: "reserve" | "commit" | "release" | "extend" | "event" | "read" | "other"
  /** The reservation; `undefined` for a reserve, and for an event that replaces no commit. */
  readonly reservationId: string | undefined
  /** The idempotency key. */
  readonly key: string
  /** The call and the operation. */
  readonly identity: string
  readonly amount: number
  readonly body: string
  readonly summary: string
}

/** Describes a request. `callOf` returns the name of a reservation's call. */
export const messageOf = ({ body = "", method, url }: TransportRequest, callOf: (id: string) => string): Message => {
  const [, path = ""] = url.split("/v1/")
  const [collection = "", id = "", verb = ""] = (path.split("?")[0] ?? "").split("/")
  const key = /"idempotency_key":"([^"]*)"/.exec(body)?.[1] ?? ""
  const amount = Number(/"(?:actual|estimate)":\{[^}]*"amount":(\d+)/.exec(body)?.[1] ?? 0)
  const operation = operationOf(method, collection, id, verb)
  const about =
    operation === "event" ? /"recovered_reservation_id":"([^"]*)"/.exec(body)?.[1] : id === "" ? undefined : id
  const call = operation === "reserve" ? key : about === undefined ? key : callOf(about)
  return {
    operation,
    reservationId: about,
    key,
    identity: operation === "event" ? `${operation} ${key}` : `${operation} ${call}`,
    amount,
    body,
    summary: `${operation} ${about ?? ""}${amount > 0 || operation === "commit" ? ` ${amount}` : ""} key ${key}`
  }
}

const operationOf = (method: string, collection: string, id: string, verb: string): Message["operation"] => {
  if (collection === "events") return "event"
  if (collection !== "reservations") return "other"
  if (method === "GET") return "read"
  if (id === "") return "reserve"
  return verb === "commit" || verb === "release" || verb === "extend" ? verb : "other"
}

// ---------------------------------------------------------------------------------------------------------------------
// server
// ---------------------------------------------------------------------------------------------------------------------

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
  /** When the lease was granted or extended last, and when it ends. */
  grantedAtMs: number
  endsAtMs: number
  /** Whether the client may have stopped retrying the commit early, because its key was refused. */
  isBlocked: boolean
  /** The bodies of the commits that the server has refused with a code. */
  readonly refused: Set<string>
}

/** The server of a world. */
export interface Server {
  readonly baseUrl: string
  readonly tenant: string
  readonly apiKey: Redacted.Redacted
  readonly handle: (request: TransportRequest, message: Message) => TransportResponse
  readonly callOf: (reservationId: string) => string
  readonly agentOf: (reservationId: string) => string
  readonly reservations: ReadonlyMap<string, Reserved>
  /** Charges by the id of the reservation or the event. */
  readonly charges: ReadonlyMap<string, Charge>
  /** The keys of the events that the server has refused with a code. */
  readonly refusedEvents: ReadonlySet<string>
  readonly views: () => ReadonlyArray<CyclesServer.ReservationView>
  readonly books: (agent: string | undefined) => CyclesServer.Books
  /** Notes that a request of a reservation was refused because of its key. */
  readonly block: (reservationId: string | undefined) => void
  readonly setFrozen: (isFrozen: boolean) => void
  readonly credit: (amount: number) => void
}

/** Makes the server. Its store survives all restarts. */
export const make = (world: World, machine: Process, report: (problem: string) => void): Server => {
  let ids = 0
  const runSync = Effect.runSyncWith(machine.context)
  const server = runSync(
    CyclesServer.makeMemoryServer({
      budgets: [
        { unit: "TOKENS", allocated: 2_000_000_000, overdraftLimit: 10_000 },
        ...Object.entries(agents).map(([agent, budget]) => ({
          unit: "TOKENS" as const,
          scope: `agent:${agent}`,
          ...budget
        }))
      ],
      makeId: () => `r${(ids += 1)}`
    })
  )
  const reservations = new Map<string, Reserved>()
  const charges = new Map<string, Charge>()
  const refusedEvents = new Set<string>()

  /** Adds a charge. The response to a repeated request must be the same. */
  const record = (charge: Charge): void => {
    const before = charges.get(charge.id)
    if (before === undefined) charges.set(charge.id, charge)
    else if (before.actual !== charge.actual)
      report(`${charge.kind} ${charge.id} was charged twice: ${before.actual} and ${charge.actual}`)
  }

  const observe = (message: Message, status: number, text: string): void => {
    const { amount, body, key, operation, reservationId } = message
    const agent = /"agent":"([^"]*)"/.exec(body)?.[1] ?? ""
    if (operation === "reserve" && status === 200) {
      const id = /"reservation_id":"([^"]*)"/.exec(text)?.[1]
      if (id !== undefined && !reservations.has(id)) {
        reservations.set(id, {
          id,
          key,
          agent,
          amount,
          grantedAtMs: world.nowMs,
          endsAtMs: leaseOf(text),
          isBlocked: false,
          refused: new Set()
        })
      }
    }
    const extended = operation === "extend" && status === 200 ? reservations.get(reservationId ?? "") : undefined
    if (extended !== undefined) {
      extended.grantedAtMs = world.nowMs
      extended.endsAtMs = leaseOf(text)
    }
    const charged = Number(/"charged":\{[^}]*"amount":(\d+)/.exec(text)?.[1] ?? amount)
    const charge = { key, reservationId, actual: amount, charged, agent }
    if (operation === "commit" && reservationId !== undefined) {
      if (status === 200) record({ ...charge, id: reservationId, kind: "commit", owner: undefined })
      else reservations.get(reservationId)?.refused.add(body)
    }
    if (operation === "event") {
      const id = /"event_id":"([^"]*)"/.exec(text)?.[1] ?? ""
      if (status === 201) record({ ...charge, id, kind: "event", owner: ownerIn(body) })
      else refusedEvents.add(key)
    }
  }

  const checkBudgets = (): void => {
    for (const agent of names) {
      const { debt, remaining } = booksOf(agent)
      const limit = BigInt(agents[agent].overdraftLimit)
      if (debt > limit || remaining < -limit)
        report(`the budget of agent:${agent} is exceeded: ${remaining} remaining, debt ${debt}`)
    }
  }

  const booksOf = (agent: string | undefined): CyclesServer.Books =>
    runSync(server.books("TOKENS", agent === undefined ? undefined : `agent:${agent}`))

  return {
    baseUrl: server.baseUrl,
    tenant: server.tenant,
    apiKey: server.apiKey,
    handle: (request, message) => {
      const { pathname, search } = new URL(request.url)
      const response = runSync(
        server.handle({
          method: request.method,
          url: pathname + search,
          headers: request.headers,
          body: request.body ?? ""
        })
      )
      world.trace.add(world.nowMs, "server", `${message.identity} ${response.status}`, () =>
        response.body.slice(0, 160)
      )
      observe(message, response.status, response.body)
      if (message.operation !== "read" && response.status < 300) checkBudgets()
      return {
        status: response.status,
        headers: { ...response.headers, date: new Date(machine.wallMs).toUTCString() },
        body: response.body,
        attempts: 1
      }
    },
    callOf: (id) => reservations.get(id)?.key ?? id,
    agentOf: (id) => reservations.get(id)?.agent ?? "",
    reservations,
    charges,
    refusedEvents,
    views: () => runSync(server.reservations),
    books: booksOf,
    block: (id) => {
      const reservation = id === undefined ? undefined : reservations.get(id)
      if (reservation !== undefined) reservation.isBlocked = true
    },
    setFrozen: (isFrozen) => runSync(server.setStatus("TOKENS", isFrozen ? "FROZEN" : "ACTIVE", "agent:frozen")),
    credit: (amount) => runSync(server.credit("TOKENS", amount, "agent:small"))
  }
}

/** When the lease in a response ends, in milliseconds of the world. */
const leaseOf = (text: string): number => Number(/"expires_at_ms":(\d+)/.exec(text)?.[1] ?? 0) - epochMs

const names: ReadonlyArray<keyof typeof agents> = ["big", "small", "frozen", "overdraft"]

/** The caller-supplied key in the action of an event, if its key doesn't show it. */
export const ownerIn = (body: string): string | undefined => /"name":"test:(K\d+)"/.exec(body)?.[1]
