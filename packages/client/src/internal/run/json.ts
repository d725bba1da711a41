/** The codecs of the plain values of a run. A 64-bit integer is text in JSON, since a double can't hold them all. */
import * as Action from "@effect-cycles/protocol/Action"
import * as Amount from "@effect-cycles/protocol/Amount"
import { maxInt64 } from "@effect-cycles/protocol/Limits"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import type { BudgetSummary, Line, Summary } from "./summary.ts"

/** A sum of amounts, as text. */
const Sum = Schema.BigIntFromString.check(Schema.isGreaterThanOrEqualToBigInt(0n))

/** An amount with its number as text. */
const AmountText = Schema.Struct({
  unit: Amount.Unit,
  amount: Schema.BigIntFromString.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: maxInt64 }))
}).pipe(
  Schema.decodeTo(Schema.toType(Amount.Amount), {
    decode: SchemaGetter.transform(({ amount, unit }) => Amount.make(unit, amount)),
    encode: SchemaGetter.transform(({ amount, unit }: Amount.Amount) => ({ unit, amount }))
  })
)

/** A field that JSON leaves out if it is undefined. */
const orAbsent = <T, E>(schema: Schema.Codec<T, E>) =>
  Schema.optionalKey(schema).pipe(
    Schema.decodeTo(Schema.UndefinedOr(Schema.toType(schema)), {
      decode: SchemaGetter.transformOptional((value: Option.Option<T>) =>
        Option.some(Option.isSome(value) ? value.value : undefined)
      ),
      encode: SchemaGetter.transformOptional((value: Option.Option<T | undefined>) =>
        Option.flatMap(value, Option.fromUndefinedOr)
      )
    })
  )

const BudgetJson = Schema.Struct({
  unit: Amount.Unit,
  allocated: orAbsent(AmountText),
  charged: AmountText,
  held: AmountText,
  remaining: orAbsent(AmountText)
}) satisfies Schema.Codec<BudgetSummary, unknown>

const LineJson = Schema.Struct({
  action: Action.Read,
  unit: Amount.Unit,
  calls: Schema.Natural,
  denied: Schema.Natural,
  wouldDeny: Schema.Natural,
  open: Schema.Natural,
  estimated: Sum,
  charged: Sum,
  uncertain: Schema.Natural,
  latencyMs: Schema.Natural,
  maxLatencyMs: Schema.Natural
}) satisfies Schema.Codec<Line, unknown>

/**
 * Codec of a summary and its JSON. All amounts are text in it: the integers of the protocol exceed those of a double.
 *
 * **Example** (Printing a summary as JSON)
 *
 * ```ts
 * import { Console, Effect, Schema } from "effect"
 * import { Run } from "effect-cycles"
 *
 * export const print = (run: Run.Run) =>
 *   Effect.gen(function* () {
 *     const json = yield* Schema.encodeEffect(Run.SummaryJson)(yield* run.summary)
 *     yield* Console.log(JSON.stringify(json))
 *   })
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const SummaryJson: Schema.Codec<Summary, unknown> = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  status: Schema.Literals(["running", "paused", "ended"]),
  elapsedMs: Schema.Natural,
  budgets: Schema.Array(BudgetJson),
  lines: Schema.Array(LineJson),
  calls: Schema.Natural,
  denials: Schema.Natural,
  wouldDeny: Schema.Natural,
  uncertain: Schema.Natural,
  steps: Schema.Natural,
  toolCalls: Schema.Natural,
  stoppedBy: orAbsent(Schema.String),
  uncovered: Schema.Array(Amount.Unit),
  children: Schema.Array(Schema.suspend((): Schema.Codec<Summary, unknown> => SummaryJson))
})
