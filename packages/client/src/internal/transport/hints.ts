/**
 * Hints in error messages: what the reader can do about an error. There is a hint only if the client is sure that it
 * fits.
 */
import type { ResponseMeta } from "@effect-cycles/protocol/Headers"
import type { CauseLink } from "../../CyclesError.ts"
import { suspiciousTimeoutMs } from "../config/time.ts"
import type { Call } from "./call.ts"

/** The hint for a failure without a response, by the codes in its chain of causes. */
export const ofFailure = (
  problem: string,
  cause: ReadonlyArray<CauseLink> | undefined,
  url: string
): string | undefined => {
  const codes = [problem, ...(cause ?? []).map(({ code }) => code ?? "")].join(" ")
  if (/ECONNREFUSED/.test(codes)) return ofRefusedConnection(cause, url)
  for (const [pattern, hint] of byCode) if (pattern.test(codes)) return hint
  return undefined
}

/** The first match counts. */
const byCode: ReadonlyArray<readonly [pattern: RegExp, hint: string]> = [
  [
    /ENOTFOUND|EAI_AGAIN/,
    "a host name can't be resolved: check the base URL (CYCLES_BASE_URL), the proxy if there is one, and the network"
  ],
  [
    /WRONG_VERSION_NUMBER|ERR_SSL_PACKET_LENGTH_TOO_LONG/,
    "the server doesn't seem to use TLS on this port: does the base URL need http:// instead of https://?"
  ],
  // Bun has this code for every failed handshake.
  [/EPROTO/, "the TLS handshake failed: does the server use TLS on this port, and does it accept this client?"],
  [
    /CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/,
    "the certificate of the server has expired or isn't valid yet: renew it, or correct the clock of this machine"
  ],
  [
    /ALTNAME/,
    "the certificate of the server is for another host: check the host name in the base URL (CYCLES_BASE_URL)"
  ],
  [
    /SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|CERT_UNTRUSTED/,
    "the certificate of the server isn't trusted: add its authority with NODE_EXTRA_CA_CERTS"
  ]
]

/** If the refused port isn't the port of the URL, a proxy refused the connection. */
const ofRefusedConnection = (cause: ReadonlyArray<CauseLink> | undefined, url: string): string => {
  const refused = cause?.find(({ port }) => port !== undefined)
  return refused === undefined || refused.port === portOf(url)
    ? `is the server running at ${originOf(url)}?`
    : `is the proxy running at ${refused.address ?? "its address"}, port ${refused.port}?`
}

/** The hint for a timeout. */
export const ofTimeout = (limitMs: number): string | undefined =>
  limitMs < suspiciousTimeoutMs
    ? `the timeout is ${limitMs} ms: CYCLES_READ_TIMEOUT and CYCLES_CONNECT_TIMEOUT are in milliseconds unless they have a unit, as in "5 s"`
    : undefined

/** The hint for a response that isn't from a Cycles server. */
export const ofPage = (body: string, url: string): string => {
  if (/plain HTTP request was sent to HTTPS|Client sent an HTTP request to an HTTPS server/i.test(body)) {
    return "the server uses TLS on this port: does the base URL need https:// instead of http://?"
  }
  const page = isPage(body) ? "the response is an HTML page" : "the response isn't from a Cycles server"
  return `${page}: is the base URL ${originOf(url)} right?`
}

/** Whether a body is HTML or XML. */
export const isPage = (body: string): boolean => /^\s*</.test(body)

/** The hint for an error response of a Cycles server. */
export const ofRefusal = (
  { about, auth }: Pick<Call<object>, "about" | "auth">,
  status: number,
  code: string,
  meta: ResponseMeta
): string | undefined => {
  const { requested, scopes = [] } = about ?? {}
  if (status === 401) return byAuth[auth]
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

/** The hint after 401, by the key that the call has sent. */
const byAuth: Readonly<Record<Call<object>["auth"], string | undefined>> = {
  apiKey: "check the API key (CYCLES_API_KEY): it is unknown, revoked or expired, or its tenant isn't active",
  adminKey: "check the admin key (CYCLES_ADMIN_API_KEY)",
  none: undefined
}

const portOf = (url: string): number | undefined => {
  if (!URL.canParse(url)) return undefined
  const { port, protocol } = new URL(url)
  return port === "" ? (protocol === "https:" ? 443 : 80) : Number(port)
}

const originOf = (url: string): string => (URL.canParse(url) ? new URL(url).origin : url)
