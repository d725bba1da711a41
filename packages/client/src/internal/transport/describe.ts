/**
 * What went wrong on the way, told without the request: the errors of HTTP clients hold the request, and with it the key.
 */
import type * as HttpClientError from "effect/http/HttpClientError"
import * as Predicate from "effect/Predicate"

/** What a failed exchange amounts to. */
export interface Description {
  readonly kind: "refused" | "interrupted" | "unknown"
  /** Whether the server may have acted on the request. In doubt it may. */
  readonly mayHaveArrived: boolean
  readonly problem: string
}

/** Describes the failure of an HTTP client by the codes that Node, undici and fetch put on their errors. */
export const describe = (error: HttpClientError.HttpClientError): Description => {
  const reason = error.reason
  if (reason._tag === "EncodeError" || reason._tag === "InvalidUrlError") {
    return { kind: "refused", mayHaveArrived: false, problem: "the request could not be made" }
  }
  const code = codeOf(reason.cause, 5)
  if (code !== undefined && neverSent.has(code)) return { kind: "refused", mayHaveArrived: false, problem: code }
  return {
    kind: code === undefined ? "unknown" : "interrupted",
    mayHaveArrived: true,
    problem: code ?? "the exchange broke off"
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** Failures before the first byte of the request was written. */
const neverSent: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_INVALID_ARG",
  "CERT_HAS_EXPIRED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
])

const codeOf = (cause: unknown, depth: number): string | undefined => {
  if (depth === 0 || !Predicate.isObject(cause)) return undefined
  if ("code" in cause && typeof cause.code === "string") return cause.code
  return "cause" in cause ? codeOf(cause.cause, depth - 1) : undefined
}
