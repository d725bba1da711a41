/**
 * Keys: how they are made, and how they are kept.
 */
import { hash, randomBytes, timingSafeEqual } from "node:crypto"

/** Makes and hashes the secrets of keys. */
export interface Secrets {
  /**
   * A new secret, 192 random bits: `cyc_live_` and 32 characters is the form that programs know of the reference server, and
   * it has room for no more.
   */
  readonly make: () => string
  /** What is kept of a secret. */
  readonly hash: (secret: string) => string
}

/** Secrets from a secure source. */
export const makeSecure = (): Secrets => {
  // A key comes with each of its requests.
  const hashes = new Map<string, string>()
  return {
    make: () => `cyc_live_${randomBytes(24).toString("base64url")}`,
    hash: (secret) => {
      const cached = hashes.get(secret)
      if (cached !== undefined) return cached
      const text = hash("sha256", secret, "base64url")
      if (secret.length <= maxCachedLength) {
        if (hashes.size >= maxCached) hashes.clear()
        hashes.set(secret, text)
      }
      return text
    }
  }
}

/** How many are kept, and how long they may be: a wrong one may be anything. */
const [maxCached, maxCachedLength] = [1_000, 64]

/** Whether two secrets are the same, in a time that doesn't tell where they differ. */
export const constantTimeEqual = (a: string, b: string): boolean =>
  timingSafeEqual(hash("sha256", a, "buffer"), hash("sha256", b, "buffer"))
