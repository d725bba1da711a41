/**
 * The ledger of a world. It responds after a group commit, may crash before or after one, and then reads its data file
 * again.
 */
import type { TransportRequest, TransportResponse } from "@effect-cycles/protocol/CyclesTransport"
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import * as Redacted from "effect/Redacted"
import * as Handler from "../../../../server/src/internal/handler.ts"
import type { Budget, Reservation } from "../../../../server/src/internal/model.ts"
import { remaining } from "../../../../server/src/internal/model.ts"
import * as Seed from "../../../../server/src/internal/seed.ts"
import { budgetId } from "../../../../server/src/internal/store.ts"
import type { Chaos } from "./chaos.ts"
import { DataFile } from "./durableStore.ts"
import type { Message } from "./message.ts"
import { Observer } from "./observer.ts"
import type { Charge, Reserved } from "./observer.ts"
import { agents } from "./plan.ts"
import type { Process, World } from "./world.ts"

/** The server of a world. */
export interface Server {
  readonly baseUrl: string
  readonly tenant: string
  readonly apiKey: Redacted.Redacted
  /** Handles a request. `respond` is called after the commit of its writes, with nothing if the server crashes before. */
  readonly handle: (
    request: TransportRequest,
    message: Message,
    respond: (response: TransportResponse | undefined) => void
  ) => void
  /** Makes the writes of all handled requests durable, and responds to them. */
  readonly commit: () => void
  /**
   * Crashes at the next commit within a few seconds, and starts again with what the data file has. `onCrash` is called
   * then.
   */
  readonly crashAtCommit: (id: number, onCrash: () => void) => void
  readonly callOf: (reservationId: string) => string
  readonly agentOf: (reservationId: string) => string
  readonly reservations: ReadonlyMap<string, Reserved>
  /** Charges by the id of the reservation or the event. */
  readonly charges: ReadonlyMap<string, Charge>
  /** The keys of the events that the server has refused with a code. */
  readonly refusedEvents: ReadonlySet<string>
  readonly views: () => ReadonlyArray<Reservation>
  readonly books: (agent: string | undefined) => Budget
  /** Notes that a request of a reservation was refused because of its key. */
  readonly block: (reservationId: string | undefined) => void
  readonly setFrozen: (isFrozen: boolean) => void
  readonly credit: (amount: number) => void
}

const tenant = "acme"

const unit = "TOKENS"

const baseUrl = "http://cycles.local"

/** The longest time between a request and the commit of its writes, in milliseconds. */
const commitMs = 3

/** How long a crash waits for a commit, in milliseconds. */
const crashWithinMs = 20_000

