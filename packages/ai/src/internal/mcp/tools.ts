/** The read-only budget tools of an MCP server: their schemas, and how values become JSON. Amounts are text. */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { Balance } from "@effect-cycles/protocol/Balance"
import type { DecisionResponse } from "@effect-cycles/protocol/Decision"
import type { Run, Summary } from "effect-cycles/Run"
import * as Tool from "effect/ai/Tool"
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"
import { Failure } from "./failure.ts"

// ---------------------------------------------------------------------------------------------------------------------
// schemas
// ---------------------------------------------------------------------------------------------------------------------

const digits = Schema.String.check(
  Schema.isPattern(/^\d{1,19}$/, { expected: "digits" }),
  Schema.makeFilter((text) => BigInt(text) <= 2n ** 63n - 1n || "a value less than or equal to 9223372036854775807")
)

const amount = Schema.Union([Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)), digits]).annotate({
  description: "A whole number of units, as a number or as text."
})

const unit = Schema.String.annotate({
  description: `One of ${Amount.knownUnits.join(", ")}. A dollar is 100000000 USD_MICROCENTS.`
})

const name = Schema.optionalKey(Schema.String)

const subject = Schema.Struct({
  tenant: name,
  workspace: name,
  app: name,
  workflow: name,
  agent: name,
  toolset: name
}).annotate({ description: "Whose budgets to read. Fields that are left out have the values of this server." })

const text = Schema.String.annotate({ description: "A whole number of units, as text." })
const optionalText = Schema.optionalKey(text)

const BalanceRow = Schema.Struct({
  scope: Schema.String,
  scope_path: Schema.String,
  unit: Schema.String,
  remaining: text,
  reserved: optionalText,
  spent: optionalText,
  debt: optionalText,
  allocated: optionalText,
  overdraft_limit: optionalText,
  is_over_limit: Schema.optionalKey(Schema.Boolean)
})

const natural = Schema.optionalKey(Schema.Int)
const names = Schema.optionalKey(Schema.Array(Schema.String))

const DecisionResult = Schema.Struct({
  decision: Schema.String.annotate({ description: "ALLOW, ALLOW_WITH_CAPS or DENY." }),
  caps: Schema.optionalKey(
    Schema.Struct({
      max_tokens: natural,
      max_steps_remaining: natural,
      tool_allowlist: names,
      tool_denylist: names,
      cooldown_ms: natural
    })
  ),
  reason_code: Schema.optionalKey(Schema.String),
  retry_after_ms: natural,
  affected_scopes: names
})

const RunBudget = Schema.Struct({
  unit: Schema.String,
  allocated: optionalText,
  charged: text,
  held: text,
  remaining: optionalText
})

// ---------------------------------------------------------------------------------------------------------------------
// tools
// ---------------------------------------------------------------------------------------------------------------------

/** The annotations of a tool that changes nothing. */
const readOnly = (title: string) =>
  Context.make(Tool.Title, title).pipe(
    Context.add(Tool.Readonly, true),
    Context.add(Tool.Destructive, false),
    Context.add(Tool.Idempotent, true),
    Context.add(Tool.OpenWorld, false)
  )

/** Reads the balances of a subject. */
export const Balances = Tool.make("cycles_balances", {
  description:
    "Read the balances of budgets: the allocated, spent, reserved and remaining amounts, as whole numbers of the unit in " +
    "text. Nothing is reserved or charged.",
  parameters: Schema.Struct({
    subject: Schema.optionalKey(subject),
    include_children: Schema.optionalKey(
      Schema.Boolean.annotate({ description: "Whether budgets below the subject are included. Default: false." })
    ),
    unit: Schema.optionalKey(unit)
  }),
  success: Schema.Struct({
    balances: Schema.Array(BalanceRow),
    has_more: Schema.Boolean.annotate({ description: "Whether there are more balances than these." })
  }),
  failure: Failure
}).annotateMerge(readOnly("Read budgets"))

