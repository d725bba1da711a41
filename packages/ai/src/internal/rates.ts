/**
 * Prices of one model, and the price of a usage.
 *
 * A token has one price. Tokens are assigned to the kinds that the usage reports, the most expensive kind first, until the total
 * is used up; the rest has the price of plain tokens. If kinds overlap or contradict the total, as with cached audio, the
 * result is the highest price that the total allows.
 */
import type * as Amount from "@effect-cycles/protocol/Amount"
import * as Result from "effect/Result"
import * as Usage from "../Usage.ts"
import * as Decimal from "./decimal.ts"
import { toolName } from "./modelNames.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Kinds of input and output tokens. */
export const inputKinds = ["input", "cacheRead", "cacheWrite", "cacheWriteHour", "inputAudio", "inputImage"] as const

/** Kinds of output tokens. */
export const outputKinds = ["output", "reasoning", "outputAudio", "outputImage"] as const

/** A kind of tokens. */
export type Kind = (typeof inputKinds)[number] | (typeof outputKinds)[number]

/** Dollars for a million tokens of each kind; a kind that is missing has no known price. */
export type TokenRates = { readonly [K in Kind]?: Decimal.Scaled | undefined }

/** Prices of requests with more input tokens than `above`. */
export interface Bracket {
  readonly above: number
  readonly rates: TokenRates
}

/** The prices of a model. */
export interface Card {
  /** In the order of `above`; the first is -1. */
  readonly brackets: ReadonlyArray<Bracket>
  /** By name of the service tier. */
  readonly tiers: ReadonlyMap<string, ReadonlyArray<Bracket>>
  /** Dollars for a thousand calls, by `toolName`. */
  readonly tools: ReadonlyMap<string, Decimal.Scaled>
  /** Dollars for a thousand requests. */
  readonly requests: Decimal.Scaled
  /** A dimension with a price that no usage reports, such as seconds of audio. */
  readonly unusable: string | undefined
}

/** How a dimension without a price is handled, and how many tool calls `maximum` allows for. */
export interface Policy {
  readonly unknownDimension: "refuse" | "base"
  readonly toolCallsPerRequest: number
}

/** A price, or the dimension that has none. */
export type Priced = Result.Result<Amount.Amount<"USD_MICROCENTS">, string>

// ---------------------------------------------------------------------------------------------------------------------
// prices
// ---------------------------------------------------------------------------------------------------------------------

/** The price of a usage. */
export const price = (card: Card, used: Usage.Usage, serviceTier: string | undefined, policy: Policy): Priced =>
  Result.gen(function* () {
    yield* usable(card, policy)
    const usage = Usage.make(used.inputTokens, used.outputTokens, used)
    const brackets = yield* bracketsOf(card, tierOf(serviceTier), policy)
    const rates = reached(brackets, usage.inputTokens).at(-1)?.rates ?? {}
    const hour = usage.cacheWriteHourTokens
    const input = yield* tokens(rates, policy, "input", usage.inputTokens, {
      cacheRead: usage.cacheReadTokens,
      cacheWrite: Math.max(0, usage.cacheWriteTokens - hour),
      cacheWriteHour: hour,
      inputAudio: usage.inputAudioTokens,
      inputImage: usage.inputImageTokens
    })
    const output = yield* tokens(rates, policy, "output", usage.outputTokens, {
      reasoning: usage.reasoningTokens,
      outputAudio: usage.outputAudioTokens,
      outputImage: usage.outputImageTokens
    })
    let calls = card.requests
    for (const [name, count] of Object.entries(usage.toolCalls)) {
      if (count > 0) calls += BigInt(count) * (yield* toolRate(card, name, policy))
    }
    return Decimal.toAmount(input + output + calls * 1_000n, 1_000_000n)
  })

/** The highest price of a request. */
export const maximum = (
  card: Card,
  request: {
    readonly inputTokens: number
    readonly outputTokens: number
    readonly providerTools: ReadonlyArray<string>
    readonly serviceTier: string | undefined
  },
  policy: Policy
): Priced =>
  Result.gen(function* () {
    yield* usable(card, policy)
    const { inputTokens, outputTokens } = Usage.make(request.inputTokens, request.outputTokens)
    const tier = tierOf(request.serviceTier)
    const all = tier === undefined ? [card.brackets, ...card.tiers.values()] : [yield* bracketsOf(card, tier, policy)]
    const rates = all.flatMap((brackets) => reached(brackets, inputTokens).map((bracket) => bracket.rates))
    const input = yield* highest(rates, inputKinds, inputTokens)
    const output = yield* highest(rates, outputKinds, outputTokens)
    let calls = card.requests
    for (const name of request.providerTools) {
      calls += BigInt(policy.toolCallsPerRequest) * (yield* toolRate(card, name, policy))
    }
    return Decimal.toAmount(input + output + calls * 1_000n, 1_000_000n)
  })

