/**
 * Caps: limits that an allowed action must obey, for example fewer output tokens.
 *
 * @see schema `Caps` of the Cycles protocol
 * @since 0.1.0
 */
import { dual } from "effect/Function"
import * as Schema from "effect/Schema"
import { struct } from "./internal/fieldNames.ts"
import * as Wire from "./internal/schema.ts"

/**
 * Schema of the caps in a response whose decision is `ALLOW_WITH_CAPS`. An absent field sets no limit.
 *
 * @see schema `Caps` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const Caps = struct({
  /** The largest number of tokens to generate. */
  maxTokens: Schema.optionalKey(Wire.natural),
  /** The number of steps that a loop may still take. */
  maxStepsRemaining: Schema.optionalKey(Wire.natural),
  /** If it isn't empty, only these tools are allowed, and the denylist is ignored. */
  toolAllowlist: Schema.optionalKey(Schema.Array(Schema.String)),
  /** If the allowlist is empty, all tools except these are allowed. */
  toolDenylist: Schema.optionalKey(Schema.Array(Schema.String)),
  /** How long to wait before the action, in milliseconds. */
  cooldownMs: Schema.optionalKey(Wire.natural)
})

/**
 * Limits that an allowed action must obey.
 *
 * @category models
 * @since 0.1.0
 */
export type Caps = typeof Caps.Type

/**
 * Returns whether caps allow a tool. Names are case-sensitive. An empty list has no effect.
 *
 * @example
 * ```ts
 * import { Caps } from "@effect-cycles/protocol"
 *
 * const caps: Caps.Caps = { toolDenylist: ["shell"] }
 *
 * console.log(Caps.isToolAllowed(caps, "search")) // true
 * console.log(Caps.isToolAllowed(caps, "shell")) // false
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const isToolAllowed: {
  (name: string): (self: Caps) => boolean
  (self: Caps, name: string): boolean
} = dual(2, (self: Caps, name: string): boolean => {
  if (self.toolAllowlist !== undefined && self.toolAllowlist.length > 0) return self.toolAllowlist.includes(name)
  return self.toolDenylist === undefined || !self.toolDenylist.includes(name)
})
