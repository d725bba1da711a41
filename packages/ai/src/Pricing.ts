/**
 * Prices of model calls, for budgets in `USD_MICROCENTS`.
 *
 * `Pricing` is a service with two functions: `price` returns the price of a finished call, and `maximum` returns the
 * highest price that a call can have, which is reserved before the call. `fromTable` makes the service from a table,
 * `GenaiPrices` from a catalogue.
 *
 * **Details**
 *
 * - Money is exact: prices are decimals, counts are integers, and a price rounds up once, to a whole microcent.
 * - `price(call) <= maximum(request)` if the usage of the call has at most the tokens of the request, each tool of
 *   `providerTools` ran at most `toolCallsPerRequest` times, and the call has the service tier of the request, if that
 *   is known.
 * - A model without a price fails with `UnknownModel`, unless there is a `fallback`. A usage with a dimension that the prices
 *   don't cover, such as audio or web searches, fails with `UnknownPrice`, unless `unknownDimension` is `"base"`.
 *
 * **Example** (Prices from a table)
 *
 * ```ts
 * import { Pricing } from "@effect-cycles/ai"
 *
 * export const Prices = Pricing.layerStatic({
 *   "openai:gpt-5": { input: "1.25", output: "10", cacheRead: "0.125", tiers: { priority: 2 }, tools: { web_search: "10" } },
 *   "anthropic:claude-sonnet-4": { input: "3", output: "15", cacheRead: "0.3", cacheWrite: "3.75", cacheWriteHour: "6" }
 * })
 * ```
 *
 * @since 0.1.0
 */
import type * as Amount from "@effect-cycles/protocol/Amount"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { cardOf, policyOf } from "./internal/card.ts"
import * as Decimal from "./internal/decimal.ts"
import { isDated } from "./internal/modelNames.ts"
import { asEffect, UnknownModel, type UnknownPrice } from "./internal/priceErrors.ts"
import * as Rates from "./internal/rates.ts"
import * as Usage from "./Usage.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A finished call, for `price`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Call {
  /** The name of the provider, as in `openai`. */
  readonly provider: string | undefined
  /** The model that the provider reports, or the requested model if it reports none, as in `gpt-5-2026-01-31`. */
  readonly model: string
  /** The requested model. Its price applies if `model` has none. Default: `model`. */
  readonly requestedModel?: string | undefined
  /** The tokens and the tool calls of the call. */
  readonly usage: Usage.Usage
  /** The service tier of the call, as in `flex`: see `serviceTier`. `undefined`, `default` and `standard` are the regular tier. */
  readonly serviceTier: string | undefined
  /** The time of the call, in milliseconds since 1970. */
  readonly atMs: number
}

/**
 * Prices of tokens, in dollars per million tokens: numbers or decimal strings of at least 0, as in `"1.25"`.
 *
 * @category models
 * @since 0.1.0
 */
export interface TokenPrices {
  /** Input tokens. */
  readonly input: string | number
  /** Output tokens. */
  readonly output: string | number
  /** Input tokens read from a cache. Default: as `input`, which is never too low. */
  readonly cacheRead?: string | number | undefined
  /** Input tokens written to a cache with the default lifetime, of 5 minutes at Anthropic. No default. */
  readonly cacheWrite?: string | number | undefined
  /** Input tokens written to a cache with a lifetime of an hour. No default. */
  readonly cacheWriteHour?: string | number | undefined
  /** Output tokens of reasoning. Default: as `output`. */
  readonly reasoning?: string | number | undefined
  /** Input tokens of audio. No default. */
  readonly inputAudio?: string | number | undefined
  /** Input tokens of images and video. No default: image models have a higher price, most chat models that of `input`. */
  readonly inputImage?: string | number | undefined
  /** Output tokens of audio. No default. */
  readonly outputAudio?: string | number | undefined
  /** Output tokens of images. No default. */
  readonly outputImage?: string | number | undefined
}

/**
 * Prices of tokens that depend on the size of the request.
 *
 * @category models
 * @since 0.1.0
 */
