/**
 * From the prices of a table to a `Card`, and from options to a policy. Both throw a `RangeError` for invalid values.
 */
import * as Decimal from "./decimal.ts"
import { toolName } from "./modelNames.ts"
import type { Bracket, Card, Kind, Policy, TokenRates } from "./rates.ts"
import { inputKinds, outputKinds, tierOf } from "./rates.ts"

type Price = string | number

type TokenPrices = { readonly [K in Kind]?: Price | undefined }

interface TierPrices extends TokenPrices {
  readonly longContext?: (TokenPrices & { readonly above: number }) | undefined
}

interface Prices extends TierPrices {
  readonly tiers?: { readonly [tier: string]: Price | TierPrices } | undefined
  readonly tools?: { readonly [tool: string]: Price } | undefined
  readonly requests?: Price | undefined
}

/** The card of a model of a table. */
export const cardOf = (prices: Prices): Card => {
  const brackets = bracketsOf(prices)
  return {
    brackets,
    tiers: new Map(
      Object.entries(prices.tiers ?? {}).map(([name, tier]) => [
        tierOf(name) ?? name,
        typeof tier === "object" ? bracketsOf(tier) : scale(brackets, dollarsOf(tier))
      ])
    ),
    tools: toolsOf(prices.tools),
    requests: dollarsOf(prices.requests ?? 0),
    unusable: undefined
  }
}

/** Prices of tools for a thousand calls, by `toolName`. */
export const toolsOf = (tools: Prices["tools"]): Card["tools"] =>
  new Map(Object.entries(tools ?? {}).map(([name, dollars]) => [toolName(name), dollarsOf(dollars)]))

/** Brackets whose prices are multiplied by a factor. */
export const scale = (brackets: ReadonlyArray<Bracket>, factor: Decimal.Scaled): ReadonlyArray<Bracket> =>
  brackets.map(({ above, rates }) => ({
    above,
    rates: ratesOf((kind) => {
      const rate = rates[kind]
      return rate === undefined ? undefined : Decimal.multiply(rate, factor)
    })
  }))

/** The rates of all kinds. */
export const ratesOf = (of: (kind: Kind) => Decimal.Scaled | undefined): TokenRates =>
  Object.fromEntries([...inputKinds, ...outputKinds].map((kind) => [kind, of(kind)]))

/** The exact value of a price or a factor. */
export const dollarsOf = (dollars: Price): Decimal.Scaled => {
  const parsed = Decimal.parse(dollars)
  if (parsed === undefined)
    throw new RangeError(`A price must be a decimal of at least 0, got ${JSON.stringify(dollars)}`)
  return parsed
}

/** The policy of options. */
export const policyOf = (options?: {
  readonly unknownDimension?: "refuse" | "base" | undefined
  readonly toolCallsPerRequest?: number | undefined
}): Policy => {
  const toolCallsPerRequest = options?.toolCallsPerRequest ?? 10
  if (!Number.isSafeInteger(toolCallsPerRequest) || toolCallsPerRequest < 0) {
    throw new RangeError(`toolCallsPerRequest must be an integer of at least 0, got ${toolCallsPerRequest}`)
  }
  return { unknownDimension: options?.unknownDimension ?? "refuse", toolCallsPerRequest }
}

const bracketsOf = ({ longContext, ...prices }: TierPrices): ReadonlyArray<Bracket> => {
  const brackets: Array<Bracket> = [{ above: -1, rates: tokenRates(prices) }]
  if (longContext !== undefined) {
    if (!Number.isSafeInteger(longContext.above) || longContext.above < 0) {
      throw new RangeError(`longContext.above must be an integer of at least 0, got ${longContext.above}`)
    }
    brackets.push({ above: longContext.above, rates: tokenRates(longContext) })
  }
  return brackets
}

const tokenRates = (prices: TokenPrices): TokenRates =>
  ratesOf((kind) => {
    const price = prices[kind]
    return price === undefined ? undefined : dollarsOf(price)
  })
