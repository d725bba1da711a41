/**
 * Fields of request bodies.
 */
import * as Predicate from "effect/Predicate"

/** The value of a top-level field of a JSON body, `undefined` without one. */
export const fieldOf = (body: string | undefined, name: string): unknown => {
  if (body === undefined || body === "") return undefined
  try {
    const json: unknown = JSON.parse(body)
    return Predicate.hasProperty(json, name) ? json[name] : undefined
  } catch {
    // A client that is under test may send anything.
    return undefined
  }
}
