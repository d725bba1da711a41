/**
 * Decides from a failure of the model whether the provider may bill the call.
 *
 * A response with a status of 400 or more is a refusal and costs nothing, whatever its body is. So does a failure before the
 * request is sent. Any other failure may have cost something.
 */
import { failureOf } from "@effect-cycles/protocol/CyclesTransport"
import type * as AiError from "effect/ai/AiError"

/**
 * - `nothing`: the request wasn't sent, or the provider refused it.
 * - `input`: the request may have been processed, but no response is known. At least its input may be billed.
 * - `response`: the provider responded, but the response can't be used. Input and output are billed.
 */
export type Billed = "nothing" | "input" | "response"

/** The part of a failed call that may be billed, if no part of a response was received. */
export const billedOf = ({ reason }: AiError.AiError): Billed => {
  const status = "http" in reason ? reason.http?.response?.status : undefined
  if (status !== undefined && status >= 400) return "nothing"
  if (reason._tag === "NetworkError") return isSent(reason) ? "input" : "nothing"
  return billedBy[reason._tag]
}

/** Whether a failure is that of a response that can't be read. The others may precede the request. */
export const isUnusable = ({ reason }: AiError.AiError): boolean =>
  reason._tag === "InvalidResponseError" ||
  reason._tag === "InvalidOutputError" ||
  reason._tag === "StructuredOutputError"

const billedBy: { readonly [Tag in Exclude<AiError.AiErrorReason["_tag"], "NetworkError">]: Billed } = {
  // The provider refused the request.
  RateLimitError: "nothing",
  QuotaExhaustedError: "nothing",
  AuthenticationError: "nothing",
  InvalidRequestError: "nothing",
  // The request wasn't made.
  UnsupportedSchemaError: "nothing",
  InvalidUserInputError: "nothing",
  ToolConfigurationError: "nothing",
  ToolkitRequiredError: "nothing",
  // Providers also report these within a response with status 200, which may be billed.
  ContentPolicyError: "input",
  InternalProviderError: "input",
  UnknownError: "input",
  // The response can't be used.
  InvalidResponseError: "response",
  InvalidOutputError: "response",
  StructuredOutputError: "response",
  ToolNotFoundError: "response",
  ToolParameterValidationError: "response",
  InvalidToolResultError: "response",
  ToolResultEncodingError: "response"
}

/** Whether the request may have reached the provider. */
const isSent = ({ cause, description, reason }: AiError.NetworkError): boolean =>
  reason === "TransportError" && [cause, { code: codeIn(description) }].every((one) => failureOf(one).mayHaveArrived)

/** The code of the system in a description, as in `connect ECONNREFUSED 127.0.0.1:443`. */
const codeIn = (description: string | undefined): string | undefined => /\bE[A-Z_]{3,}\b/.exec(description ?? "")?.[0]
