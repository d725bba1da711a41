/**
 * Redacts keys in everything that a server or an HTTP library returns. A proxy may echo a request, and an error of a
 * library may contain it; both end up in errors, logs and spans.
 */
import * as ProtocolHeaders from "@effect-cycles/protocol/Headers"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { CauseLink } from "../../CyclesError.ts"

/** Redacts keys. Returns a text without a key unchanged. */
export interface Redactor {
  /** Redacts plain text, such as a header. */
  readonly text: <A extends string | undefined>(text: A) => A | string
  /** Redacts JSON text, in which a key may contain escapes. */
  readonly json: (text: string) => string
  /** Copies an error and its causes, at most five, redacted. `undefined` if there is nothing to copy. */
  readonly cause: (cause: unknown) => ReadonlyArray<CauseLink> | undefined
}

/** The minimum length of a key to redact. A shorter text could be a part of any word. */
const shortest = 16

/** Makes a redactor for these keys. */
export const make = (keys: ReadonlyArray<Redacted.Redacted | undefined>): Redactor => {
  const secrets = new Set(
    keys.flatMap((key) => {
      const secret = key === undefined ? "" : Redacted.value(key)
      return secret.length < shortest ? [] : [secret, canonical(secret)]
    })
  )
  const text = <A extends string | undefined>(text: A): A | string => {
    let rest: A | string = text
    for (const secret of secrets) {
      if (rest?.includes(secret)) rest = rest.replaceAll(secret, "<redacted>")
    }
    return rest
  }
  return {
    text,
    json: (json) => text(json.includes("\\") ? json.replace(escape, unescaped) : json),
    cause: (cause) => linksOf(cause, text)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// headers
// ---------------------------------------------------------------------------------------------------------------------

const keyHeaders: ReadonlyArray<string> = [ProtocolHeaders.API_KEY, ProtocolHeaders.ADMIN_KEY]

/** Effect's list of redacted headers, extended by the key headers. */
export const headerNames = (names: ReadonlyArray<string | RegExp>): ReadonlyArray<string | RegExp> =>
  keyHeaders.every((name) => names.includes(name)) ? names : [...names, ...keyHeaders]

/** Adds the key headers to the headers that Effect redacts in logs. */
export const layerHeaderNames: Layer.Layer<never> = Layer.effect(
  Headers.CurrentRedactedNames,
  Effect.map(Headers.CurrentRedactedNames, headerNames)
)

// ---------------------------------------------------------------------------------------------------------------------
// causes
// ---------------------------------------------------------------------------------------------------------------------

const maxLinks = 5

const maxTextLength = 500

/** Copies only these few fields, because an error of a library may contain the request, and its getters may throw. */
const linksOf = (cause: unknown, redacted: (text: string) => string): ReadonlyArray<CauseLink> | undefined => {
  const links: Array<CauseLink> = []
  const text = (value: string): string => redacted(value).slice(0, maxTextLength)
  let link: unknown = cause
  while (link !== undefined && link !== null && links.length < maxLinks) {
    links.push(linkOf(link, text))
    link = nextOf(link)
  }
  return links.length === 0 ? undefined : links
}

const linkOf = (link: unknown, text: (value: string) => string): CauseLink => {
  if (typeof link !== "object" || link === null) {
    return { name: typeof link, message: typeof link === "string" ? text(link) : "" }
  }
  const textField = (name: string): string | undefined => {
    const value = field(link, name)
    return typeof value === "string" ? text(value) : undefined
  }
  const port = field(link, "port")
  const code = textField("code")
  const syscall = textField("syscall")
  const address = textField("address")
  return {
    name: textField("name") ?? "Error",
    message: textField("message") ?? "",
    ...(code === undefined ? undefined : { code }),
    ...(syscall === undefined ? undefined : { syscall }),
    ...(address === undefined ? undefined : { address }),
    ...(typeof port === "number" && Number.isInteger(port) ? { port } : undefined)
  }
}

/** The next cause. For an `AggregateError`, that is its first error. */
const nextOf = (link: unknown): unknown => {
  if (typeof link !== "object" || link === null) return undefined
  const cause = field(link, "cause")
  if (cause !== undefined) return cause
  try {
    const errors = field(link, "errors")
    return Array.isArray(errors) ? errors[0] : undefined
  } catch {
    return undefined
  }
}

const field = (from: object, name: string): unknown => {
  try {
    return Reflect.get(from, name)
  } catch {
    return undefined
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** A JSON escape. An escaped backslash matches too, so that the character after it isn't taken for an escape. */
const escape = /\\(?:u[0-9a-f]{4}|.)/gi

/** Removes an escape that JSON doesn't require. The JSON value stays the same. */
const unescaped = (written: string): string =>
  written === "\\/" || /^\\u.{4}$/.test(written) ? canonical(String(JSON.parse(`"${written}"`))) : written

/** The text between the quotes of a JSON string, with the required escapes only. */
const canonical = (text: string): string => JSON.stringify(text).slice(1, -1)
