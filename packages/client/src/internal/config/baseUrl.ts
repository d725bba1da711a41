/**
 * The server's address: what is allowed, and its one normal form.
 */

/** What a base URL must be, where the text is none; nothing where it is fine. */
export const problemOf = (value: string): string | undefined => {
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    return "an http:// or https:// address"
  }
  if (url.username !== "" || url.password !== "") return "an address without user name and password"
  if (url.search !== "" || url.hash !== "") return "an address without query and fragment"
  return undefined
}

/** The address without a trailing slash. Journals of all clients are told apart by this text. */
export const normalize = (value: string | URL): string => String(value).trim().replace(/\/+$/, "")

/** An address as it may be shown: what could be a user name and a password is left out. */
export const withoutLogin = (value: string): string => value.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/i, "$1***@")

/** Whether a key would go over the open network unencrypted. */
export const isPlainPublic = (baseUrl: string): boolean => {
  const url = new URL(baseUrl)
  return url.protocol === "http:" && !isPrivateHost(url.hostname)
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const isPrivateHost = (host: string): boolean =>
  host === "localhost" ||
  host.endsWith(".localhost") ||
  host.endsWith(".internal") ||
  host.endsWith(".local") ||
  !host.includes(".") ||
  /^(127|10)\./.test(host) ||
  host.startsWith("192.168.") ||
  /^172\.(1[6-9]|2\d|3[01])\./.test(host)
