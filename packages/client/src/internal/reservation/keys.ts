/**
 * Idempotency keys. A reservation has one; what settles it has keys derived from it, so that whatever is repeated, by this
 * process or by a later one, keeps its key.
 *
 * Source: NORMATIVE idempotency rules; the form of derived keys is that of the Python client.
 */
import * as Effect from "effect/Effect"
import { hex } from "../config/fingerprint.ts"

/** What derived keys are made of: the key itself, or its digest where a prefix would make it too long. */
export const stemOf = (key: string): Effect.Effect<string> =>
  key.length <= maxStemLength
    ? Effect.succeed(key)
    : Effect.map(
        Effect.promise(() => globalThis.crypto.subtle.digest("SHA-256", new TextEncoder().encode(key))),
        (digest) => `sha256-${hex(new Uint8Array(digest))}`
      )

/** The key of what settles a reservation, as in `commit-...`. */
export const derived = (use: "commit" | "release", stem: string): string => `${use}-${stem}`

/** The longest key of the protocol is 256 characters, a prefix has 16 at most. */
const maxStemLength = 240
