/**
 * Ids of stored objects and of requests.
 */
import { randomUUID } from "node:crypto"

/** A random UUID (version 4). */
export const uuidV4 = (): string => randomUUID()

/**
 * A UUID that starts with the time (version 7). Ids of successive rows are adjacent in an index, so inserts touch only its last
 * pages.
 *
 * @see RFC 9562, section 5.7
 */
export const uuidV7 = (): string => {
  const time = Date.now().toString(16).padStart(12, "0")
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`
}
