/**
 * Redacts secrets in everything that the command prints: its own lines, messages of servers and libraries, logs, and
 * usage errors that repeat the arguments.
 */

/** The environment of the command: variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Makes the function that redacts the secrets of an environment. */
export const make = (env: Environment): ((text: string) => string) => {
  const secrets = Array.from(new Set(secretsOf(env).flatMap(formsOf))).toSorted((a, b) => b.length - a.length)
  return (text) => {
    let rest = text
    for (const secret of secrets) if (rest.includes(secret)) rest = rest.replaceAll(secret, placeholder)
    return rest.replace(userInfo, "$1***@").replace(key, placeholder)
  }
}

const placeholder = "<redacted>"

/** A shorter text could be a part of any word. */
const shortest = 4

/** Keys, and everything in a URL that can be a password or a key. */
const secretsOf = (env: Environment): ReadonlyArray<string> =>
  Object.entries(env).flatMap(([name, value = ""]) => {
    if (/^CYCLES_.*(KEY|SECRET|TOKEN|PASS)/i.test(name)) return [value]
    if (!/^CYCLES_BASE_URL$|_PROXY$/i.test(name)) return []
    const [, user = ""] = /:\/\/([^]*)@/.exec(value) ?? []
    const [, query = ""] = /[?#]([^]+)$/.exec(value) ?? []
    return [user, user.replace(/^[^:]*:/, ""), query]
  })

/** The forms in which a secret can appear in a text. */
const formsOf = (secret: string): ReadonlyArray<string> => {
  const trimmed = secret.trim()
  if (trimmed.length < shortest) return []
  const encoded = trimmed.isWellFormed() ? [encodeURIComponent(trimmed)] : []
  return [trimmed, JSON.stringify(trimmed).slice(1, -1), ...encoded]
}

/** A user name and a password in any URL. */
const userInfo = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/?#"'<>]*@/gi

/** An API key that isn't in the environment, for example one that was passed as an argument. */
const key = /\bcyc_[a-z]+_[A-Za-z0-9_-]{8,}/g
