/** The command `balances`. */
import { format } from "@effect-cycles/protocol/Amount"
import { Balance } from "@effect-cycles/protocol/Balance"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { CliFailure } from "./failure.ts"
import * as Flags from "./flags.ts"
import * as List from "./list.ts"
import * as Output from "./output.ts"
import * as Settings from "./settings.ts"

/** Prints the balances of a subject. */
export const balances = Command.make(
  "balances",
  {
    ...Flags.target,
    limit: Flags.limit("budgets", 200),
    json: Flags.json
  },
  (flags) =>
    Effect.gen(function* () {
      const env = yield* Settings.environmentOf({ baseUrl: flags.baseUrl, subject: Flags.subjectOf(flags) })
      const settings = yield* Settings.settings(env)
      const { dimensions: _, ...subject } = settings.config.subject ?? {}
      if (Object.values(subject).every((value) => value === undefined)) {
        return yield* new CliFailure({
          problem: "No field of a subject is set, so no budget can be selected.",
          advice: "Pass --tenant, or set CYCLES_TENANT."
        })
      }
      yield* List.print(settings, flags, {
        rows: (client) => client.streamBalances({ ...subject, includeChildren: true }),
        schema: Balance,
        tableOf,
        noun: "budgets",
        none: "No budget includes this subject."
      })
    })
).pipe(
  Command.withDescription("List the budgets of a subject, with the budgets below it: allocated, spent, remaining"),
  Command.withExamples([
    { command: "effect-cycles balances --tenant acme", description: "List all budgets of a tenant" },
    { command: "effect-cycles balances --agent planner --json", description: "List those of an agent as JSON" }
  ])
)

const tableOf = (rows: ReadonlyArray<Balance>): string =>
  Output.table(
    ["SCOPE", "ALLOCATED", "SPENT", "RESERVED", "DEBT", "REMAINING", "NOTE"],
    rows.map(({ allocated, debt, isOverLimit, remaining, reserved, scopePath, spent }) => [
      scopePath,
      amount(allocated),
      amount(spent),
      amount(reserved),
      amount(debt),
      format(remaining),
      isOverLimit === true ? "over its limit" : ""
    ])
  )

const amount = (value: Balance["allocated"]): string => (value === undefined ? "-" : format(value))
