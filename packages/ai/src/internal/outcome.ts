/**
 * Decides from a failure of the model whether the provider may bill the call.
 *
 * A response with a status of 400 or more is a refusal and costs nothing, whatever its body is. So does a failure before the
 * request is sent. Any other failure may have cost something.
 */
import type * as AiError from "effect/ai/AiError"

/**
 * - `nothing`: the request wasn't sent, or the provider refused it.
 * - `input`: the request may have been processed, but no response is known. At least its input may be billed.
 * - `response`: the provider responded, but the response can't be used. Input and output are billed.
 */
export type Billed = "nothing" | "input" | "response"

/** What a failure shows about the bill, if no part of a response was received. */
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
const isSent = (error: AiError.NetworkError): boolean => {
  if (error.reason !== "TransportError") return false
  return !texts(error.cause, error.description ?? "").some((text) => noConnection.test(text))
}

/** Codes of failures before a connection exists. */
const noConnection = /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT/

const maxLinks = 8

/** The messages and codes of a chain of causes. Reading them may throw, because the objects come from libraries. */
const texts = (cause: unknown, first: string): ReadonlyArray<string> => {
  const all = [first]
  try {
    let link = cause
    for (let i = 0; i < maxLinks && typeof link === "object" && link !== null; i++) {
      if ("code" in link && typeof link.code === "string") all.push(link.code)
      if ("message" in link && typeof link.message === "string") all.push(link.message)
      link = "cause" in link ? link.cause : "reason" in link ? link.reason : undefined
    }
  } catch {
    // An unreadable cause proves nothing.
  }
  return all
}
