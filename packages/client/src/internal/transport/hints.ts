/**
 * Hints in error messages: what the reader can do about an error. There is a hint only if the client is sure that it fits.
 */
import type { ResponseMeta } from "@effect-cycles/protocol/Headers"
import type { CauseLink } from "../../CyclesError.ts"
import type { About } from "./call.ts"

/** The hint for a failure without a response, by the codes in its chain of causes. */
export const ofFailure = (
  problem: string,
  cause: ReadonlyArray<CauseLink> | undefined,
  url: string
): string | undefined => {
  const codes = [problem, ...(cause ?? []).map(({ code }) => code ?? "")].join(" ")
  if (/ECONNREFUSED/.test(codes)) return `is the server running at ${originOf(url)}?`
  if (/ENOTFOUND|EAI_AGAIN/.test(codes))
    return "the host can't be resolved: check the base URL (CYCLES_BASE_URL) and the network"
  if (/WRONG_VERSION_NUMBER|ERR_SSL_PACKET_LENGTH_TOO_LONG|EPROTO/.test(codes)) {
    return "the server doesn't seem to use TLS on this port: does the base URL need http:// instead of https://?"
  }
  if (/CERT_|SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|ALTNAME/.test(codes)) {
    return "the certificate of the server isn't trusted: add its authority by NODE_EXTRA_CA_CERTS, or check the host name"
  }
  return undefined
}

/** The hint for a timeout. A very short one is probably meant in seconds. */
export const ofTimeout = (limitMs: number): string | undefined =>
  limitMs < suspiciousMs
    ? `the timeout is ${limitMs} ms: CYCLES_READ_TIMEOUT and CYCLES_CONNECT_TIMEOUT are in milliseconds unless they have a unit, as in "5 s"`
    : undefined

/** No server responds reliably in less. */
const suspiciousMs = 100

/** The hint for a page that isn't from a Cycles server. A failing proxy (5xx) says nothing about the base URL. */
export const ofPage = (status: number, body: string, url: string): string | undefined => {
  if (status >= 500) return undefined
  if (/plain HTTP request was sent to HTTPS|Client sent an HTTP request to an HTTPS server/i.test(body)) {
    return "the server uses TLS on this port: does the base URL need https:// instead of http://?"
  }
  const page = /^\s*</.test(body) ? "the response is an HTML page" : "the response isn't from a Cycles server"
  return `${page}: is the base URL ${originOf(url)} right?`
}

/** The hint for an error response of a Cycles server. */
export const ofRefusal = (
  status: number,
  code: string,
  about: About | undefined,
  meta: ResponseMeta
): string | undefined => {
  const { requested, scopes = [] } = about ?? {}
  if (status === 401)
    return "check the API key (CYCLES_API_KEY): it is unknown, revoked or expired, or its tenant isn't active"
  if (status === 403) {
    const asked = /^tenant:([^/]+)/.exec(scopes[0] ?? "")?.[1]
    return asked === undefined || meta.tenant === undefined || asked === meta.tenant
      ? undefined
      : `the subject's tenant is ${asked} (CYCLES_TENANT), but the API key belongs to the tenant ${meta.tenant}`
  }
  if (status === 404 && requested !== undefined && scopes.length > 0) {
    return `create a budget in ${requested.unit} for one of the scopes ${scopes.join(", ")}, or change the subject`
  }
  if (code === "IDEMPOTENCY_MISMATCH") {
    return "the idempotency key was used for another request: use a new key, or repeat exactly the same request"
  }
  return undefined
}

const originOf = (url: string): string => {
  try {
    return new URL(url).origin
  } catch {
    return url
  }
}
