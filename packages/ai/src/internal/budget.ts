/** The budgets and rules of tools, which `CyclesToolkit` exports. */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount } from "@effect-cycles/protocol/Amount"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type { LeaseOptions, OnRepeat } from "effect-cycles/Cycles"
import type * as Tool from "effect/ai/Tool"

/**
 * The budget of a tool: the amount to reserve for a call, the actual amount, and the options of the reservation.
 *
 * @category options
 * @since 0.1.0
 */
export interface Budget<T extends Tool.Any> extends LeaseOptions {
  /**
   * The amount to reserve for a call. Fixed, or a function of the decoded parameters.
   *
   * If the function throws, the call dies with the thrown value, and the handler doesn't run.
   */
  readonly estimate: Amount | ((params: Tool.Parameters<T>) => Amount)
  /**
   * The actual amount of a call that succeeded. Fixed, or a function of the result. Default: the total that the handler
   * recorded, or else the estimate, marked as an estimate. A recorded total is never reduced.
   *
   * If the function throws, the estimate is committed first, and the call then dies with the thrown value.
   */
  readonly actual?: Amount | ((result: Tool.Success<T>) => Amount) | undefined
  /** The action of the reservation. Default: kind `tool.call`, and the name of the tool. */
  readonly action?: Action | undefined
  /** Merged into the ambient subject field by field. Default: the ambient subject. */
  readonly subject?: Subject | undefined
  /**
   * Whether a call runs again if an earlier run of the job has settled it. Only with a `namespace`. Default `refuse`.
   *
   * **Gotchas**
   *
   * With `ifReleased`, a call runs again if it was interrupted, or refused by a cap, and nothing was charged. An
   * interrupted tool may have acted: a message that it sent is sent again.
   */
  readonly onRepeat?: OnRepeat | undefined
  /**
   * Which calls need the approval of a user, in addition to those for which the tool itself requires it. Default: none.
   *
   * **Gotchas**
   *
   * `LanguageModel` asks for the approval, and so does an MCP server with a toolkit of `CyclesToolkit.guarded`. A
   * program that calls `handle` of any other toolkit doesn't.
   */
  readonly approval?: "always" | ((params: Tool.Parameters<T>) => boolean) | undefined
}

/**
 * How calls of a tool are guarded.
 *
 * - A `Budget` reserves before each call and commits after it.
 * - `free` runs each call without a reservation.
 * - `deny` refuses each call with an `execution-denied` result, without a request to Cycles.
 *
 * @category options
 * @since 0.1.0
 */
export type Rule<T extends Tool.Any = Tool.Any> = Budget<T> | "free" | "deny"
