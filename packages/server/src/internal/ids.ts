/**
 * Names of things and of requests.
 */
import { randomUUID } from "node:crypto"

/** A random name, a UUID of version 4. */
export const uuidV4 = (): string => randomUUID()

/**
 * A name that begins with the time, a UUID of version 7: those that are made one after another are neighbours in an index, and
 * the index grows at its end instead of all over.
 *
 * Source: RFC 9562, 5.7.
 */
export const uuidV7 = (): string => {
  const time = Date.now().toString(16).padStart(12, "0")
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`
}
