/**
 * What a budget has left, has held and has spent.
 *
 * Source: Balance and BalanceResponse of the protocol.
 */
import * as Schema from "effect/Schema"
import { Amount, SignedAmount } from "./Amount.ts"
import { struct } from "./internal/names.ts"
import * as Wire from "./internal/schema.ts"
import { fields } from "./Subject.ts"

/** The books of one budget: `remaining = allocated - spent - reserved - debt`. */
export const Balance = struct({
  /** The last part of the path, as in `agent:a`. */
  scope: Schema.String,
  scopePath: Schema.String,
  /** Below zero when there is more debt than budget. */
  remaining: SignedAmount,
  reserved: Schema.optionalKey(Amount),
  spent: Schema.optionalKey(Amount),
  debt: Schema.optionalKey(Amount),
  allocated: Schema.optionalKey(Amount),
  overdraftLimit: Schema.optionalKey(Amount),
  /** While it is true every new reservation is refused. */
  isOverLimit: Schema.optionalKey(Schema.Boolean)
})

/** The books of one budget. */
export type Balance = typeof Balance.Type

/** A page of balances. */
export const BalanceResponse = struct({
  balances: Schema.Array(Balance),
  ...Wire.pageFields
})

/** A page of balances. */
export type BalanceResponse = typeof BalanceResponse.Type

/** Which balances: at least one field of the subject. */
export const BalanceQuery = struct({
  ...Wire.scopeQuery,
  includeChildren: Schema.optional(Schema.Boolean),
  ...Wire.pageQuery
}).check(
  Schema.makeFilter((query) =>
    fields.some((field) => query[field] !== undefined) ? undefined : `Expected at least one of ${fields.join(", ")}`
  )
)

/** Which balances. */
export type BalanceQuery = typeof BalanceQuery.Type
