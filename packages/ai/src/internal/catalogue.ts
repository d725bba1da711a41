/**
 * The catalogue of `@pydantic/genai-prices`: from its prices of a model to a `Card`, and updates of the catalogue.
 *
 * The package finds the model and the date's prices. The price is computed here, because the package computes with binary
 * fractions and refuses usage whose kinds overlap.
 */
import type { Provider } from "@pydantic/genai-prices"
import { calcPrice, updatePrices } from "@pydantic/genai-prices"
import { ratesOf } from "./card.ts"
import * as Decimal from "./decimal.ts"
import type { Bracket, Card, Kind } from "./rates.ts"
import { countAt, isObject, items, keys, read } from "./unknown.ts"

/** The card of a model at a time, or `undefined` if the catalogue has no such model or its entry is invalid. */
export const find = (provider: string | undefined, model: string, atMs: number): Card | undefined => {
  const providerId = provider === undefined ? undefined : (providerIds[provider] ?? provider)
  try {
    const found = calcPrice({}, model, {
      timestamp: new Date(atMs),
      ...(providerId === undefined ? undefined : { providerId })
    })
    return found === null ? undefined : cardOf(found.model.id, found.model_price)
  } catch {
    // An updated catalogue may have an entry that this version of the package can't read.
    return undefined
  }
}

/**
 * Replaces the catalogue, for the whole process. Throws if the data isn't a catalogue; the current one then remains.
 */
export const update = (data: unknown): void => {
  if (!isCatalogue(data)) throw new TypeError("The data isn't a catalogue of model prices")
  updatePrices(({ setProviderData }) => setProviderData(data))
}

// ---------------------------------------------------------------------------------------------------------------------
// cards
// ---------------------------------------------------------------------------------------------------------------------

/** Providers of `effect/ai` whose id is different in the catalogue. */
const providerIds: Readonly<Record<string, string>> = { "amazon-bedrock": "aws", "azure-openai": "azure", xai: "x-ai" }

/** The prices that apply to each kind of tokens. If there are several, the highest applies. */
const kindKeys: { readonly [K in Kind]: ReadonlyArray<string> } = {
  input: ["input_mtok"],
  cacheRead: ["cache_read_mtok"],
  cacheWrite: ["cache_write_mtok", "cache_write_5m_mtok"],
  cacheWriteHour: ["cache_write_1h_mtok"],
  inputAudio: ["input_audio_mtok"],
  inputImage: ["input_image_mtok", "input_video_mtok"],
  output: ["output_mtok", "output_citation_mtok"],
  reasoning: ["output_reasoning_mtok"],
  outputAudio: ["output_audio_mtok"],
  outputImage: ["output_image_mtok", "output_video_mtok"]
}

const toolKeys: { readonly [key: string]: string } = {
  web_searches_kcount: "web_search",
  storage_searches_kcount: "file_search",
  social_searches_kcount: "x_search",
  code_executions_kcount: "code_execution"
}

/** Prices of media that a usage can't report. A call of such a model would look free. */
const unusableKey = /(?:_hours|_mchars|_gpixels|_kpages|messages_kcount|rerank_searches_kcount)$/

const cardOf = (id: string, prices: unknown): Card => {
  const names = keys(prices)
  const starts = names.flatMap((name) => items(read(prices, name, "tiers")).map((tier) => start(tier)))
  // A model without any price is unknown, unless its name ends in `:free`.
  const isFree = names.length === 0 && id.endsWith(":free")
  const bracket = (above: number): Bracket => ({
    above,
    rates: ratesOf((kind) => {
      if (isFree) return 0n
      const found = kindKeys[kind].flatMap((name) => {
        const price = read(prices, name)
        return price === undefined ? [] : [rateAt(price, above)]
      })
      const highest = found.reduce<bigint | undefined>(
        (all, one) => (all === undefined || one > all ? one : all),
        undefined
      )
      return (
        highest ??
        (kind === "inputImage" && names.includes("input_mtok") ? rateAt(read(prices, "input_mtok"), above) : undefined)
      )
    })
  })
  return {
    brackets: [-1, ...new Set(starts)].toSorted((a, b) => a - b).map(bracket),
    tiers: new Map(),
    tools: new Map(
      Object.entries(toolKeys).flatMap(([name, tool]) => {
        const price = read(prices, name)
        return price === undefined ? [] : [[tool, rateAt(price, -1)]]
      })
    ),
    requests: names.includes("requests_kcount") ? rateAt(read(prices, "requests_kcount"), -1) : 0n,
    unusable: names.find((name) => unusableKey.test(name))
  }
}

/** A price for requests with more than `above` input tokens. */
const rateAt = (price: unknown, above: number): Decimal.Scaled => {
  let found = read(price, "base") ?? price
  let highest = -1
  for (const tier of items(read(price, "tiers"))) {
    const from = start(tier)
    if (from <= above && from >= highest) {
      highest = from
      found = read(tier, "price")
    }
  }
  const rate = typeof found === "number" ? Decimal.parse(found) : undefined
  if (rate === undefined) throw new TypeError("The price isn't a number of dollars")
  return rate
}

const start = (tier: unknown): number => {
  const from = countAt(tier, "start")
  if (from === undefined) throw new TypeError("The start of a tier isn't a count")
  return from
}

// ---------------------------------------------------------------------------------------------------------------------
// data
// ---------------------------------------------------------------------------------------------------------------------

const isCatalogue = (data: unknown): data is Array<Provider> =>
  Array.isArray(data) &&
  data.every(isProvider) &&
  data.some((provider) => provider.models.some((model) => keys(model.prices).length > 0))

const isProvider = (value: unknown): value is Provider =>
  typeof read(value, "id") === "string" &&
  typeof read(value, "api_pattern") === "string" &&
  isArrayOf(read(value, "models"), (model) => {
    const prices = read(model, "prices")
    return typeof read(model, "id") === "string" && isObject(read(model, "match")) && isObject(prices)
  })

const isArrayOf = (value: unknown, is: (item: unknown) => boolean): boolean => Array.isArray(value) && value.every(is)
