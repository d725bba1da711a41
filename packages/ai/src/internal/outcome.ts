/**
 * Whether a failed model call has spent: by the reason of its failure.
 *
 * What fails before the provider answers has spent nothing and is released. What fails on the answer has spent: the usage is
 * charged where it was seen, the estimate where it wasn't.
 */
import type * as AiError from "effect/ai/AiError"

/** Whether a failure came before or after the provider's answer. */
export type Spent = "before" | "after"

/** Every reason of `effect/ai`, and when it arises. */
export const spentBy: { readonly [Tag in AiError.AiErrorReason["_tag"]]: Spent } = {
  RateLimitError: "before",
  QuotaExhaustedError: "before",
  AuthenticationError: "before",
  ContentPolicyError: "before",
  InvalidRequestError: "before",
  InternalProviderError: "before",
  NetworkError: "before",
  UnsupportedSchemaError: "before",
  InvalidUserInputError: "before",
  ToolConfigurationError: "before",
  ToolkitRequiredError: "before",
  // What a provider answers with a status that it has no reason for.
  UnknownError: "before",
  InvalidResponseError: "after",
  InvalidOutputError: "after",
  StructuredOutputError: "after",
  ToolNotFoundError: "after",
  ToolParameterValidationError: "after",
  InvalidToolResultError: "after",
  ToolResultEncodingError: "after"
}
