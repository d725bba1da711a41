/**
 * The amount and the metrics that a call is charged with.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Limits from "@effect-cycles/protocol/Limits"
import type { Metrics } from "@effect-cycles/protocol/Metrics"
import type * as Response from "effect/ai/Response"
import * as Effect from "effect/Effect"
import * as Pricing from "../Pricing.ts"
import * as Usage from "../Usage.ts"
import { atMost, safely } from "./safely.ts"
import type { Request } from "./request.ts"

/** The prices of one call. */
export interface Prices {
  readonly model: string
  readonly maximum: ReturnType<Pricing.Pricing["maximum"]>
  readonly price: (
    usage: Usage.Usage,
    servedModel: string | undefined,
    serviceTier: string | undefined
  ) => ReturnType<Pricing.Pricing["price"]>
}

/** The prices of a call at a time. Without `Pricing` every model is unknown. */
export const pricesOf = (pricing: Pricing.Pricing | undefined, request: Request, atMs: number): Prices => {
  const { model, provider } = request
  const unknown = Effect.suspend(() => Effect.fail(new Pricing.UnknownModel({ provider, model })))
  if (pricing === undefined) return { model, maximum: unknown, price: () => unknown }
  return {
    model,
    maximum: Effect.suspend(() =>
      pricing.maximum({
        provider,
        model,
        inputTokens: request.estimate.tokens,
        outputTokens: request.outputTokens,
        providerTools: [...request.providerTools.values()],
        serviceTier: undefined,
        atMs
      })
    ),
    price: (usage, servedModel, serviceTier) =>
      Effect.suspend(() =>
        pricing.price({ provider, model: servedModel ?? model, requestedModel: model, usage, serviceTier, atMs })
      )
  }
}

/** What is charged to a reservation. */
export interface Spend {
  readonly actual: Amount.Amount
  readonly isEstimated: boolean
  readonly metrics: Metrics
}

/** What is known about a call when it is charged. */
export interface Known {
  readonly usage: Usage.Usage
  readonly isEstimated: boolean
  readonly reportedCost: Amount.Amount | undefined
  readonly servedModel: string | undefined
  readonly finish: Response.FinishPart | undefined
  readonly latencyMs: number
}

/** The spend of a call in the unit of its estimate. If the price fails, the spend is the estimate. */
export const make = (prices: Prices, estimate: Amount.Amount, known: Known): Effect.Effect<Spend> => {
  const metrics = metricsOf(known, known.servedModel ?? prices.model)
  const { isEstimated, usage } = known
  if (estimate.unit === "TOKENS") {
    return Effect.succeed({ actual: Amount.tokens(Usage.total(usage)), isEstimated, metrics })
  }
  if (known.reportedCost !== undefined)
    return Effect.succeed({ actual: known.reportedCost, isEstimated: false, metrics })
  const { finish } = known
  const tier = finish === undefined ? undefined : safely(() => Pricing.serviceTier(finish))
  const price = Effect.tap(atMost(prices.price(usage, known.servedModel, tier), priceTimeLimit), checkDollars("price"))
  return Effect.matchCauseEffect(price, {
    onSuccess: (actual) => Effect.succeed({ actual, isEstimated, metrics }),
    onFailure: (cause) =>
      Effect.as(Effect.logWarning("A model call has no price and is charged with its estimate", cause), {
        actual: estimate,
        isEstimated: true,
        metrics
      })
  })
}

/** Dies if a function of `Pricing` returned something else than an amount of dollars. */
export const checkDollars =
  (method: "price" | "maximum") =>
  (amount: Amount.Amount): Effect.Effect<void> =>
    Amount.isAmount(amount) && amount.unit === "USD_MICROCENTS"
      ? Effect.void
      : Effect.die(
          new TypeError(
            `Pricing.${method} must return an amount in USD_MICROCENTS, got ${safely(() => String(amount))}`
          )
        )

/** How long a response waits for its price. */
const priceTimeLimit = "5 seconds"

const metricsOf = ({ finish, latencyMs, usage }: Known, model: string): Metrics => ({
  tokensInput: Math.min(usage.inputTokens, Limits.maxMetric),
  tokensOutput: Math.min(usage.outputTokens, Limits.maxMetric),
  latencyMs: Math.min(Math.max(0, Math.floor(latencyMs)), Limits.maxMetric),
  modelVersion: model.slice(0, 128),
  custom: {
    cache_read_tokens: usage.cacheReadTokens,
    cache_write_tokens: usage.cacheWriteTokens,
    reasoning_tokens: usage.reasoningTokens,
    ...(finish === undefined ? undefined : { finish_reason: finish.reason })
  }
})
