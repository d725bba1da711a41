/**
 * What is told of an act besides its cost.
 *
 * Source: StandardMetrics of the protocol.
 */
import * as Schema from "effect/Schema"
import { struct } from "./internal/names.ts"
import * as Wire from "./internal/schema.ts"
import * as Limits from "./Limits.ts"

/** The reference server holds these in 32 bits. */
const count = Wire.integer(0, Limits.maxMetric)

/** What is told of an act besides its cost. */
export const Metrics = struct({
  tokensInput: Schema.optional(count),
  tokensOutput: Schema.optional(count),
  /** How long it took, in milliseconds. */
  latencyMs: Schema.optional(count),
  /** The model or tool that was really used, at most 128 characters. */
  modelVersion: Schema.optional(Wire.text(0, Limits.maxModelVersion)),
  /** JSON of the user's own. */
  custom: Schema.optional(Wire.jsonObject)
})

/** What is told of an act besides its cost. */
export type Metrics = typeof Metrics.Type
