/**
 * How the errors of a budget arrive at a program that uses `effect/ai`, and how they are recognised there.
 *
 * The error channel of a model is `AiError`, so a refusal for budget is its reason `QuotaExhaustedError`, which is not
 * retryable; a plan that goes on to a cheaper model sees it like every other quota. What the budget really said is in the
 * metadata and comes back by `causeOf`, typed.
 *
 * Source: ours; `AiErrorReason` of `effect/ai`.
 */
import * as CyclesError from "effect-cycles/CyclesError"
import { LeaseLost } from "effect-cycles/Heartbeat"
import * as AiError from "effect/ai/AiError"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { UnknownModel, UnknownPrice } from "./Pricing.ts"

// ---------------------------------------------------------------------------------------------------------------------
// predicates
// ---------------------------------------------------------------------------------------------------------------------

/** What the budget said, where it is why a model call failed. */
export const causeOf = (error: AiError.AiError): BudgetError | undefined =>
  "metadata" in error.reason ? Option.getOrUndefined(decode(error.reason.metadata[metadataKey])) : undefined

/** Whether a model call was refused for budget. */
export const isDenied = (error: AiError.AiError): boolean => causeOf(error)?._tag === "BudgetExceeded"

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/** The error of a model call that a budget stopped. */
export const fromBudget = (method: string, error: BudgetError): AiError.AiError =>
  AiError.make({ module: "CyclesModel", method, reason: reasonOf(error) })

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The budget allows the call with a cap that the client can't keep: nobody said how this provider is told its output limit.
 * Nothing was asked of the model. See `OutputLimit`.
 */
export class CapNotObeyed extends Schema.TaggedError<CapNotObeyed>()("CapNotObeyed", {
  cap: Schema.String,
  provider: Schema.optional(Schema.String)
}) {
  override get message(): string {
    const provider = this.provider ?? "this provider"
    return `The cap ${this.cap} can't be kept: say by the option outputLimit how ${provider} is told its output limit`
  }
}

/** Everything of a budget that can stop a model call. */
export const BudgetError = Schema.Union([
  CyclesError.BudgetExceeded,
  CyclesError.ApiError,
  CyclesError.TransportError,
  CyclesError.ProtocolError,
  CyclesError.InvalidRequest,
  CyclesError.AlreadySettled,
  LeaseLost,
  UnknownModel,
  UnknownPrice,
  CapNotObeyed
])

/** Everything of a budget that can stop a model call. */
export type BudgetError = typeof BudgetError.Type

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const metadataKey = "cycles"

const codec = Schema.toCodecJson(BudgetError)
const encode = Schema.encodeUnknownOption(codec)
const decode = Schema.decodeUnknownOption(codec)
const decodeMetadata = Schema.decodeUnknownOption(AiError.ProviderMetadata)

const metadataOf = (error: BudgetError): AiError.ProviderMetadata =>
  Option.getOrElse(decodeMetadata({ [metadataKey]: Option.getOrNull(encode(error)) }), () => ({}))

const reasonOf = (error: BudgetError): AiError.AiErrorReason => {
  const metadata = metadataOf(error)
  switch (error._tag) {
    case "BudgetExceeded":
      return new AiError.QuotaExhaustedError({ metadata })
    case "ApiError":
      if (error.status === 429) {
        return new AiError.RateLimitError({
          metadata,
          ...(error.retryAfter === undefined ? undefined : { retryAfter: error.retryAfter })
        })
      }
      return error.isRetryable
        ? new AiError.InternalProviderError({ description: error.message, metadata })
        : new AiError.UnknownError({ description: error.message, metadata })
    case "TransportError":
    case "ProtocolError":
      return new AiError.InternalProviderError({ description: error.message, metadata })
    default:
      return new AiError.UnknownError({ description: error.message, metadata })
  }
}
