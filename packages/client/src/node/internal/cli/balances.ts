/** The command `balances`. */
import { format } from "@effect-cycles/protocol/Amount"
import { Balance } from "@effect-cycles/protocol/Balance"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { withClient } from "./client.ts"
import { CliFailure, ofCall } from "./failure.ts"
import * as Flags from "./flags.ts"
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
  ({ baseUrl, json, limit, ...flags }) =>
    Effect.gen(function* () {
      const env = yield* Settings.environmentOf({ baseUrl, subject: Flags.subjectOf(flags) })
      const settings = yield* Settings.settings(env)
      const { dimensions: _, ...subject } = settings.config.subject ?? {}
      if (Object.values(subject).every((value) => value === undefined)) {
        return yield* new CliFailure({
          problem: "The balances of which subject? No field of a subject is set.",
          advice: "Pass --tenant, or set CYCLES_TENANT."
        })
      }
      const found = yield* withClient(settings, (client) =>
        Effect.mapError(
          Stream.runCollect(Stream.take(client.streamBalances({ ...subject, includeChildren: true }), limit + 1)),
          ofCall
        )
      )
      const rows = found.slice(0, limit)
      if (json) return yield* Output.printJson(yield* Effect.orDie(encode(rows)))
      if (rows.length === 0) return yield* Output.print("No budget includes this subject.")
      yield* Output.print(tableOf(rows))
      if (found.length > limit) yield* Output.print(`\nMore than ${limit} budgets: pass a larger --limit.`)
    })
).pipe(
  Command.withDescription("List the budgets of a subject, with the budgets below it: allocated, spent, remaining"),
  Command.withExamples([
    { command: "effect-cycles balances --tenant acme", description: "List all budgets of a tenant" },
    { command: "effect-cycles balances --agent planner --json", description: "List those of an agent as JSON" }
  ])
)

const encode = Schema.encodeEffect(Schema.Array(Balance))

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
