/**
 * The errors of a budget in programs that use `effect/ai`.
 *
 * **Details**
 *
 * The error channel of a model is `AiError`. A denial is its reason `QuotaExhaustedError`, which isn't retryable, so an
 * `ExecutionPlan` continues with the next model as after any other exhausted quota. The messages are those of the client. The
 * typed error is in the metadata of the reason; `causeOf` returns it.
 *
 * @since 0.1.0
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

/**
 * Returns the error of the client or of the guard that made a model call fail, or `undefined` if the call failed for another
 * reason.
 *
 * @example
 * ```ts
 * import { CyclesAiError } from "@effect-cycles/ai"
 * import * as Effect from "effect/Effect"
 * import { AiError, LanguageModel } from "effect/ai"
 *
 * export const reply = LanguageModel.generateText({ prompt: "Hello" }).pipe(
 *   Effect.catchIf(AiError.isAiError, (error) => {
 *     const cause = CyclesAiError.causeOf(error)
 *     return cause?._tag === "BudgetExceeded" ? Effect.logWarning(`${cause.remaining} left`) : Effect.fail(error)
 *   })
 * )
 * ```
 *
 * @category predicates
 * @since 0.1.0
 */
export const causeOf = (error: AiError.AiError): BudgetError | undefined =>
  "metadata" in error.reason ? Option.getOrUndefined(decode(error.reason.metadata[metadataKey])) : undefined

/**
 * Whether a budget denied a model call.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isDenied = (error: AiError.AiError): boolean => causeOf(error)?._tag === "BudgetExceeded"

/**
 * Returns the denial in the error of a model call or of a guarded tool, or `undefined` if no budget denied it. Accepts
 * any error, for the option `denialOf` of `Run.outcome`.
 *
 * @example
 * ```ts
 * import { CyclesAiError } from "@effect-cycles/ai"
 * import { LanguageModel } from "effect/ai"
 * import { Amount, Run } from "effect-cycles"
 *
 * export const outcome = LanguageModel.generateText({ prompt: "Find a flight" }).pipe(
 *   Run.outcome({ budget: Amount.usd("2.00"), denialOf: CyclesAiError.denialOf })
 * )
 * ```
 *
 * @category predicates
 * @since 0.1.0
 */
export const denialOf = (error: unknown): CyclesError.BudgetExceeded | undefined => {
  if (CyclesError.isBudgetExceeded(error)) return error
  const cause = AiError.isAiError(error) ? causeOf(error) : undefined
  return cause?._tag === "BudgetExceeded" ? cause : undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes the error of a model call from an error of the client or of the guard. `module` is the module that the error names,
 * `CyclesModel` by default.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromBudget = (method: string, error: BudgetError, module = "CyclesModel"): AiError.AiError =>
  AiError.make({ module, method, reason: reasonOf(error) })

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Why an output limit can't be kept.
 *
 * - `unknownProvider`: neither the provider's name nor the option `outputLimit` determines the setting of the limit.
 * - `notRead`: an earlier call of the model ended, and its provider hadn't read the limit.
 * - `notEnforced`: the budget allows the call with a cap on tokens, but the option is `OutputLimit.none`.
 * - `belowMinimum`: the limit is below the lowest one that the provider accepts.
 *
 * @category models
 * @since 0.1.0
 */
export type UnsupportedLimitReason = "unknownProvider" | "notRead" | "notEnforced" | "belowMinimum"

/**
 * The output limit of a model call can't be kept, so the model isn't called. See `OutputLimit`.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnsupportedLimit extends Schema.TaggedError<UnsupportedLimit>()("UnsupportedLimit", {
  /** Why the limit can't be kept. */
  reason: Schema.Literals(["unknownProvider", "notRead", "notEnforced", "belowMinimum"]),
  /** The limit in tokens. */
  limit: Schema.Int,
  /** The lowest limit that the provider accepts, if that is the reason. */
  minimum: Schema.optional(Schema.Int),
  /** The provider's name, if it is known. */
  provider: Schema.optional(Schema.String),
  /** The model's name. */
  model: Schema.String
}) {
  override get message(): string {
    const model = this.provider === undefined ? this.model : `${this.provider}:${this.model}`
    return `The limit of ${this.limit} output tokens can't be kept for the model ${model}: ${this.#problem}`
  }

  get #problem(): string {
    switch (this.reason) {
      case "unknownProvider":
        return (
          "it isn't known how to give this provider a limit. Set the option outputLimit, or set it to OutputLimit.none if " +
          "the limit doesn't need to be enforced"
        )
      case "notRead":
        return (
          "the provider didn't read the limit of an earlier call. Set the option outputLimit to the setting that it reads, " +
          "or to OutputLimit.none if the limit doesn't need to be enforced"
        )
      case "notEnforced":
        return (
          "the budget allows the call with this cap only, and outputLimit is OutputLimit.none. Set outputLimit to the " +
          "setting that the provider reads"
        )
      case "belowMinimum":
        return `the provider accepts limits of at least ${this.minimum} tokens`
    }
  }
}

/**
 * The schema of the errors that stop a model call.
 *
 * @category schemas
 * @since 0.1.0
 */
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
  UnsupportedLimit
])

/**
 * An error of the client or of the guard that stops a model call.
 *
 * @category errors
 * @since 0.1.0
 */
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

const reasonOf = (error: BudgetError): AiError.AiErrorReason => withMessage(plainReasonOf(error), error.message)

/** The message of the budget's error instead of one that names the provider. */
const withMessage = (reason: AiError.AiErrorReason, message: string): AiError.AiErrorReason =>
  Object.defineProperty(reason, "message", { value: message, configurable: true })

const plainReasonOf = (error: BudgetError): AiError.AiErrorReason => {
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