export interface TierPrices extends TokenPrices {
  /** The prices of all tokens of a request with more than `above` input tokens. Default: none. */
  readonly longContext?: (TokenPrices & { readonly above: number }) | undefined
}

/**
 * All prices of a model.
 *
 * A price without a default has no safe value. A call that reports the dimension fails with `UnknownPrice`, unless the option
 * `unknownDimension` is `"base"`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Prices extends TierPrices {
  /**
   * Prices of service tiers by name, as in `priority`: a factor for all token prices, or separate prices. `flex` and
   * `batch` have the regular prices by default, which are never too low; other tiers have no default.
   */
  readonly tiers?: { readonly [tier: string]: string | number | TierPrices } | undefined
  /**
   * Dollars for a thousand calls of a tool that the provider runs itself, by the name of the tool without its version, as in
   * `web_search`. `0` is a free tool. No default.
   */
  readonly tools?: { readonly [tool: string]: string | number } | undefined
  /** Dollars for a thousand requests, in addition to their tokens. Default: 0. */
  readonly requests?: string | number | undefined
}

/**
 * A call before it is made, for `maximum`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request {
  /** The name of the provider, as in `openai`. */
  readonly provider: string | undefined
  /** The requested model. */
  readonly model: string
  /** The estimated input, in tokens. */
  readonly inputTokens: number
  /** The highest output, in tokens. */
  readonly outputTokens: number
  /** The names of the tools that the provider may run itself, as in `web_search`. */
  readonly providerTools: ReadonlyArray<string>
  /** The requested service tier. If it is `undefined` or `auto`, the most expensive tier applies. */
  readonly serviceTier: string | undefined
  /** The time of the call, in milliseconds since 1970. */
  readonly atMs: number
}

/**
 * How missing prices are handled.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The prices of models that have none. Default: such a model fails with `UnknownModel`. */
  readonly fallback?: Prices | undefined
  /**
   * The price of a dimension that has none. `"refuse"` fails with `UnknownPrice`. `"base"` charges cache writes, audio
   * and images as plain tokens, service tiers at the regular prices, and nothing for tool calls, which may be too low.
   * Default: `"refuse"`.
   */
  readonly unknownDimension?: "refuse" | "base" | undefined
  /** How many calls of each provider-run tool `maximum` allows for, an integer of at least 0. Default: 10. */
  readonly toolCallsPerRequest?: number | undefined
}

/**
 * Why a call has no price.
 *
 * @category errors
 * @since 0.1.0
 */
export type PriceError = UnknownModel | UnknownPrice

export { UnknownModel, UnknownPrice } from "./internal/priceErrors.ts"

export { reportedCost, serviceTier } from "./internal/reportedPrice.ts"

const TypeId = "~@effect-cycles/ai/Pricing"

/**
 * Prices of model calls.
 *
 * @category services
 * @since 0.1.0
 */
