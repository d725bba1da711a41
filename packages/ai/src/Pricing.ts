/**
 * What tokens cost. The order of truth: what the provider itself reports, the table that is provided, the estimate.
 *
 * ```ts
 * const Prices = Pricing.layerStatic({ "openai:gpt-5": { input: "1.25", output: "10", cacheRead: "0.125" } })
 * ```
 *
 * A model that the table doesn't know is refused before it is called, unless a fallback is chosen: a budget that can't tell
 * the price can't hold.
 *
 * Source: ours. Money is exact: decimal prices and whole tokens, rounded up once, to a whole microcent.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import type * as Response from "effect/ai/Response"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Usage from "./Usage.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A call whose price is asked for. */
export interface Call {
  /** As in `openai`. */
  readonly provider: string | undefined
  /** As in `gpt-5`; after the call, the model that the provider says it used. */
  readonly model: string
  readonly requestedModel?: string | undefined
  readonly usage: Usage.Usage
  /** The tier that the provider says it served the call in, as in `flex`. */
  readonly serviceTier: string | undefined
  /** When the call was made, milliseconds since 1970. */
  readonly atMs: number
}

/** Dollars per million tokens, at most 8 decimals, as in `"1.25"`. */
export interface Prices {
  readonly input: string | number
  readonly output: string | number
  /** Default: as `input`. */
  readonly cacheRead?: string | number | undefined
  /** Default: as `input`. */
  readonly cacheWrite?: string | number | undefined
  /** Default: as `output`. */
  readonly reasoning?: string | number | undefined
}

const TypeId = "~@effect-cycles/ai/Pricing"

/** A call whose highest possible price is asked for, before it is made. */
export interface Request {
  readonly provider: string | undefined
  readonly model: string
  /** The estimated input and the highest output, in tokens. */
  readonly inputTokens: number
  readonly outputTokens: number
  /** The names of the tools that the provider may run itself, as in `web_search`. */
  readonly providerTools: ReadonlyArray<string>
  /** The service tier that the request asks for, if it is known. */
  readonly serviceTier: string | undefined
  /** The time of the call, in milliseconds since 1970. */
  readonly atMs: number
}

