/** The embedded server on the loopback interface, with a list of every charge by commits and events. */
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Loopback from "./loopback.ts"

/** A server and its charges. */
export interface LedgerServer {
  readonly url: string
  readonly tenant: string
  readonly apiKey: string
  /** The charges so far, by the name of the action. */
  readonly charges: Effect.Effect<ReadonlyMap<string, ReadonlyArray<number>>>
  /** The spent amount of the budget. */
  readonly spent: Effect.Effect<number>
  /** The names of the actions whose reservations are ACTIVE. */
  readonly active: Effect.Effect<ReadonlyArray<string>>
}

/** Starts the server on a free port, with a budget of tokens that no test exhausts. */
export const make: Effect.Effect<LedgerServer, never, Scope.Scope> = Effect.gen(function* () {
  const server = yield* CyclesServer.makeMemoryServer({ budgets: [{ unit: "TOKENS", allocated: 1_000_000_000 }] })
  const runSync = Effect.runSyncWith(yield* Effect.context<never>())
  /** Charged events by id. A repeated request returns the same id. */
  const events = new Map<string, { readonly name: string; readonly amount: number }>()
  const url = yield* Loopback.listen(0, (incoming, body, outgoing) => {
    const response = runSync(server.handle(Loopback.requestOf(incoming, body)))
    if (incoming.url === "/v1/events" && response.status === 201) {
      const event = JSON.parse(response.body)
      const { action, actual } = JSON.parse(body)
      events.set(String(event["event_id"]), { name: String(action["name"]), amount: Number(actual["amount"]) })
    }
    outgoing.writeHead(response.status, response.headers).end(response.body)
  })
  return {
    url,
    tenant: server.tenant,
    apiKey: Redacted.value(server.apiKey),
    charges: Effect.map(server.reservations, (rows) => {
      const charges = new Map<string, Array<number>>()
      const add = (name: string, amount: number): void => {
        const known = charges.get(name)
        if (known === undefined) charges.set(name, [amount])
        else known.push(amount)
      }
      for (const { action, committed } of rows) if (committed !== undefined) add(action.name, Number(committed))
      for (const { amount, name } of events.values()) add(name, amount)
      return charges
    }),
    spent: Effect.map(server.books("TOKENS"), ({ spent }) => Number(spent)),
    active: Effect.map(server.reservations, (rows) =>
      rows.filter(({ status }) => status === "ACTIVE").map(({ action }) => action.name)
    )
  }
})