export interface Pricing {
  /** Marks the value as a `Pricing`. */
  readonly [TypeId]: typeof TypeId
  /**
   * The price of a call, in USD_MICROCENTS. Fails if the model or a dimension of its usage has no price.
   *
   * A guarded model charges its estimate if this fails, dies, returns another unit or takes longer than 5 seconds.
   */
  readonly price: (call: Call) => Effect.Effect<Amount.Amount, PriceError>
  /**
   * The highest price that a call can have, in USD_MICROCENTS. Fails if the model or a provider-run tool has no price.
   *
   * A guarded model isn't called if this fails or dies. If it returns another unit, the call dies with a `TypeError`.
   */
  readonly maximum: (request: Request) => Effect.Effect<Amount.Amount, PriceError>
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The service of `Pricing`.
 *
 * @category services
 * @since 0.1.0
 */
export const Pricing: Context.Service<Pricing, Pricing> = Context.Service("@effect-cycles/ai/Pricing")

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes prices from functions.
 *
 * Without `maximum`, the highest price is that of plain input and output tokens and of ten calls of each provider-run tool.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (price: Pricing["price"], maximum?: Pricing["maximum"]): Pricing => ({
  [TypeId]: TypeId,
  price,
  maximum:
    maximum ??
    (({ atMs, inputTokens, model, outputTokens, provider, providerTools, serviceTier }) => {
      const toolCalls = Object.fromEntries(providerTools.map((tool) => [tool, policyOf().toolCallsPerRequest]))
      return price({ provider, model, usage: Usage.make(inputTokens, outputTokens, { toolCalls }), serviceTier, atMs })
    })
})

/**
 * Makes prices from a table whose keys are `provider:model` or `model`.
 *
 * A model with a date has the price of the model: `gpt-4-0613`, `gpt-4o-2024-08-06` and `claude-3-5-haiku@20241022`, but neither
 * `gpt-4-32k` nor `gpt-4-1106-preview` nor `gpt-4-latest`. The model that the provider reports is looked up first, then
 * `requestedModel`, then `fallback`.
 *
 * Throws a `RangeError` if a price isn't a decimal of at least 0, or `toolCallsPerRequest` isn't an integer of at least 0.
 *
 * **Example** (A price with cached input)
 *
 * ```ts
 * import { Pricing, Usage } from "@effect-cycles/ai"
 * import { Effect } from "effect"
 *
 * const prices = Pricing.fromTable({ "gpt-5": { input: "1.25", output: "10", cacheRead: "0.125" } })
 *
 * const price = prices.price({
 *   provider: "openai",
 *   model: "gpt-5-2026-01-31",
 *   usage: Usage.make(1_000, 100, { cacheReadTokens: 800 }),
 *   serviceTier: undefined,
 *   atMs: Date.now()
 * })
 *
 * console.log(Effect.runSync(price).amount)
 * // 135000n
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromTable = (table: { readonly [model: string]: Prices }, options?: Options): Pricing => {
  const policy = policyOf(options)
  const cards = new Map(Object.entries(table).map(([name, prices]) => [name, cardOf(prices)]))
  const names = [...cards.keys()].toSorted((a, b) => b.length - a.length)
  const fallback = options?.fallback === undefined ? undefined : cardOf(options.fallback)

  const find = (name: string): Rates.Card | undefined => {
    const exact = cards.get(name)
    if (exact !== undefined) return exact
    const key = names.find((key) => isDated(name, key))
    return key === undefined ? undefined : cards.get(key)
  }

  const lookup = (provider: string | undefined, models: ReadonlyArray<string | undefined>): Rates.Card | undefined => {
    for (const model of models) {
      if (model === undefined) continue
      const found = (provider === undefined ? undefined : find(`${provider}:${model}`)) ?? find(model)
      if (found !== undefined) return found
    }
    return fallback
  }

  return make(
    (call) => {
      const card = lookup(call.provider, [call.model, call.requestedModel])
      return card === undefined
        ? Effect.fail(new UnknownModel({ provider: call.provider, model: call.model }))
        : asEffect(call, Rates.price(card, call.usage, call.serviceTier, policy))
    },
    (request) => {
      const card = lookup(request.provider, [request.model])
      return card === undefined
        ? Effect.fail(new UnknownModel({ provider: request.provider, model: request.model }))
        : asEffect(request, Rates.maximum(card, request, policy))
    }
  )
}

/**
 * An amount of dollars from a computation, rounded up to a whole microcent. A positive amount is at least a microcent, a
 * negative one is 0, and one above 92,233,720,368.54775807 dollars is that amount.
 *
 * The number is read with 15 significant digits, so that `0.1 + 0.2` isn't rounded up. Throws a `RangeError` for NaN.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromDollars = (dollars: number): Amount.Amount => {
  if (Number.isNaN(dollars)) throw new RangeError("Dollars must be a number, got NaN")
  return Decimal.toAmount(Decimal.parse(Math.min(Math.max(0, dollars), Number.MAX_VALUE)) ?? 0n, 1n)
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Prices from a table: see `fromTable`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStatic = (table: { readonly [model: string]: Prices }, options?: Options): Layer.Layer<Pricing> =>
  Layer.sync(Pricing, () => fromTable(table, options))
