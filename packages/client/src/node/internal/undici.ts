/** Loads undici, an optional peer dependency. Bun replaces it with a shim without `dispatch`. */
import * as Effect from "effect/Effect"
import type * as Module from "undici"

/** The part of undici that the transport uses. */
export type Undici = Pick<typeof Module, "Agent" | "ProxyAgent" | "buildConnector">

/** Loads undici; `undefined` if it is missing or has no `dispatch`. */
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
