/**
 * The proxy of the environment for a URL: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. Lower-case variables
 * have precedence.
 */
import * as Net from "node:net"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The proxies of an environment. */
export interface Proxies {
  readonly http: string | undefined
  readonly https: string | undefined
  readonly except: (host: string, port: number) => boolean
}

/** The URLs of the proxies, without duplicates. */
export const uris = ({ http, https }: Proxies): ReadonlyArray<string> =>
  Array.from(new Set([http, https])).filter((uri) => uri !== undefined)

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Parses an environment. An invalid proxy throws a `RangeError` without its value, which may contain a password. */
export const fromEnv = (env: Readonly<Record<string, string | undefined>>): Proxies => ({
  http: uriOf("HTTP_PROXY", env["http_proxy"] ?? env["HTTP_PROXY"]),
  https: uriOf("HTTPS_PROXY", env["https_proxy"] ?? env["HTTPS_PROXY"]),
  except: exceptions(env["no_proxy"] ?? env["NO_PROXY"] ?? "")
})

/** The proxy for an origin; none for a loopback address. */
export const uriFor = (proxies: Proxies, origin: string): string | undefined => {
  const { hostname, port, protocol } = new URL(origin)
  const uri = protocol === "https:" ? proxies.https : proxies.http
  if (uri === undefined || isLoopback(hostname)) return undefined
  return proxies.except(bare(hostname), port === "" ? (protocol === "https:" ? 443 : 80) : Number(port))
    ? undefined
    : uri
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const uriOf = (name: string, value: string | undefined): string | undefined => {
  const text = value?.trim() ?? ""
  if (text === "") return undefined
  const uri = text.includes("://") ? text : `http://${text}`
  if (!URL.canParse(uri) || !/^(https?|socks5?):$/.test(new URL(uri).protocol)) {
    throw new RangeError(`${name} must be an http://, https:// or socks5:// address`)
  }
  return uri
}

/** `hostname` as `URL` writes it. */
const isLoopback = (hostname: string): boolean => {
  const host = bare(hostname)
  return (
    host === "localhost" ||
    host.endsWith(".localhost") ||
    host === "::1" ||
    host.startsWith("::ffff:7f") ||
    (Net.isIPv4(host) && host.startsWith("127."))
  )
}

/** Removes the brackets of an IPv6 address and the final dot of a name. */
const bare = (host: string): string =>
  host
    .replace(/^\[(.*)\]$/, "$1")
    .replace(/(.)\.$/, "$1")
    .toLowerCase()

/**
 * Parses `NO_PROXY`: `*`, hosts with or without a port, which include their subdomains, and ranges such as
 * `10.0.0.0/8`.
 */
const exceptions = (text: string): Proxies["except"] => {
  const entries = text
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .map(exception)
  return (host, port) => entries.some((isExcept) => isExcept(host, port))
}

const exception = (entry: string): Proxies["except"] => {
  if (entry === "*") return () => true
  const range = /^(.+)\/(\d+)$/.exec(entry)
  if (range !== null) return inRange(range[1] ?? "", Number(range[2]))
  const parts = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(entry)
  const name = bare((parts?.[1] ?? entry).replace(/^\*?\./, ""))
  const only = parts?.[2] === undefined ? undefined : Number(parts[2])
  return (host, port) => (only === undefined || only === port) && (host === name || host.endsWith(`.${name}`))
}

const inRange = (address: string, bits: number): Proxies["except"] => {
  const range = new Net.BlockList()
  const family = Net.isIPv6(address) ? "ipv6" : "ipv4"
  try {
    range.addSubnet(address, bits, family)
  } catch {
    return () => false
  }
  return (host) => Net.isIP(host) !== 0 && range.check(host, Net.isIPv6(host) ? "ipv6" : "ipv4")
}
