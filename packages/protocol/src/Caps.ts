/**
 * What an act has to keep to, although it is allowed.
 *
 * Source: Caps of the protocol.
 */
import { dual } from "effect/Function"
import * as Schema from "effect/Schema"
import { struct } from "./internal/names.ts"
import * as Wire from "./internal/schema.ts"

/** What an act has to keep to. */
export const Caps = struct({
  /** The most tokens that may be generated. */
  maxTokens: Schema.optionalKey(Wire.natural),
  /** How many steps a loop may still take. */
  maxStepsRemaining: Schema.optionalKey(Wire.natural),
  /** Where it isn't empty, only these tools. */
  toolAllowlist: Schema.optionalKey(Schema.Array(Schema.String)),
  /** Not these tools; has no effect beside an allowlist. */
  toolDenylist: Schema.optionalKey(Schema.Array(Schema.String)),
  /** How long to wait before the act, in milliseconds. */
  cooldownMs: Schema.optionalKey(Wire.natural)
})

/** What an act has to keep to. */
export type Caps = typeof Caps.Type

/**
 * Whether a tool may be used. A list that is empty allows or denies nothing; names are case-sensitive.
 */
export const isToolAllowed: {
  (name: string): (self: Caps) => boolean
  (self: Caps, name: string): boolean
} = dual(2, (self: Caps, name: string): boolean => {
  if (self.toolAllowlist !== undefined && self.toolAllowlist.length > 0) return self.toolAllowlist.includes(name)
  return self.toolDenylist === undefined || !self.toolDenylist.includes(name)
})
