/** Diagnoses of the address, the key, the tenant and the clock, all from the response to one request. */
import * as ProtocolHeaders from "@effect-cycles/protocol/Headers"
import * as Duration from "effect/Duration"
import * as BaseUrl from "../../../../internal/config/baseUrl.ts"
import { age, shown } from "../output.ts"
import type { Settings } from "../settings.ts"
import type { Finding } from "./finding.ts"
import { failed, ok, warning } from "./finding.ts"
import type { Probe } from "./probe.ts"

type Response = Extract<Probe, { readonly _tag: "Response" }>

// ---------------------------------------------------------------------------------------------------------------------
// reachability
// ---------------------------------------------------------------------------------------------------------------------

/** Further facts about the address. */
interface Circumstances {
  /** The probe of the base URL without its path, if it has one. */
  readonly atOrigin?: Probe | undefined
  /** The proxy that the environment sets for the address. */
  readonly proxy?: string | undefined
}

/** Whether a Cycles server responds. */
export const reachability = (settings: Settings, probe: Probe, { atOrigin, proxy }: Circumstances = {}): Finding => {
  const { baseUrl } = settings
  const via =
    proxy === undefined
      ? ""
      : ` The request used the proxy ${BaseUrl.shown(proxy)}: is it right, or should NO_PROXY contain this host?`
  switch (probe._tag) {
    case "Timeout":
      return failed(
        "reachability",
        `${baseUrl} didn't respond within ${Duration.format(settings.timeout)}.`,
        "Is the server running, and does a firewall or a proxy drop the connection?" + via
      )
    case "Failure":
      return unreachable(baseUrl, probe, via)
    case "Response":
      return probe.isCycles
        ? probe.status >= 500
          ? failed(
              "reachability",
              `${baseUrl} responded with ${describe(probe)}.`,
              "The server has a problem: see its log and its health check."
            )
          : ok("reachability", `${baseUrl} responded in ${Math.ceil(probe.rttMs)} ms`)
        : otherProgram(baseUrl, probe, atOrigin)
  }
}

const unreachable = (
  baseUrl: string,
  { codes, failure }: Extract<Probe, { readonly _tag: "Failure" }>,
  via: string
): Finding => {
  const { host, hostname, protocol } = new URL(baseUrl)
  const has = (...some: ReadonlyArray<string>) => codes.some((code) => some.includes(code))
  const fail = (summary: string, advice: string): Finding => failed("reachability", summary, advice + via)
  if (has("ECONNREFUSED")) {
    return fail(
      `${baseUrl} refused the connection (ECONNREFUSED).`,
      `Is the server running, and does it listen at ${host}?`
    )
  }
  if (has("ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA")) {
    return fail(
      `The host name ${hostname} can't be resolved (${codes.join(", ")}).`,
      "Is CYCLES_BASE_URL spelled correctly, and does this machine have DNS?"
    )
  }
  if (has("ETIMEDOUT", "UND_ERR_CONNECT_TIMEOUT", "EHOSTUNREACH", "ENETUNREACH")) {
    return fail(
      `No connection to ${host} (${codes.join(", ")}).`,
      "Does a firewall, a VPN or a proxy block it? CYCLES_CONNECT_TIMEOUT sets the limit."
    )
  }
  const certificate = codes.find((code) => /CERT|SIGNATURE|ISSUER|CHAIN|CRL/.test(code))
  if (certificate !== undefined) {
    return fail(
      `The certificate of ${host} isn't trusted (${certificate}).`,
      certificate.includes("ALTNAME")
        ? "The certificate is for another host name: is CYCLES_BASE_URL right?"
        : certificate.includes("EXPIRED") || certificate.includes("NOT_YET")
          ? "Renew the certificate, and check the clock of this machine."
          : "Pass the certificate of its authority to Node with NODE_EXTRA_CA_CERTS=FILE."
    )
  }
  const tls = codes.find((code) => /SSL|TLS|EPROTO/.test(code))
  if (tls !== undefined || (protocol === "https:" && has("ECONNRESET", "UND_ERR_SOCKET"))) {
    return fail(
      `No TLS connection to ${host} (${tls ?? codes.join(", ")}).`,
      `Does the server expect plain HTTP? Then CYCLES_BASE_URL is http://${host}.`
    )
  }
  const detail = [failure.problem, ...codes.filter((code) => code !== failure.problem)].map(shown).join(", ")
  return fail(
    `The request to ${baseUrl} failed: ${detail}.`,
    protocol === "http:" && codes.some((code) => /^HPE_|UND_ERR_SOCKET|ECONNRESET/.test(code))
      ? "Does the server expect TLS? Then use https://. Otherwise a proxy or another program may be listening there."
      : "Check the address, and the proxies in HTTP_PROXY, HTTPS_PROXY and NO_PROXY."
  )
}

