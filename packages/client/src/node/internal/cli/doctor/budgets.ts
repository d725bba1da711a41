/** Checks the budgets of a subject: which scopes have one, the remaining amounts, and whether a reserve is allowed. */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { Balance } from "@effect-cycles/protocol/Balance"
import { IdempotencyKey } from "@effect-cycles/protocol/Identifiers"
import * as ProtocolSubject from "@effect-cycles/protocol/Subject"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { CyclesClient } from "../../../../CyclesClient.ts"
import type { CyclesError } from "../../../../CyclesError.ts"
import type * as Subject from "../../../../Subject.ts"
import { shown } from "../output.ts"
import type { Finding } from "./finding.ts"
import { failed, ok, warning } from "./finding.ts"

/** Checks the budgets. Nothing is reserved. */
export const check = (client: CyclesClient, subject: Subject.Subject): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.gen(function* () {
    const scopes = ProtocolSubject.scopes(subject)
    const all = yield* Stream.runCollect(Stream.take(client.streamBalances(queryOf(subject)), maxBudgets))
    const found = scopes.flatMap((scope) => all.filter(({ scopePath }) => scopePath.toLowerCase() === scope))
    if (found.length === 0) return [missing(scopes, all)]
    const units = Array.from(new Set(found.map(({ remaining }) => remaining.unit)))
    return yield* Effect.forEach(units, (unit) => checkUnit(client, subject, scopes, unit, found))
  }).pipe(Effect.catch((error: CyclesError) => Effect.succeed([unreadable(subject, error)])))

/** The balances can't be read. A server that doesn't name the tenant of the key refuses other tenants only here. */
const unreadable = ({ tenant }: Subject.Subject, error: CyclesError): Finding =>
  error._tag === "ApiError" && error.status === 403
    ? failed(
        "budgets",
        `The server refuses the balances of tenant ${tenant ?? "?"}: ${shown(error.message)}.`,
        `Does the key belong to another tenant than ${tenant ?? "?"}? Then change CYCLES_TENANT or the key. Otherwise the key lacks the permission to read balances.`
      )
    : failed("budgets", shown(error.message))

/** The maximum number of budgets to look through. */
const maxBudgets = 10_000

/** The most general scope of the subject: its balances include those of the scopes below. */
const queryOf = (subject: Subject.Subject) => {
  const field = ProtocolSubject.fields.find((field) => subject[field] !== undefined) ?? "tenant"
  return { [field]: subject[field], includeChildren: true, limit: 200 }
}

const missing = (scopes: ReadonlyArray<string>, all: ReadonlyArray<Balance>): Finding =>
  failed(
    "budgets",
    `No budget for ${scopes.join(", ")}: each reserve fails with 404.`,
    "Ask the administrator to create a budget on one of these scopes, in the unit of your estimates.",
    all.length === 0
      ? []
      : [
          `other budgets: ${all
            .slice(0, 5)
            .map(({ remaining, scopePath }) => `${shown(scopePath)} (${remaining.unit})`)
            .join(", ")}${all.length > 5 ? ", ..." : ""}`
        ]
  )

const checkUnit = (
  client: CyclesClient,
  subject: Subject.Subject,
  scopes: ReadonlyArray<string>,
  unit: Amount.Unit,
  found: ReadonlyArray<Balance>
): Effect.Effect<Finding> =>
  Effect.gen(function* () {
    const details = scopes.map((scope) => {
      const balance = found.find((one) => one.scopePath.toLowerCase() === scope && one.remaining.unit === unit)
      return `${scope}: ${balance === undefined ? `no budget in ${unit}` : describe(balance)}`
    })
    const decision = yield* client.decide({
      idempotencyKey: IdempotencyKey.make(`doctor-${globalThis.crypto.randomUUID()}`),
      subject,
      // A registered kind, so that no policy about unknown kinds applies.
      action: { kind: "llm.completion", name: "effect-cycles-doctor" },
      estimate: Amount.make(unit, 1)
    })
    if (decision.decision !== "DENY") {
      const least = leastOf(found.filter(({ remaining }) => remaining.unit === unit))
      return ok("budgets", least === undefined ? unit : `${least} left`, undefined, details)
    }
    const reason = decision.reasonCode ?? "DENY"
    const advice = adviceByReason[reason]
    return (advice === undefined ? warning : failed)(
      "budgets",
      `The server denies the smallest amount of ${unit}: ${shown(reason)} on ${scopes.join(", ")}.`,
      advice ??
        "Budgets don't have this reason: a policy may deny the doctor's action, and allow those of your program.",
      details
    )
  }).pipe(
    Effect.catch((error: CyclesError) =>
      Effect.succeed(
        error._tag === "BudgetExceeded"
          ? failed(
              "budgets",
              shown(error.message),
              adviceByReason[error.code] ?? "Ask the administrator of the budgets."
            )
          : warning("budgets", `The decision about ${unit} failed: ${shown(error.message)}`)
      )
    )
  )

const adviceByReason: Readonly<Partial<Record<string, string>>> = {
  BUDGET_EXCEEDED: "Nothing remains. Ask the administrator to raise the allocation, or wait until reservations end.",
  BUDGET_FROZEN: "The budget is frozen. Ask the administrator to unfreeze it.",
  BUDGET_CLOSED: "The budget is closed. Ask the administrator for another one.",
  BUDGET_NOT_FOUND: "Ask the administrator to create a budget on one of these scopes.",
  DEBT_OUTSTANDING: "A debt has to be repaid first. Ask the administrator to fund the budget.",
  OVERDRAFT_LIMIT_EXCEEDED: "The debt exceeds the overdraft limit. Ask the administrator to fund the budget."
}

const describe = ({ allocated, debt, isOverLimit, remaining, reserved }: Balance): string =>
  [
    `${Amount.format(remaining)} left`,
    ...(allocated === undefined ? [] : [`of ${Amount.format(allocated)}`]),
    ...(reserved === undefined || Amount.isZero(reserved) ? [] : [`${Amount.format(reserved)} reserved`]),
    ...(debt === undefined || Amount.isZero(debt) ? [] : [`${Amount.format(debt)} debt`]),
    ...(isOverLimit === true ? ["over its limit"] : [])
  ].join(", ")

/** The smallest remaining amount: it limits a reserve. */
const leastOf = (found: ReadonlyArray<Balance>): string | undefined => {
  const [least] = found.map(({ remaining }) => remaining).toSorted((a, b) => (a.amount < b.amount ? -1 : 1))
  return least === undefined ? undefined : Amount.format(least)
}