/** The name of a service tier as prices use it: `undefined` if the tier isn't known, `standard` for the regular one. */
export const tierOf = (name: string | undefined): string | undefined => {
  const tier = name?.trim().toLowerCase()
  if (tier === undefined || tier === "" || tier === "auto") return undefined
  return standardTiers.has(tier) ? "standard" : tier
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const standardTiers: ReadonlySet<string> = new Set(["standard", "default", "on_demand", "standard_only"])

/** These tiers are discounts at every provider, so the regular price is safe. */
const discountTiers: ReadonlySet<string> = new Set(["flex", "batch"])

const usable = (card: Card, policy: Policy): Result.Result<void, string> =>
  card.unusable === undefined || policy.unknownDimension === "base"
    ? Result.succeed(undefined)
    : Result.fail(card.unusable)

const bracketsOf = (
  card: Card,
  tier: string | undefined,
  policy: Policy
): Result.Result<ReadonlyArray<Bracket>, string> => {
  const brackets = tier === undefined ? undefined : card.tiers.get(tier)
  if (brackets !== undefined) return Result.succeed(brackets)
  return tier === undefined || tier === "standard" || discountTiers.has(tier) || policy.unknownDimension === "base"
    ? Result.succeed(card.brackets)
    : Result.fail(`tiers.${tier}`)
}

const reached = (brackets: ReadonlyArray<Bracket>, inputTokens: number): ReadonlyArray<Bracket> =>
  brackets.filter((bracket) => bracket.above < inputTokens)

/** Kinds whose price isn't known and that may be charged at the price of another kind, if the policy allows it. */
const baseOf: { readonly [K in Kind]?: Kind } = {
  cacheWrite: "input",
  cacheWriteHour: "cacheWrite",
  inputAudio: "input",
  inputImage: "input",
  outputAudio: "output",
  outputImage: "output"
}

/** Kinds that never cost more than another kind. */
const safeBaseOf: { readonly [K in Kind]?: Kind } = { cacheRead: "input", reasoning: "output" }

const rateOf = (rates: TokenRates, kind: Kind, policy: Policy): Result.Result<Decimal.Scaled, string> => {
  const rate = rates[kind]
  if (rate !== undefined) return Result.succeed(rate)
  const base = safeBaseOf[kind] ?? (policy.unknownDimension === "base" ? baseOf[kind] : undefined)
  return base === undefined ? Result.fail(kind) : rateOf(rates, base, policy)
}

const tokens = (
  rates: TokenRates,
  policy: Policy,
  plain: "input" | "output",
  total: number,
  counts: { readonly [K in Kind]?: number }
): Result.Result<Decimal.Scaled, string> =>
  Result.gen(function* () {
    const parts: Array<{ readonly count: number; readonly rate: Decimal.Scaled }> = []
    for (const kind of plain === "input" ? inputKinds : outputKinds) {
      const count = counts[kind] ?? 0
      if (count > 0) parts.push({ count, rate: yield* rateOf(rates, kind, policy) })
    }
    let rest = total
    let sum = 0n
    for (const part of parts.toSorted((a, b) => (a.rate < b.rate ? 1 : a.rate > b.rate ? -1 : 0))) {
      const count = Math.min(part.count, rest)
      sum += BigInt(count) * part.rate
      rest -= count
    }
    return rest === 0 ? sum : sum + BigInt(rest) * (yield* rateOf(rates, plain, policy))
  })

const highest = (
  rates: ReadonlyArray<TokenRates>,
  kinds: ReadonlyArray<Kind>,
  total: number
): Result.Result<Decimal.Scaled, string> => {
  if (total === 0) return Result.succeed(0n)
  let found = 0n
  for (const one of rates) {
    // The first kind is that of plain tokens: without it a price is refused after the call, so it is refused before, too.
    const [plain] = kinds
    if (plain !== undefined && one[plain] === undefined) return Result.fail(plain)
    for (const kind of kinds) {
      const rate = one[kind]
      if (rate !== undefined && rate > found) found = rate
    }
  }
  return Result.succeed(BigInt(total) * found)
}

const toolRate = (card: Card, name: string, policy: Policy): Result.Result<Decimal.Scaled, string> => {
  const tool = toolName(name)
  const rate = card.tools.get(tool)
  if (rate !== undefined) return Result.succeed(rate)
  return policy.unknownDimension === "base" ? Result.succeed(0n) : Result.fail(`tools.${tool}`)
}
