/**
 * Removes keys from what comes back from a server or an HTTP library: a proxy may echo a request, a library's error may hold
 * it, and both end up in errors, logs and spans.
 */
import * as ProtocolHeaders from "@effect-cycles/protocol/Headers"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { CauseLink } from "../../CyclesError.ts"

/** Removes keys. A text without one is returned as it is. */
export interface Redactor {
  /** From a text that is shown as it is, such as a header. */
  readonly text: <A extends string | undefined>(text: A) => A | string
  /** From a text that is read as JSON, where a key may be written with escapes. */
  readonly json: (text: string) => string
  /** Copies an error and its causes, five links at most, without keys. `undefined` if there is nothing to copy. */
  readonly cause: (cause: unknown) => ReadonlyArray<CauseLink> | undefined
}

/** Keys shorter than any real one are left alone: they could be a part of anything. */
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

/** Effect's list of headers that are never shown, with the key headers. */
export const headerNames = (names: ReadonlyArray<string | RegExp>): ReadonlyArray<string | RegExp> =>
  keyHeaders.every((name) => names.includes(name)) ? names : [...names, ...keyHeaders]

/** Adds the key headers to those that are never shown when a request is inspected or logged. */
export const layerHeaderNames: Layer.Layer<never> = Layer.effect(
  Headers.CurrentRedactedNames,
  Effect.map(Headers.CurrentRedactedNames, headerNames)
)

// ---------------------------------------------------------------------------------------------------------------------
// causes
// ---------------------------------------------------------------------------------------------------------------------

const maxLinks = 5

const maxTextLength = 500

/** An error of a library is foreign: it can hold the request, and its getters can throw. Only these few fields are copied. */
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

/** The next link; that of an error for several addresses is the first of its errors. */
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

/** Any escape; an escaped backslash is one, so that the character after it doesn't count as another. */
const escape = /\\(?:u[0-9a-f]{4}|.)/gi

/** An escape that JSON does not need, without it. The text is the same JSON. */
const unescaped = (written: string): string =>
  written === "\\/" || /^\\u.{4}$/.test(written) ? canonical(String(JSON.parse(`"${written}"`))) : written

/** A text as it stands inside of quotes, with no more escapes than JSON needs. */
const canonical = (text: string): string => JSON.stringify(text).slice(1, -1)