/** Prices of model calls. */
export interface Pricing {
  readonly [TypeId]: typeof TypeId
  /** The price of a call, in USD_MICROCENTS. */
  readonly price: (call: Call) => Effect.Effect<Amount.Amount, UnknownModel>
  /** The highest price that a call can have, in USD_MICROCENTS: the reserved amount. */
  readonly maximum: (request: Request) => Effect.Effect<Amount.Amount, UnknownModel>
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/** Prices of model calls. */
export const Pricing: Context.Service<Pricing, Pricing> = Context.Service("@effect-cycles/ai/Pricing")

/**
 * Makes a price service from a function. Without `maximum` the highest price is that of uncached input and plain output.
 */
export const make = (price: Pricing["price"], maximum?: Pricing["maximum"]): Pricing => ({
  [TypeId]: TypeId,
  price,
  maximum:
    maximum ??
    (({ atMs, inputTokens, model, outputTokens, provider, serviceTier }) =>
      price({ provider, model, usage: Usage.make(inputTokens, outputTokens), serviceTier, atMs }))
})

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Prices from a table whose keys are `provider:model` or `model`. A dated model, `gpt-5-2026-01-31`, has the price of the
 * longest key that it begins with. Throws a `RangeError` where a price is no amount of dollars.
 */
export const fromTable = (
  table: { readonly [model: string]: Prices },
  options?: { readonly fallback?: Prices | undefined }
): Pricing => {
  const rates = new Map(Object.entries(table).map(([key, prices]) => [key, ratesOf(prices)]))
  const keys = [...rates.keys()].toSorted((a, b) => b.length - a.length)
  const fallback = options?.fallback === undefined ? undefined : ratesOf(options.fallback)

  const find = (name: string): Rates | undefined => {
    const exact = rates.get(name)
    if (exact !== undefined) return exact
    const key = keys.find((key) => name.startsWith(key) && /^[-@:]v?\d/.test(name.slice(key.length)))
    return key === undefined ? undefined : rates.get(key)
  }

  return make((call) => {
    const qualified = call.provider === undefined ? undefined : find(`${call.provider}:${call.model}`)
    const found = qualified ?? find(call.model) ?? fallback
    return found === undefined
      ? Effect.fail(new UnknownModel({ provider: call.provider, model: call.model }))
      : Effect.succeed(priceOf(found, call.usage))
  })
}

/**
 * What the provider itself says that the call cost: OpenRouter's `usage.cost` in dollars. Nothing where it says nothing.
 */
export const reportedCost = (finish: Pick<Response.FinishPart, "metadata">): Amount.Amount | undefined => {
  const cost = fieldOf(fieldOf(finish.metadata["openrouter"], "usage"), "cost")
  return typeof cost === "number" && cost >= 0 && Number.isFinite(cost) ? fromDollars(cost) : undefined
}

export const serviceTier = (finish: Pick<Response.FinishPart, "metadata">): string | undefined => {
  const tier = fieldOf(finish.metadata["openai"], "serviceTier")
  return typeof tier === "string" ? tier : undefined
}

/** Dollars as a computation gave them, rounded up to a whole microcent; never below zero. */
export const fromDollars = (dollars: number): Amount.Amount => {
  // Six digits more than a microcent has: what binary fractions leave behind is not a price.
  const microcents = Math.ceil(Math.round(Math.max(0, dollars) * 1e14) / 1e6)
  return Amount.usdMicrocents(Number.isSafeInteger(microcents) ? microcents : Number.MAX_SAFE_INTEGER)
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/** Prices from a table; see `fromTable`. */
export const layerStatic = (
  table: { readonly [model: string]: Prices },
  options?: { readonly fallback?: Prices | undefined }
): Layer.Layer<Pricing> => Layer.sync(Pricing, () => fromTable(table, options))

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/** No price is known for the model, so nothing was asked of it. Provide a price, or a fallback. */
export class UnknownModel extends Schema.TaggedError<UnknownModel>()("UnknownModel", {
  provider: Schema.optional(Schema.String),
  model: Schema.String
}) {
  override get message(): string {
    const name = this.provider === undefined ? this.model : `${this.provider}:${this.model}`
    return `No price is known for the model ${name}: add it to the prices, or choose a fallback price`
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** Microcents for a million tokens. */
interface Rates {
  readonly input: bigint
  readonly output: bigint
  readonly cacheRead: bigint
  readonly cacheWrite: bigint
  readonly reasoning: bigint
}

const ratesOf = (prices: Prices): Rates => {
  const input = rateOf(prices.input)
  const output = rateOf(prices.output)
  return {
    input,
    output,
    cacheRead: prices.cacheRead === undefined ? input : rateOf(prices.cacheRead),
    cacheWrite: prices.cacheWrite === undefined ? input : rateOf(prices.cacheWrite),
    reasoning: prices.reasoning === undefined ? output : rateOf(prices.reasoning)
  }
}

const rateOf = (dollars: string | number): bigint =>
  Result.getOrThrowWith(
    Amount.parseUsd(String(dollars)),
    (problem) => new RangeError(`A price for a million tokens: ${problem}`)
  ).amount

const priceOf = (rates: Rates, usage: Usage.Usage): Amount.Amount => {
  const uncached = Math.max(0, usage.inputTokens - usage.cacheReadTokens - usage.cacheWriteTokens)
  const answer = Math.max(0, usage.outputTokens - usage.reasoningTokens)
  const millionths =
    BigInt(uncached) * rates.input +
    BigInt(usage.cacheReadTokens) * rates.cacheRead +
    BigInt(usage.cacheWriteTokens) * rates.cacheWrite +
    BigInt(answer) * rates.output +
    BigInt(usage.reasoningTokens) * rates.reasoning
  return Amount.usdMicrocents((millionths + 999_999n) / 1_000_000n)
}

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? Object.entries(value).find(([key]) => key === name)?.[1] : undefined
