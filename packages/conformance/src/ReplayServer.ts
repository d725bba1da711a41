/**
 * The embedded server with a hook that puts a budget into a state that no call makes, for the replay of recorded exchanges.
 *
 * The hook takes `POST {"scope", "unit", "set": {field: value}}` with the field names of the reference's store.
 */
import * as NodeCyclesServer from "@effect-cycles/server/NodeCyclesServer"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"

/** Where it runs. */
export interface Options extends NodeCyclesServer.Options {
  readonly hookPort: number
}

/** Starts the server and its hook. */
export const make = (
  options: Options
): Effect.Effect<NodeCyclesServer.Running & { readonly hookUrl: string }, NodeCyclesServer.ServerError, Scope.Scope> =>
  Effect.gen(function* () {
    const running = yield* NodeCyclesServer.make(options)
    const hook = yield* Effect.acquireRelease(
      Effect.callback<Http.Server>((resume) => {
        const http = Http.createServer((incoming, outgoing) => {
          const chunks: Array<Buffer> = []
          incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
          incoming.on("end", () => {
            const isDone = seed(running, Buffer.concat(chunks).toString("utf8"))
            outgoing.writeHead(isDone ? 200 : 404).end()
          })
        })
        http.listen(options.hookPort, "127.0.0.1", () => resume(Effect.succeed(http)))
      }),
      (http) =>
        Effect.callback<void>((resume) => {
          http.close(() => resume(Effect.void))
          http.closeAllConnections()
        })
    )
    const address = hook.address()
    const port = typeof address === "object" && address !== null ? address.port : options.hookPort
    return { ...running, hookUrl: `http://127.0.0.1:${port}` }
  })

/** Sets fields of a budget as the reference's store has them. */
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
  if (store.isDirty()) store.commit()
  return true
}
