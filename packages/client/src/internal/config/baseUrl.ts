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
 * Whether a host is local or private. `URL` has normalized it: IPv4 with four decimals, IPv6 in brackets, names in
 * lower case.
 */
const isPrivateHost = (host: string): boolean => {
  if (host.startsWith("[")) return isPrivateV6(groupsOf(host.slice(1, -1)))
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

const isPrivateV6 = (groups: ReadonlyArray<number>): boolean => {
  const [first = 0, , , , , sixth = 0, seventh = 0, eighth = 0] = groups
  if (groups.slice(0, 5).every((group) => group === 0)) {
    // ::1, :: and IPv4-mapped addresses.
    if (sixth === 0 && seventh === 0 && eighth <= 1) return true
    if (sixth === 0xffff) return isPrivateV4(seventh >> 8, seventh & 0xff)
  }
  return (first & 0xfe00) === 0xfc00 || (first & 0xffc0) === 0xfe80
}

/** The eight groups of an IPv6 address that `URL` has normalized: hexadecimal, with at most one `::`. */
const groupsOf = (host: string): ReadonlyArray<number> => {
  const [before = "", after] = host.split("::")
  const read = (part: string): ReadonlyArray<number> =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16))
  if (after === undefined) return read(before)
  const start = read(before)
  const end = read(after)
  return [...start, ...Array.from({ length: 8 - start.length - end.length }, () => 0), ...end]
}
