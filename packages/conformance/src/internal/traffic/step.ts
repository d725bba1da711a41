/**
 * Random requests to both planes of a server, as data. A step refers to earlier objects by numbers, because each server
 * generates its own ids.
 */
import * as Schema from "effect/Schema"
import * as Json from "../fuzz/json.ts"

/** The operations of both planes. */
export const operations = [
  "reserve",
  "reserve",
  "commit",
  "commit",
  "release",
  "extend",
  "decide",
  "event",
  "getReservation",
  "listReservations",
  "balances",
  "createTenant",
  "getTenant",
  "patchTenant",
  "listTenants",
  "createKey",
  "patchKey",
  "revokeKey",
  "listKeys",
  "validateKey",
  "introspect",
  "createBudget",
  "createBudget",
  "listBudgets",
  "lookUpBudget",
  "patchBudget",
  "fund",
  "freeze",
  "unfreeze",
  "createPolicy",
  "patchPolicy",
  "listPolicies",
  "adminBalances",
  "unknown"
] as const

/** The name of an operation. */
export type OperationName = (typeof operations)[number]

const Choice = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 59 }))

/** One request. Every choice is a number, modulo the number of possible values. */
export const Step = Schema.Struct({
  operation: Schema.Literals(operations),
  /** The earlier object that the request is about. */
  target: Choice,
  /** The subject or the scope. */
  scope: Choice,
  amount: Choice,
  /** The idempotency key, the name, the id. */
  key: Choice,
  /** Which key authenticates the request, and other variants. */
  variant: Choice,
  /** Damages the body. Most steps have none. */
  mutations: Schema.Array(Json.Mutation).check(Schema.isMaxLength(2)),
  /** Whether the damage is applied. */
  isMutated: Schema.Literals([false, false, false, true])
})

export type Step = typeof Step.Type

/** An undamaged step whose choices are 0, except for the given ones. */
export const plainStep = (operation: OperationName, choices: Partial<Step> = {}): Step => ({
  operation,
  target: 0,
  scope: 0,
  amount: 0,
  key: 0,
  variant: 0,
  mutations: [],
  isMutated: false,
  ...choices
})

/** A request as text. */
export interface Rendered {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE"
  readonly plane: "runtime" | "admin"
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | undefined
}
