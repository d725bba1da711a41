/**
 * The budget of a tool, as `CyclesToolkit` exports it.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount } from "@effect-cycles/protocol/Amount"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type { LeaseOptions } from "effect-cycles/Cycles"
import type * as Tool from "effect/ai/Tool"

/** What calls of a tool cost, and who is asked first. */
export interface Budget<T extends Tool.Any> extends Omit<LeaseOptions, "dryRun"> {
  /** How much a call is reserved with, fixed or from its parameters. */
  readonly estimate: Amount | ((params: Tool.Parameters<T>) => Amount)
  /** What a call that succeeded cost. Default: what its handler recorded, or else the estimate. */
  readonly actual?: Amount | ((result: Tool.Success<T>) => Amount) | undefined
  /** Default: kind `tool.call`, name the tool's. */
  readonly action?: Action | undefined
  /** Merged into the ambient subject, nearest wins. */
  readonly subject?: Subject | undefined
  /**
   * Whether a call waits for a human's approval, besides what the tool says itself: by the approvals of `effect/ai`.
   * Default: never.
   */
  readonly approval?: "always" | ((params: Tool.Parameters<T>) => boolean) | undefined
}