/** The response isn't from a Cycles server, or a proxy sent it. */
const otherProgram = (baseUrl: string, probe: Response, atOrigin: Probe | undefined): Finding => {
  const { origin } = new URL(baseUrl)
  const got = `${baseUrl} responded with ${describe(probe)}`
  if (atOrigin?._tag === "Response" && atOrigin.isCycles) {
    return failed(
      "reachability",
      `${got}, but ${origin} is a Cycles server.`,
      `Remove the path: CYCLES_BASE_URL=${origin}.`
    )
  }
  const location = probe.headers["location"]
  if (probe.status >= 300 && probe.status < 400) {
    return failed(
      "reachability",
      `${got}${location === undefined ? "" : ` to ${BaseUrl.shown(shown(location))}`}.`,
      "Redirects aren't followed, since they could send the key to another server. Set CYCLES_BASE_URL to the final address."
    )
  }
  if (probe.status === 407 || probe.status === 429) {
    return failed(
      "reachability",
      `${got}, without an error of the protocol.`,
      probe.status === 407
        ? "A proxy requires a user name and a password: see HTTP_PROXY and HTTPS_PROXY."
        : "A proxy or load balancer throttles this machine. Repeat the command later."
    )
  }
  if (probe.status >= 500) {
    return failed(
      "reachability",
      `${got}, without an error of the protocol.`,
      "A proxy or load balancer responds, but the Cycles server behind it doesn't. Is it running?"
    )
  }
  return failed(
    "reachability",
    `${got}, which isn't a response of a Cycles server.`,
    "Is CYCLES_BASE_URL right? It is the address before /v1, for example https://cycles.example.com."
  )
}

const describe = ({ body, code, headers, status }: Response): string => {
  if (code !== undefined) return `${status} ${shown(code)}`
  const text = body.trimStart().slice(0, 200).toLowerCase()
  const isHtml =
    (headers["content-type"] ?? "").includes("html") || text.startsWith("<!doctype") || text.startsWith("<html")
  return isHtml ? `${status} and HTML` : body === "" ? `${status} and no body` : `${status}`
}

// ---------------------------------------------------------------------------------------------------------------------
// key
// ---------------------------------------------------------------------------------------------------------------------

/** Whether the server accepts the key. */
export const key = (probe: Response): Finding => {
  const words = probe.message === undefined ? "" : `: ${shown(probe.message)}`
  if (probe.status === 401) {
    return failed(
      "key",
      `The server refuses the key (401 ${shown(probe.code ?? "")})${words}.`,
      "Is CYCLES_API_KEY a key of this server, not revoked or expired, and is its tenant active?"
    )
  }
  if (probe.status === 403) {
    return failed(
      "key",
      `The key isn't allowed to list reservations (403 ${shown(probe.code ?? "")})${words}.`,
      "Ask the administrator for a key with the permissions of the runtime plane."
    )
  }
  if (probe.status === 429) {
    return warning(
      "key",
      `The server throttles this key (429 ${shown(probe.code ?? "")})${words}.`,
      "Repeat the command later, and check the rate limit of the tenant."
    )
  }
  return probe.status === 200
    ? ok("key", "accepted")
    : failed("key", `The server responded with ${probe.status} ${shown(probe.code ?? "")}${words}.`)
}

// ---------------------------------------------------------------------------------------------------------------------
// tenant
// ---------------------------------------------------------------------------------------------------------------------

/** Whether the tenant of the subject is the tenant of the key. */
export const tenant = ({ config }: Settings, probe: Response): Finding => {
  const configured = config.subject?.tenant
  const ofKey = probe.tenant
  if (ofKey === undefined) {
    return configured === undefined
      ? warning("tenant", "No tenant is set, and the server doesn't name that of the key.", "Set CYCLES_TENANT.")
      : ok("tenant", `${configured} (the server doesn't name the tenant of the key)`)
  }
  const name = shown(ofKey)
  if (configured === undefined) {
    return warning(
      "tenant",
      `No tenant is set. The key belongs to ${name}.`,
      `Set CYCLES_TENANT=${name}, or pass a subject with this tenant in the program.`
    )
  }
  return configured === ofKey
    ? ok("tenant", name)
    : failed(
        "tenant",
        `CYCLES_TENANT is ${configured}, but the key belongs to ${name}: the server refuses each call with 403.`,
        `Set CYCLES_TENANT=${name}, or use a key of ${configured}.`
      )
}

// ---------------------------------------------------------------------------------------------------------------------
// clock
// ---------------------------------------------------------------------------------------------------------------------

/** The `Date` header has a resolution of 1 s. */
const toleranceMs = 5_000

/** Compares the clock of this machine with the `Date` of the response. */
export const clock = (probe: Response): Finding => {
  const serverMs = ProtocolHeaders.dateMs(probe.headers[ProtocolHeaders.DATE])
  if (serverMs === undefined) {
    return warning(
      "clock",
      "The response has no Date, so the clocks can't be compared.",
      "Check it with your NTP service."
    )
  }
  // The header is rounded down, so on average the server is half a second ahead of it.
  const skewMs = probe.atMs - (serverMs + 500)
  if (Math.abs(skewMs) <= toleranceMs) return ok("clock", "agrees with the server's")
  return warning(
    "clock",
    `The clock of this machine is ${age(Math.abs(skewMs))} ${skewMs > 0 ? "ahead of" : "behind"} the server's.`,
    "Synchronize both with NTP. Leases don't depend on the clocks, but the times in logs do, and so does a Retry-After with a date from a proxy."
  )
}
