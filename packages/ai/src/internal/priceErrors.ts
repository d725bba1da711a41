/**
 * Why a call has no price.
 */
import type * as Amount from "@effect-cycles/protocol/Amount"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Priced } from "./rates.ts"

/**
 * The model has no price. If it is returned by `maximum`, the call wasn't made.
 *
 * Add the model to the prices, or choose a `fallback`.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnknownModel extends Schema.TaggedError<UnknownModel>()("UnknownModel", {
  /** The name of the provider. */
  provider: Schema.optional(Schema.String),
  /** The name of the model. */
  model: Schema.String
}) {
  override get message(): string {
    return `No price is known for the model ${nameOf(this)}: add it to the prices, or choose a fallback price`
  }
}

/**
 * The model has prices, but none for a dimension of the call, such as cache writes, audio, a service tier or web
 * searches. If it is returned by `maximum`, the call wasn't made.
 *
 * Add the price of the dimension to the model, or choose `unknownDimension: "base"`.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnknownPrice extends Schema.TaggedError<UnknownPrice>()("UnknownPrice", {
  /** The name of the provider. */
  provider: Schema.optional(Schema.String),
  /** The name of the model. */
  model: Schema.String,
  /** The field of `Prices` that is missing, as in `cacheWrite`, `tools.web_search` or `tiers.priority`. */
  dimension: Schema.String
}) {
  override get message(): string {
    return `No price is known for ${this.dimension} of the model ${nameOf(this)}: add it to the model's prices, or choose unknownDimension: "base"`
  }
}

const nameOf = (error: { readonly provider?: string | undefined; readonly model: string }): string =>
  error.provider === undefined ? error.model : `${error.provider}:${error.model}`

/** The price of a call, or `UnknownPrice` for its model. */
export const asEffect = (
  { model, provider }: { readonly provider: string | undefined; readonly model: string },
  priced: Priced
): Effect.Effect<Amount.Amount, UnknownPrice> =>
  Effect.fromResult(Result.mapError(priced, (dimension) => new UnknownPrice({ provider, model, dimension })))
