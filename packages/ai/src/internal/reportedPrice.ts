/**
 * The cost and the service tier that providers report in the metadata of a response.
 */
import type * as Amount from "@effect-cycles/protocol/Amount"
import type * as Response from "effect/ai/Response"
import * as Decimal from "./decimal.ts"
import { tierOf } from "./rates.ts"
import { keys, read, text } from "./unknown.ts"

/**
 * The cost that the provider reports, or `undefined` if it reports none: OpenRouter's `usage.cost` in dollars.
 *
 * For a call with the user's provider key, OpenRouter's `cost` is its fee only. The result is the fee plus
 * `cost_details.upstream_inference_cost`, or `undefined` if the upstream cost isn't reported.
 *
 * @category getters
 * @since 0.1.0
 */
export const reportedCost = (finish: Pick<Response.FinishPart, "metadata">): Amount.Amount | undefined => {
  const usage = read(finish, "metadata", "openrouter", "usage")
  const fee = dollarsAt(usage, "cost")
  const details = read(usage, "cost_details") ?? read(usage, "costDetails")
  const prompt = dollarsAt(details, "upstream_inference_prompt_cost", "upstreamInferencePromptCost")
  const completions = dollarsAt(details, "upstream_inference_completions_cost", "upstreamInferenceCompletionsCost")
  const upstream =
    dollarsAt(details, "upstream_inference_cost", "upstreamInferenceCost") ??
    (prompt === undefined && completions === undefined ? undefined : (prompt ?? 0n) + (completions ?? 0n))
  const flag = read(usage, "is_byok") ?? read(usage, "isByok")
  // Without the flag, a cost below the upstream cost can only be the fee.
  const hasOwnKey = typeof flag === "boolean" ? flag : upstream !== undefined && upstream > (fee ?? 0n)
  if (!hasOwnKey) return fee === undefined ? undefined : Decimal.toAmount(fee, 1n)
  return upstream === undefined || upstream === 0n ? undefined : Decimal.toAmount((fee ?? 0n) + upstream, 1n)
}

/**
 * The service tier that the provider reports, in lower case, as in `flex` or `default`, or `undefined` if it reports
 * none.
 *
 * Reads the metadata of every provider: `serviceTier` or `service_tier`, in it or in its `usage`, as OpenAI, Anthropic,
 * Groq, OpenRouter and Bedrock report it, and Google's `usageMetadata.trafficType`. Anthropic's `speed: "fast"` is the
 * tier `fast`.
 *
 * @category getters
 * @since 0.1.0
 */
export const serviceTier = (finish: Pick<Response.FinishPart, "metadata">): string | undefined => {
  const metadata = read(finish, "metadata")
  const tiers = keys(metadata).flatMap((provider) => {
    const entry = read(metadata, provider)
    const usage = read(entry, "usage")
    if (text(read(usage, "speed")) === "fast") return ["fast"]
    const traffic = text(read(entry, "usageMetadata", "trafficType"))
      ?.toLowerCase()
      .replace(/^on_demand_/, "")
    const values = [entry, usage, read(entry, "usageMetadata")].flatMap((one) => [
      read(one, "serviceTier"),
      read(one, "service_tier")
    ])
    return [...values.map((value) => text(value) ?? text(read(value, "type"))), traffic].flatMap((tier) =>
      tier === undefined ? [] : [tier.toLowerCase()]
    )
  })
  return tiers.find((tier) => !isRegular(tier)) ?? tiers[0]
}

const isRegular = (tier: string): boolean => (tierOf(tier) ?? "standard") === "standard"

/** The dollars under the first of some names that has a price. */
const dollarsAt = (value: unknown, ...names: ReadonlyArray<string>): Decimal.Scaled | undefined =>
  names.map((name) => dollarsOf(read(value, name))).find((dollars) => dollars !== undefined)

const dollarsOf = (value: unknown): Decimal.Scaled | undefined =>
  typeof value === "number" ? Decimal.parse(value) : undefined
