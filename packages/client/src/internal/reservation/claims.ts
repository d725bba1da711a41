/**
 * Which keys of callers' own are in use in this process: from the moment that a reserve is asked for until its settlement
 * is decided. What is in use is not given back by an earlier attempt under the same key.
 */
import * as Effect from "effect/Effect"
import type { Engine } from "../runtime/runtime.ts"
import type { Held } from "./handle.ts"
import type { Prepared } from "./options.ts"

/** The keys that are in use. */
export interface Claims {
  readonly isClaimed: (key: string) => boolean
  readonly claim: (key: string) => void
  readonly yield: (key: string) => void
}

/** Makes an empty set of claims. */
export const make = (): Claims => {
  const counts = new Map<string, number>()
  return {
    isClaimed: (key) => counts.has(key),
    claim: (key) => void counts.set(key, (counts.get(key) ?? 0) + 1),
    yield: (key) => {
      const count = counts.get(key) ?? 0
      if (count > 1) counts.set(key, count - 1)
      else counts.delete(key)
    }
  }
}

/** Claims the key of a reserve while it is asked for; the claim stays with what is held. */
export const during = <E, R>(
  engine: Engine,
  prepared: Prepared,
  open: Effect.Effect<Held, E, R>
): Effect.Effect<Held, E, R> => {
  if (!prepared.isCallersKey) return open
  return Effect.suspend(() => {
    engine.claims.claim(prepared.key)
    return Effect.onError(open, () => Effect.sync(() => engine.claims.yield(prepared.key)))
  })
}

/** Yields the claim of what was held, once. */
export const settled = (engine: Engine, held: Held): void => {
  if (!held.isClaiming) return
  held.isClaiming = false
  engine.claims.yield(held.prepared.key)
}
