/**
 * The result of a refused tool call: an `execution-denied` result, in the form of a denied approval, which every
 * provider accepts. Its reason is written for the model: what was refused and why, that the tool didn't run, and what to
 * do instead.
 */
import { isToolAllowed } from "@effect-cycles/protocol/Caps"
import type { Caps } from "@effect-cycles/protocol/Caps"
import type { AlreadySettled, BudgetExceeded } from "effect-cycles/CyclesError"
import * as Tool from "effect/ai/Tool"
import * as Duration from "effect/Duration"
import { assumeResult } from "./assume.ts"
import type { BudgetError } from "../CyclesAiError.ts"
import type { CapName } from "./observe.ts"

/** A cap that refuses a call. */
export interface RefusedBy {
  /** The cap, as in the metrics. */
  readonly cap: CapName
  /** The reason for the model. */
  readonly reason: string
}

/** The denial of a call by the budget, or of a call that an earlier run of the job has made. */
export const denied = <T extends Tool.Any>(tool: T, error: BudgetExceeded | AlreadySettled): Tool.HandlerResult<T> =>
  resultOf(tool, error._tag === "BudgetExceeded" ? exceeded(tool, error) : repeated(tool))

/** The denial of a call by a cap of its reservation. */
export const refused = <T extends Tool.Any>(tool: T, by: RefusedBy): Tool.HandlerResult<T> => resultOf(tool, by.reason)

/** The denial of a call by the rule `deny`. */
export const forbidden = <T extends Tool.Any>(tool: T): Tool.HandlerResult<T> =>
  resultOf(tool, `This program doesn't allow calls of ${tool.name}. ${notRun} Continue without this tool.`)

/** The denial of a call that needs the approval of a user, if the user declined or can't be asked. */
export const unapproved = <T extends Tool.Any>(tool: T, why: "declined" | "unavailable"): Tool.HandlerResult<T> =>
  resultOf(
    tool,
    why === "declined"
      ? `The user didn't approve this call of ${tool.name}. ${notRun} Don't repeat it.`
      : `Calls of ${tool.name} need the approval of a user, and this client can't ask for it: it doesn't support ` +
          `elicitation, or its session has ended. ${notRun} Continue without this tool.`
  )

/** The denial of a call whose budget couldn't be checked, or whose lease was lost. */
export const failed = <T extends Tool.Any>(tool: T, error: BudgetError): Tool.HandlerResult<T> =>
  resultOf(tool, error._tag === "LeaseLost" ? lost(tool) : unchecked(tool, error))

/** The cap of a reservation that refuses a call of a tool, if there is one. */
export const refusalOf = (tool: Tool.Any, caps: Caps): RefusedBy | undefined => {
  const { name } = tool
  const { maxStepsRemaining, toolAllowlist = [] } = caps
  if (!isToolAllowed(caps, name)) return listed(name, toolAllowlist.length > 0 ? "tool_allowlist" : "tool_denylist")
  if (maxStepsRemaining !== 0) return undefined
  return {
    cap: "max_steps_remaining",
    reason:
      `The budget allows no more steps, so ${name} can't be called (max_steps_remaining is 0). ${notRun} ` +
      "Don't call any more tools. Reply with the information that you have."
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const notRun = "The tool did not run."

const exceeded = (tool: Tool.Any, error: BudgetExceeded): string => {
  if (error.code === "RUN_TOOL_CALLS_EXCEEDED") {
    return (
      `No more calls of ${tool.name} are allowed in this run. Respond with what you know. ${notRun} ` +
      `(${error.code}, 0 calls left)`
    )
  }
  if (error.code === "RUN_REPEATED_CALL") {
    return (
      `${tool.name} has been called with these arguments too often; the result won't change. ${notRun} ` +
      `Respond with what you know, or use other arguments. (${error.code}, 0 calls left)`
    )
  }
  const requested = error.requested === undefined ? "" : `: it needs ${error.requested}`
  const joint = requested === "" ? ": " : ", and "
  const remaining = error.remaining === undefined ? "" : `${joint}${error.remaining} remain`
  const wait = error.retryAfter === undefined ? "" : ` within ${Duration.format(error.retryAfter)}`
  return (
    `The budget refused this call of ${tool.name} (${error.code})${requested}${remaining}. ${notRun} ` +
    `Don't repeat this call${wait}. Continue without it, or make a call that needs less.`
  )
}

const unchecked = (tool: Tool.Any, error: BudgetError): string => {
  const isRetryable = "isRetryable" in error && error.isRetryable
  const advice = isRetryable ? "Try again later." : "Don't repeat this call. Continue without this tool."
  return `The budget of this call of ${tool.name} couldn't be checked (${error._tag}). ${notRun} ${advice}`
}

const lost = (tool: Tool.Any): string =>
  `The budget of this call of ${tool.name} ended before the call did. The tool may have run, and its result isn't ` +
  "available. Don't repeat this call."

/** The reservation of the earlier call may have been released, so it may not have run to its end. */
const repeated = (tool: Tool.Any): string =>
  `An earlier run of this job has already made this call of ${tool.name}. It did not run again, and its result isn't ` +
  "available. Don't repeat it. Continue without its result."

const listed = (name: string, list: "tool_allowlist" | "tool_denylist"): RefusedBy => ({
  cap: "tool_lists",
  reason: `The budget doesn't allow calls of ${name} (${list}). ${notRun} Continue without this tool.`
})

const resultOf = <T extends Tool.Any>(tool: T, reason: string): Tool.HandlerResult<T> => {
  const result: unknown = { type: "execution-denied", reason } satisfies typeof Tool.ExecutionFailure.Type
  assumeResult<T>(tool, result)
  return { result, encodedResult: result, isFailure: true, failureOrigin: "handler", preliminary: false }
}
