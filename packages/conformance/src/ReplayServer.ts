/**
 * The embedded server with a hook that sets the state of a budget, for the replay of recorded exchanges. Some recorded
 * states can't be reached through the API.
 *
 * The hook takes `POST {"scope", "unit", "set": {field: value}}` with the field names of the reference server's store.
 */
import * as NodeCyclesServer from "@effect-cycles/server/NodeCyclesServer"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Loopback from "./internal/loopback.ts"

/** The ports and the data file of the server. */
export interface Options extends NodeCyclesServer.Options {
  readonly hookPort: number
}

/** Starts the server and its hook. */
export const make = (
  options: Options
): Effect.Effect<NodeCyclesServer.Running & { readonly hookUrl: string }, NodeCyclesServer.ServerError, Scope.Scope> =>
  Effect.gen(function* () {
    const running = yield* NodeCyclesServer.make(options)
    const hookUrl = yield* Loopback.listen(options.hookPort, (_incoming, body, outgoing) => {
      outgoing.writeHead(seed(running, body) ? 200 : 404).end()
    })
    return { ...running, hookUrl }
  })

/** Sets fields of a budget by the names of the reference server's store. Returns false if there is no such budget. */
const seed = ({ server: { store } }: NodeCyclesServer.Running, text: string): boolean => {
  const { scope, set, unit }: { scope: string; unit: string; set: Readonly<Record<string, unknown>> } = JSON.parse(text)
  const budget = store.budgets.get(`${unit} ${scope}`)
  if (budget === undefined) return false
  const number = (name: string, otherwise: bigint): bigint =>
    set[name] === undefined ? otherwise : BigInt(String(set[name]))
  const status = set["status"]
  store.budgets.put({
    ...budget,
    caps: set["caps_json"] ?? budget.caps,
    debt: number("debt", budget.debt),
    spent: number("spent", budget.spent),
    overdraftLimit: number("overdraft_limit", budget.overdraftLimit),
    isOverLimit: set["is_over_limit"] === undefined ? budget.isOverLimit : String(set["is_over_limit"]) === "true",
    status: status === "CLOSED" || status === "FROZEN" || status === "ACTIVE" ? status : budget.status
  })
  store.commit()
  return true
}
