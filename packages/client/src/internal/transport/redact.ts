/**
 * Takes keys out of what a server answers: what stands between client and server may echo a request, and answers end up in
 * errors, logs and spans.
 */
import * as Redacted from "effect/Redacted"

/** Takes keys out. What has none comes back as it is. */
export interface Mask {
  /** Out of a text that is shown as it is, such as a header. */
  readonly text: <A extends string | undefined>(text: A) => A | string
  /** Out of a text that is read as JSON, where a key may be written with escapes. */
  readonly json: (text: string) => string
}

/** Shorter keys than a real one ever is are left alone: they could be a part of anything. */
const shortest = 16

/** Makes a mask for these keys. */
export const make = (keys: ReadonlyArray<Redacted.Redacted | undefined>): Mask => {
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
    json: (json) => text(json.includes("\\") ? json.replace(escape, unescaped) : json)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** Any escape; an escaped backslash is one, so that what follows it is not taken for another. */
const escape = /\\(?:u[0-9a-f]{4}|.)/gi

/** An escape that JSON does not need, without it. The text is the same JSON. */
const unescaped = (written: string): string =>
  written === "\\/" || /^\\u.{4}$/.test(written) ? canonical(String(JSON.parse(`"${written}"`))) : written

/** A text as it stands inside of quotes, with no more escapes than JSON needs. */
const canonical = (text: string): string => JSON.stringify(text).slice(1, -1)
