/**
 * Fields of request bodies.
 */
import * as Predicate from "effect/Predicate"

/** Returns a top-level field of a JSON body; `undefined` if it is absent or the body isn't JSON. */
export const fieldOf = (body: string | undefined, name: string): unknown => {
  if (body === undefined || body === "") return undefined
  try {
    const json: unknown = JSON.parse(body)
    return Predicate.hasProperty(json, name) ? json[name] : undefined
  } catch {
    // A client under test may send a body that isn't JSON.
    return undefined
  }
}
