/**
 * Measurements of an action that accompany a commit or an event. They don't affect the charge.
 *
 * @see schema `StandardMetrics` of the Cycles protocol
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { struct } from "./internal/fieldNames.ts"
import * as Wire from "./internal/schema.ts"
import * as Limits from "./Limits.ts"

/** The reference server stores these in 32 bits. */
const count = Wire.integer(0, Limits.maxMetric)

/**
 * Schema of the measurements of an action. Counts and the latency are at most 2^31-1.
 *
 * @see schema `StandardMetrics` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const Metrics = struct({
  /** The number of input tokens. */
  tokensInput: Schema.optional(count),
  /** The number of output tokens. */
  tokensOutput: Schema.optional(count),
  /** The duration of the action, in milliseconds. */
  latencyMs: Schema.optional(count),
  /** The model or tool that was used, at most 128 characters. */
  modelVersion: Schema.optional(Wire.text(0, Limits.maxModelVersion)),
  /** Arbitrary JSON. */
  custom: Schema.optional(Wire.jsonObject)
})

/**
 * Measurements of an action.
 *
 * @category models
 * @since 0.1.0
 */
export type Metrics = typeof Metrics.Type