/** Makes the server. */
export const make = (world: World, chaos: Chaos, machine: Process, report: (problem: string) => void): Server => {
  let ids = 0
  const file = new DataFile()
  let server = CyclesServer.makeServer({ store: file.open(), adminKey: "admin", makeId: () => `r${(ids += 1)}` })
  const apiKey = Redacted.make(
    Seed.seed(
      server,
      tenant,
      [
        { unit, allocated: 2_000_000_000, overdraftLimit: 10_000 },
        ...Object.entries(agents).map(([agent, budget]) => ({ unit, scope: `agent:${agent}`, ...budget }))
      ],
      machine.wallMs
    )
  )
  server.store.commit()
  const observer = new Observer(report)
  let batch: Array<Handled> = []
  let crash: { readonly id: number; readonly onCrash: () => void } | undefined
  let isFrozen = 0

  const idOf = (agent: string | undefined): string =>
    budgetId(Seed.scopeOf(tenant, agent === undefined ? undefined : `agent:${agent}`), unit)

  const budgetOf = (agent: string | undefined): Budget => {
    const budget = server.store.budgets.get(idOf(agent))
    if (budget === undefined) throw new Error(`agent ${agent} has no budget`)
    return budget
  }

  const checkBudgets = (): void => {
    for (const agent of names) {
      const budget = budgetOf(agent)
      const limit = BigInt(agents[agent].overdraftLimit)
      if (budget.debt > limit || remaining(budget) < -limit)
        report(`the budget of agent:${agent} is exceeded: ${remaining(budget)} remaining, debt ${budget.debt}`)
    }
  }

  const sweep = (): void => {
    while (Handler.sweep(server, machine.wallMs));
    server.store.commit()
  }

  const commit = (): void => {
    const handled = batch
    batch = []
    if (handled.length === 0) return
    if (crash === undefined) {
      server.store.commit()
      for (const { message, response, atMs } of handled) observer.observe(message, response, atMs)
      checkBudgets()
      for (const { respond, response } of handled) respond(response)
      return
    }
    // The process ends before the transaction, or after it and before the responses.
    const { id, onCrash } = crash
    crash = undefined
    const isCommitted = chaos.between(`crash ${id}`, 0, 1) < 0.5
    world.trace.add(
      world.nowMs,
      "server",
      `crashes ${isCommitted ? "after" : "before"} a commit, ${handled.length} requests have no response`
    )
    if (isCommitted) {
      server.store.commit()
      for (const { message, response, atMs } of handled) observer.observe(message, response, atMs)
    }
    server = CyclesServer.makeServer({
      store: file.open(),
      adminKey: server.adminKey,
      makeId: server.makeId,
      secrets: server.secrets
    })
    onCrash()
    for (const { respond } of handled) respond(undefined)
  }

  const change = (agent: string, f: (budget: Budget) => Budget): void => {
    server.store.budgets.put(f(budgetOf(agent)))
    commit()
    server.store.commit()
  }

  return {
    baseUrl,
    tenant,
    apiKey,
    handle: (request, message, respond) => {
      const { pathname, search } = new URL(request.url)
      const response = Handler.handle(
        server,
        "both",
        { method: request.method, url: pathname + search, headers: request.headers, body: request.body ?? "" },
        machine.wallMs
      )
      world.trace.add(world.nowMs, "server", `${message.identity} ${response.status}`, () =>
        response.body.slice(0, 160)
      )
      if (batch.length === 0) world.at(chaos.between(`commit ${message.identity}`, 0, commitMs), commit)
      batch.push({
        message,
        respond,
        response: {
          status: response.status,
          headers: { ...response.headers, date: new Date(machine.wallMs).toUTCString() },
          body: response.body,
          attempts: 1
        },
        atMs: world.nowMs
      })
    },
    commit,
    crashAtCommit: (id, onCrash) => {
      crash = { id, onCrash }
      world.at(crashWithinMs, () => {
        if (crash?.id === id) crash = undefined
      })
    },
    callOf: (id) => observer.reservations.get(id)?.key ?? id,
    agentOf: (id) => observer.reservations.get(id)?.agent ?? "",
    reservations: observer.reservations,
    charges: observer.charges,
    refusedEvents: observer.refusedEvents,
    views: () => {
      sweep()
      return Array.from(server.store.reservations.all())
    },
    books: (agent) => {
      sweep()
      return budgetOf(agent)
    },
    block: (id) => {
      const reservation = id === undefined ? undefined : observer.reservations.get(id)
      if (reservation !== undefined) reservation.isBlocked = true
    },
    setFrozen: (freezes) => {
      isFrozen += freezes ? 1 : -1
      change("frozen", (budget) => ({ ...budget, status: isFrozen > 0 ? "FROZEN" : "ACTIVE" }))
      observer.isFrozen = isFrozen > 0
    },
    credit: (amount) => change("small", (budget) => ({ ...budget, allocated: budget.allocated + BigInt(amount) }))
  }
}

/** A request whose writes aren't durable yet. */
interface Handled {
  readonly message: Message
  readonly response: TransportResponse
  readonly respond: (response: TransportResponse | undefined) => void
  readonly atMs: number
}

const names: ReadonlyArray<keyof typeof agents> = ["big", "small", "frozen", "overdraft"]
