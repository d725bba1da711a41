/**
 * The request of a call, and what all calls of a guarded model share.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type { Cycles } from "effect-cycles/Cycles"
import type { LeaseOptions, Metadata } from "effect-cycles/Cycles"
import type { Step } from "effect-cycles/RunLimits"
import type { Settlement } from "effect-cycles/Settlement"
import type * as Effect from "effect/Effect"
import type { Span } from "effect/Tracer"
import type * as Estimator from "../Estimator.ts"
import type * as Pricing from "../Pricing.ts"

/** The units that a call is charged in. */
export type Units = "tokens" | "usd" | "both"

/** The services and options that all calls of a guarded model share. */
export interface Guard {
  readonly cycles: Cycles
  readonly units: Units
  readonly pricing: Pricing.Pricing | undefined
  readonly estimator: Estimator.Estimator
  readonly lease: Omit<LeaseOptions, "onSettled">
}

/** A call to reserve budget for. */
export interface Request {
  readonly provider: string | undefined
  readonly model: string
  readonly action: Action
  readonly subject: Subject | undefined
  readonly metadata: Metadata | undefined
  readonly estimate: Estimator.Estimate
  /** The highest number of output tokens. */
  readonly outputTokens: number
  /** The tools that the provider may run itself: the provider's name of each tool by its name in the request. */
  readonly providerTools: ReadonlyMap<string, string>
  readonly span: Span
  /** The step of the current run. Absent if the call isn't one. It is given back if the provider isn't asked. */
  readonly step: Step | undefined
  /** Runs with each settlement of the call. */
  readonly onSettled: ((settlement: Settlement) => Effect.Effect<unknown>) | undefined
}

/** The name of a model in estimates and actions. */
export const nameOf = (provider: string | undefined, model: string): string =>
  provider === undefined ? model : `${provider}:${model}`
