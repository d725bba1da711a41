/**
 * Generating and hashing the secrets of API keys.
 */
import { hash, randomBytes, timingSafeEqual } from "node:crypto"

/** Generates and hashes secrets. */
export interface Secrets {
  /**
   * Generates a secret with 192 random bits: `cyc_live_` and 32 characters, the form of the reference server.
   */
  readonly make: () => string
  /** The hash that is stored instead of the secret. */
  readonly hash: (secret: string) => string
}

/** Secrets from a cryptographically secure source, hashed with SHA-256. */
export const makeSecure = (): Secrets => {
  // Every request carries a key, so hashes are cached.
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

/** Limits of the cache, because clients may send arbitrary secrets. */
const [maxCached, maxCachedLength] = [1_000, 64]

/** Compares two secrets in constant time. */
export const constantTimeEqual = (a: string, b: string): boolean =>
  timingSafeEqual(hash("sha256", a, "buffer"), hash("sha256", b, "buffer"))
