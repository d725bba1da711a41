/**
 * undici, if it is there and is undici: it is an optional peer, and Bun puts a shim without `dispatch` in its place.
 */
import * as Effect from "effect/Effect"
import type * as Module from "undici"

/** The part of undici that is used. */
export type Undici = Pick<typeof Module, "Agent" | "ProxyAgent" | "buildConnector">

/** Loads it; `undefined` if it is missing or can't dispatch. */
export const load: Effect.Effect<Undici | undefined> = Effect.promise(() =>
  import("undici").then(
    (module) => (isReal(module) ? module : undefined),
    () => undefined
  )
)

const isReal = (module: Partial<Undici>): module is Undici =>
  typeof module.buildConnector === "function" &&
  typeof module.ProxyAgent === "function" &&
  typeof module.Agent === "function" &&
  typeof module.Agent.prototype.dispatch === "function"