/** Returns the decision that a reserve would get. */
export const Decide = Tool.make("cycles_decide", {
  description:
    "Ask whether the budget would allow an action of this estimated amount now: ALLOW, ALLOW_WITH_CAPS or DENY. Nothing is " +
    "reserved or charged, so the decision can change at any time.",
  parameters: Schema.Struct({
    action: Schema.Struct({
      kind: Schema.String.annotate({ description: "The kind of the action, such as tool.call or llm.completion." }),
      name: Schema.String.annotate({ description: "The name of the tool or model." })
    }),
    estimate: Schema.Struct({ unit, amount }),
    subject: Schema.optionalKey(subject)
  }),
  success: DecisionResult,
  failure: Failure
}).annotateMerge(readOnly("Ask for a decision"))

/** Reads the budget of the run that the server has chosen for the request. */
export const Remaining = Tool.make("cycles_remaining", {
  description:
    "Read the budget of the current run: the allocated, charged, held and remaining amounts, as whole numbers of the unit " +
    "in text. Nothing is reserved or charged.",
  parameters: Tool.EmptyParams,
  success: Schema.Struct({
    run: Schema.Struct({ id: Schema.String, name: Schema.String, status: Schema.String }),
    budgets: Schema.Array(RunBudget)
  }),
  failure: Failure
}).annotateMerge(readOnly("Read the budget of the run"))

// ---------------------------------------------------------------------------------------------------------------------
// values
// ---------------------------------------------------------------------------------------------------------------------

/** A balance as JSON. */
export const balanceOf = (balance: Balance): typeof BalanceRow.Type => ({
  scope: balance.scope,
  scope_path: balance.scopePath,
  unit: balance.remaining.unit,
  remaining: digitsOf(balance.remaining),
  ...present("reserved", balance.reserved),
  ...present("spent", balance.spent),
  ...present("debt", balance.debt),
  ...present("allocated", balance.allocated),
  ...present("overdraft_limit", balance.overdraftLimit),
  ...(balance.isOverLimit === undefined ? undefined : { is_over_limit: balance.isOverLimit })
})

/** A decision as JSON. */
export const decisionOf = (response: DecisionResponse): typeof DecisionResult.Type => {
  const { affectedScopes, caps, decision, reasonCode, retryAfterMs } = response
  return {
    decision,
    ...(caps === undefined
      ? undefined
      : {
          caps: {
            ...given("max_tokens", caps.maxTokens),
            ...given("max_steps_remaining", caps.maxStepsRemaining),
            ...given("tool_allowlist", caps.toolAllowlist),
            ...given("tool_denylist", caps.toolDenylist),
            ...given("cooldown_ms", caps.cooldownMs)
          }
        }),
    ...given("reason_code", reasonCode),
    ...given("retry_after_ms", retryAfterMs),
    ...given("affected_scopes", affectedScopes)
  }
}

/** The budget of a run as JSON. */
export const remainingOf = (run: Run, summary: Summary) => ({
  run: { id: run.id, name: run.name, status: summary.status },
  budgets: summary.budgets.map((budget) => ({
    unit: budget.unit,
    ...present("allocated", budget.allocated),
    charged: digitsOf(budget.charged),
    held: digitsOf(budget.held),
    ...present("remaining", budget.remaining)
  }))
})

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const digitsOf = ({ amount }: { readonly amount: bigint }): string => String(amount)

/** A field of a result that is left out if there is no value: `undefined` isn't JSON. */
const given = <Name extends string, A>(name: Name, value: A | undefined): { readonly [N in Name]?: A } => {
  const field: { [N in Name]?: A } = {}
  if (value !== undefined) field[name] = value
  return field
}

const present = <Name extends string>(name: Name, amount: { readonly amount: bigint } | undefined) =>
  given(name, amount === undefined ? undefined : digitsOf(amount))
