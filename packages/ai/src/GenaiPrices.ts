/**
 * Prices from the data of `@pydantic/genai-prices`, an optional peer: cache reads and writes, tiers by size of the context,
 * and prices that changed at a date.
 *
 * Source: that package's tables; what it doesn't know is `UnknownModel`, or the fallback's price.
 */
import { calcPrice } from "@pydantic/genai-prices"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Prices } from "./Pricing.ts"
import * as Pricing from "./Pricing.ts"

/** Prices from the tables of `@pydantic/genai-prices`; `fallback` for models that they don't know. */
export const make = (options?: { readonly fallback?: Prices | undefined }): Pricing.Pricing => {
  const others = Pricing.fromTable({}, options)
  return Pricing.make((call) =>
    Effect.suspend(() => {
      const { usage } = call
      const provider = call.provider === undefined ? undefined : (providerIds[call.provider] ?? call.provider)
      const found = calcPrice(
        {
          input_tokens: usage.inputTokens,
          output_tokens: usage.outputTokens,
          cache_read_tokens: usage.cacheReadTokens,
          cache_write_tokens: usage.cacheWriteTokens
        },
        call.model,
        { timestamp: new Date(call.atMs), ...(provider === undefined ? undefined : { providerId: provider }) }
      )
      return found === null ? others.price(call) : Effect.succeed(Pricing.fromDollars(found.total_price))
    })
  )
}

/** Prices from the tables of `@pydantic/genai-prices`. */
export const layer = (options?: { readonly fallback?: Prices | undefined }): Layer.Layer<Pricing.Pricing> =>
  Layer.sync(Pricing.Pricing, () => make(options))

/** Where a provider of `effect/ai` has another name there. */
const providerIds: Readonly<Record<string, string>> = { "amazon-bedrock": "aws" }
