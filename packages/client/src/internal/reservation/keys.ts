/**
 * Idempotency keys: the keys that are derived from the key of a reservation, and the caller-supplied keys in use in
 * this process.
 *
 * @see NORMATIVE idempotency rules of the protocol; the Python client derives keys in the same form
 */
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"

// ---------------------------------------------------------------------------------------------------------------------
// derived keys
// ---------------------------------------------------------------------------------------------------------------------

/** The stem of derived keys: the key, or its digest if a derived key would be too long. */
export const stemOf = (key: string): Effect.Effect<string> => shortened(key, maxStemLength)

/** The key of the nth reservation under a caller-supplied key, such as `key#2`. A key that is too long is digested. */
export const repeated = (key: string, n: number): Effect.Effect<string> =>
  Effect.map(shortened(key, maxRepeatedLength), (short) => `${short}#${n}`)

/** The key of a request that settles the reservation, such as `commit-...`. */
export const derived = (use: "commit" | "release" | `late${number}`, stem: string): string => `${use}-${stem}`

/** A key has at most 256 characters, and a prefix at most 16. */
const maxStemLength = 240

/** A key has at most 256 characters, and a suffix such as `#100` at most 4. */
const maxRepeatedLength = 252

const shortened = (key: string, maxLength: number): Effect.Effect<string> =>
  key.length <= maxLength
    ? Effect.succeed(key)
    : Effect.map(
        Effect.promise(() => globalThis.crypto.subtle.digest("SHA-256", new TextEncoder().encode(key))),
        (digest) => `sha256-${Hex.encode(new Uint8Array(digest))}`
      )

// ---------------------------------------------------------------------------------------------------------------------
// keys in use
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The caller-supplied keys in use in this process, each from its reserve until its settlement is decided. The cleanup
 * of an earlier, abandoned reserve doesn't release the reservation of a key in use.
 */
export class KeysInUse {
  readonly #counts = new Map<string, number>()

  has(key: string): boolean {
    return this.#counts.has(key)
  }

  acquire(key: string): void {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
  }

  release(key: string): void {
    const count = this.#counts.get(key) ?? 0
    if (count > 1) this.#counts.set(key, count - 1)
    else this.#counts.delete(key)
  }
}
