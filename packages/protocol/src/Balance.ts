/**
 * The balance of a budget: the amounts that are allocated, spent, reserved and remaining.
 *
 * @see schemas `Balance` and `BalanceResponse` of the Cycles protocol
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Amount, SignedAmount } from "./Amount.ts"
import { struct } from "./internal/fieldNames.ts"
import * as Wire from "./internal/schema.ts"
import { fields } from "./Subject.ts"

/**
 * Schema of the balance of one budget: `remaining = allocated - spent - reserved - debt`, all in one unit.
 *
 * @see schema `Balance` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const Balance = struct({
  /** The last part of the path, as in `agent:a`. */
  scope: Schema.String,
  /** The whole path, as in `tenant:acme/agent:a`. */
  scopePath: Schema.String,
  /** The amount available for new reservations. Negative if the debt exceeds the rest of the budget. */
  remaining: SignedAmount,
  /** The amount that active reservations hold. */
  reserved: Schema.optionalKey(Amount),
  /** The amount that was committed or charged by events. */
  spent: Schema.optionalKey(Amount),
  /** The amount that was spent beyond the budget. It must be repaid before new reservations are allowed. */
  debt: Schema.optionalKey(Amount),
  /** The size of the budget. */
  allocated: Schema.optionalKey(Amount),
  /** The largest debt that is allowed. If it is absent or 0, no debt is allowed. */
  overdraftLimit: Schema.optionalKey(Amount),
  /** Whether the budget is over its limit. If true, the server refuses every new reservation. */
  isOverLimit: Schema.optionalKey(Schema.Boolean)
})

/**
 * The balance of one budget.
 *
 * @category models
 * @since 0.1.0
 */
export type Balance = typeof Balance.Type

/**
 * Schema of a page of balances.
 *
 * @category schemas
 * @since 0.1.0
 */
export const BalanceResponse = struct({
  /** The balances of this page. */
  balances: Schema.Array(Balance),
  ...Wire.pageFields
})

/**
 * A page of balances.
 *
 * @category models
 * @since 0.1.0
 */
export type BalanceResponse = typeof BalanceResponse.Type

/**
 * Schema of a query for balances. It needs at least one field of the subject.
 *
 * @see `GET /v1/balances` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const BalanceQuery = struct({
  ...Wire.scopeQuery,
  /** Whether budgets below the named scope are included. */
  includeChildren: Schema.optional(Schema.Boolean),
  ...Wire.pageQuery
}).check(Wire.atLeastOne(fields))

/**
 * A query for balances.
 *
 * @category models
 * @since 0.1.0
 */
export type BalanceQuery = typeof BalanceQuery.Type
