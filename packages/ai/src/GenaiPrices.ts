/**
 * Prices from the catalogue of `@pydantic/genai-prices`, an optional peer dependency. It has the prices of most models of the
 * large providers: cache reads and writes, audio and images, web searches, long contexts, and prices that change at a date.
 *
 * **Details**
 *
 * - The model that the provider reports is looked up first, then `requestedModel`, then `fallback`.
 * - As with `Pricing.fromTable`, a usage with a dimension that the catalogue doesn't price fails with `UnknownPrice`, unless
 *   `unknownDimension` is `"base"`. Image input without a separate price has the price of input tokens, as in the
 *   catalogue.
 * - The catalogue has no service tiers. `flex` and `batch` have the regular prices; other tiers need the option `tiers`.
 *
 * **Gotchas**
 *
 * - The catalogue is part of the installed version of the package. `layerRefreshing` keeps it current.
 * - The package has one catalogue per process. A refresh replaces it for all users of the package.
 *
 * **Example** (Refreshing the catalogue every six hours)
 *
 * ```ts
 * import { CyclesModel } from "@effect-cycles/ai"
 * import * as GenaiPrices from "@effect-cycles/ai/GenaiPrices"
 * import { Layer, Schedule } from "effect"
 * import { FetchHttpClient } from "effect/http"
 *
 * const Prices = GenaiPrices.layerRefreshing({ schedule: Schedule.spaced("6 hours") }).pipe(
 *   Layer.provide(FetchHttpClient.layer)
 * )
 *
 * // Provide it with the model and the client of Cycles.
 * export const Guarded = CyclesModel.layer({ units: "usd", maxOutputTokens: 2_000 }).pipe(Layer.provide(Prices))
 * ```
 *
 * @since 0.1.0
 */
import { REMOTE_DATA_JSON_URL } from "@pydantic/genai-prices"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { dollarsOf, policyOf, scale, toolsOf } from "./internal/card.ts"
import * as Catalogue from "./internal/catalogue.ts"
import { asEffect } from "./internal/priceErrors.ts"
import * as Rates from "./internal/rates.ts"
import * as Pricing from "./Pricing.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Prices that the catalogue doesn't have.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Pricing.Options {
  /** Factors of service tiers for the token prices of all models, by name, as in `{ priority: 2 }`. Default: none. */
  readonly tiers?: { readonly [tier: string]: string | number } | undefined
  /**
   * Dollars for a thousand calls of provider-run tools, by the name of the tool, as in `{ web_fetch: 0 }`. They apply to all
   * models and replace the prices of the catalogue. Default: none.
   */
  readonly tools?: { readonly [tool: string]: string | number } | undefined
}

/**
 * When and from where the catalogue is refreshed.
 *
 * @category models
 * @since 0.1.0
 */
export interface RefreshOptions extends Options {
  /** When the next refresh starts, after one that succeeded or was given up. Default: after 24 hours. */
  readonly schedule?: Schedule.Schedule<unknown> | undefined
  /** When a failed refresh is repeated. Default: after a minute, then twice as long each time up to an hour, without end. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** The URL of the catalogue as JSON. Default: that of `@pydantic/genai-prices`, on GitHub. */
  readonly url?: string | undefined
  /** The time limit of one request. Default: 1 minute. */
  readonly timeout?: Duration.Input | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes prices from the catalogue.
 *
 * Throws a `RangeError` if a price or a factor isn't a decimal of at least 0, or `toolCallsPerRequest` isn't an integer of at
 * least 0.
 *
 * **Example** (The price of a call)
 *
 * ```ts
 * import { Usage } from "@effect-cycles/ai"
 * import * as GenaiPrices from "@effect-cycles/ai/GenaiPrices"
 * import { Effect } from "effect"
 *
 * const price = GenaiPrices.make().price({
 *   provider: "anthropic",
 *   model: "claude-sonnet-4-20250514",
 *   usage: Usage.make(1_000, 100, { cacheReadTokens: 800, toolCalls: { web_search: 1 } }),
 *   serviceTier: undefined,
 *   atMs: Date.UTC(2026, 0, 1)
 * })
 *
 * console.log(Effect.runSync(price).amount)
 * // 1234000n
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: Options): Pricing.Pricing => {
  const policy = policyOf(options)
  const fallback = Pricing.fromTable({}, options)
  const factors = Object.entries(options?.tiers ?? {}).map(([name, factor]) => [name, dollarsOf(factor)] as const)
  const tools = toolsOf(options?.tools)

  const find = (provider: string | undefined, model: string | undefined, atMs: number): Rates.Card | undefined => {
    const card = model === undefined ? undefined : Catalogue.find(provider, model, atMs)
    return card === undefined
      ? undefined
      : {
          ...card,
          tiers: new Map(factors.map(([name, factor]) => [Rates.tierOf(name) ?? name, scale(card.brackets, factor)])),
          tools: new Map([...card.tools, ...tools])
        }
  }

  return Pricing.make(
    (call) =>
      Effect.suspend(() => {
        const { atMs, model, provider, requestedModel, serviceTier, usage } = call
        const card = find(provider, model, atMs) ?? find(provider, requestedModel, atMs)
        return card === undefined ? fallback.price(call) : asEffect(call, Rates.price(card, usage, serviceTier, policy))
      }),
    (request) =>
      Effect.suspend(() => {
        const card = find(request.provider, request.model, request.atMs)
        return card === undefined ? fallback.maximum(request) : asEffect(request, Rates.maximum(card, request, policy))
      })
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Prices from the installed catalogue: see `make`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Pricing.Pricing> =>
  Layer.sync(Pricing.Pricing, () => make(options))

/**
 * Prices from the catalogue, which is refreshed in the background: when the layer is built, and then by `schedule`.
 *
 * Calls don't wait for a refresh. Until the first one succeeds, the installed catalogue applies. A refresh that fails, or whose
 * data isn't a catalogue, keeps the last catalogue, logs one warning and is repeated by `retry`. The refreshes end with the
 * scope of the layer; the last catalogue remains.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerRefreshing = (options?: RefreshOptions): Layer.Layer<Pricing.Pricing, never, HttpClient.HttpClient> =>
  Layer.effect(
    Pricing.Pricing,
    Effect.gen(function* () {
      const client = HttpClient.filterStatusOk(yield* HttpClient.HttpClient)
      const url = options?.url ?? REMOTE_DATA_JSON_URL

      const attempt = client.get(url).pipe(
        Effect.flatMap((response) => response.json),
        Effect.flatMap((data) => Effect.try(() => Catalogue.update(data))),
        Effect.timeout(options?.timeout ?? Duration.minutes(1))
      )

      const refresh = Effect.suspend(() => {
        let hasWarned = false
        return attempt.pipe(
          Effect.tapError((error) => {
            if (hasWarned) return Effect.logDebug("The catalogue of model prices wasn't refreshed", error)
            hasWarned = true
            return Effect.logWarning(
              `The catalogue of model prices at ${url} wasn't refreshed; the last one remains in use, and the refresh is repeated`,
              error
            )
          }),
          Effect.retry(options?.retry ?? defaultRetry),
          Effect.ignore
        )
      })

      yield* Effect.forkScoped(Effect.repeat(refresh, options?.schedule ?? Schedule.spaced(Duration.days(1))))
      return make(options)
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const defaultRetry = Schedule.min([Schedule.exponential(Duration.minutes(1)), Schedule.spaced(Duration.hours(1))])
