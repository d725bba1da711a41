/** The base URL: validation and normalization. */
import * as Result from "effect/Result"

// ---------------------------------------------------------------------------------------------------------------------
// parse
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Normalizes a base URL, or fails with the rule that it violates. Scheme and host are converted to lower case; trailing
 * slashes and a trailing `/v1` are removed. The rest isn't changed, because the journal identifies the server by this
 * text.
 */
export const parse = (value: string | URL): Result.Result<string, string> => {
  const text = String(value).trim()
  const parts = address.exec(text)
  const [, scheme = "", authority = "", rest = ""] = parts ?? []
  if (authority === "" || hasForbidden.test(text) || !URL.canParse(`${scheme}://${authority}`)) {
    return Result.fail(authority.includes("@") ? withoutUser : "an http:// or https:// address")
  }
  if (authority.includes("@")) return Result.fail(withoutUser)
  if (/[?#]/.test(rest)) return Result.fail("an address without query and fragment")
  const path = rest.replace(/\/+$/, "").replace(/\/v1$/, "").replace(/\/+$/, "")
  return Result.succeed(`${scheme}://${authority}`.toLowerCase() + path)
}

const address = /^(https?):\/\/([^/?#\\]+)([^]*)$/i

/** White space, control characters, and the backslash, which URL parsers treat as a slash. */
const hasForbidden = /[\s\p{Cc}\\]/u

const withoutUser = "an address without user name and password"

/** The rule that a base URL violates; nothing if it is valid. */
export const problemOf = (value: string): string | undefined => {
  const parsed = parse(value)
  return Result.isFailure(parsed) ? parsed.failure : undefined
}

/** A base URL for error messages, with a possible user name, password or query replaced by `***`. */
export const shown = (value: string): string =>
  value.replace(/^([a-z][a-z0-9+.-]*:\/\/)?[^]*@/i, "$1***@").replace(/[?#][^]+$/, (query) => `${query.slice(0, 1)}***`)

// ---------------------------------------------------------------------------------------------------------------------
// hosts
// ---------------------------------------------------------------------------------------------------------------------

/** Whether the key would be sent unencrypted over a public network. */
export const isPlainPublic = (baseUrl: string): boolean => {
  const url = new URL(baseUrl)
  return url.protocol === "http:" && !isPrivateHost(url.hostname)
}

/**
 * Whether a host is local or private. `URL` has normalized it: IPv4 with four decimals, IPv6 in brackets and in its
 * shortest form, all in lower case.
 */
const isPrivateHost = (host: string): boolean => {
  if (host.startsWith("[")) return isPrivateV6(host)
  const v4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(host)
  if (v4 !== null) return isPrivateV4(Number(v4[1]), Number(v4[2]))
  const name = host.replace(/\.$/, "")
  return !name.includes(".") || privateSuffixes.some((suffix) => name.endsWith(suffix))
}

const privateSuffixes = [".localhost", ".local", ".internal", ".home.arpa"]

const isPrivateV4 = (first: number, second: number): boolean =>
  first === 127 ||
  first === 10 ||
  first === 0 ||
  (first === 192 && second === 168) ||
  (first === 172 && second >= 16 && second <= 31) ||
  (first === 169 && second === 254)

/** Whether an address in brackets is `::`, `::1`, unique local, link-local, or a private IPv4 address. */
const isPrivateV6 = (host: string): boolean => {
  const mapped = /^\[::ffff:([\da-f]+):[\da-f]+\]$/.exec(host)
  if (mapped === null) return /^\[(::1?\]|f[cd][\da-f]{2}:|fe[89ab][\da-f]:)/.test(host)
  const group = Number.parseInt(mapped[1] ?? "", 16)
  return isPrivateV4(group >> 8, group & 0xff)
}
