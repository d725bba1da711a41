/**
 * The limits of a run: its steps and tool calls, and those of its children.
 *
 * Every method is synchronous. A check and the count that follows it therefore are one step over the run and all runs
 * around it, and parallel calls can't take the same step twice.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { BudgetExceeded } from "../../CyclesError.ts"
import { denialOf } from "./denial.ts"
import type { SnapshotCounts } from "./snapshot.ts"
import type { Reference } from "./summary.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The limits of a run. Each is an integer of at least 0. The steps and tool calls of children count in their parent,
 * and a call must be within the limits of its run and of every run around it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  /**
   * The highest number of steps: calls of language models, including the calls whose response was lost or unusable. A
   * call that the budget denied, that wasn't sent, or that the provider refused isn't a step. Default: no limit.
   *
   * In the last step the model can't call tools, so that it has to respond. The next call is denied with the code
   * `RUN_STEPS_EXCEEDED`.
   */
  readonly steps?: number | undefined
  /**
   * The highest number of tool calls. The next call is denied with the code `RUN_TOOL_CALLS_EXCEEDED`. A call that the
   * budget refuses counts as well, so that a model can't repeat it forever. Default: no limit.
   */
  readonly toolCalls?: number | undefined
  /**
   * The highest number of calls of each tool, or of the given tools by name. The next call is denied with the code
   * `RUN_TOOL_CALLS_EXCEEDED`. Default: no limit.
   */
  readonly callsPerTool?: number | { readonly [tool: string]: number } | undefined
  /**
   * The highest number of calls of the same tool with the same parameters, in the whole run. The order of the keys in
   * the parameters doesn't matter. The next such call is denied with the code `RUN_REPEATED_CALL`. `default` applies to
   * tools that have no number here. Default: no limit.
   */
  readonly repeats?: number | { readonly default: number; readonly [tool: string]: number } | undefined
}

/**
 * A counted call of a language model. Its functions are synchronous.
 *
 * @category models
 * @since 0.1.0
 */
export interface Step {
  /** The number of the step in the current run, from 1; 0 without a run. A step that is given back frees its number. */
  readonly number: number
  /**
   * Returns whether no step is left after the steps that have been taken. The model has to respond without tools then,
   * since a later call with the results of the tools would be denied.
   */
  readonly isLast: () => boolean
  /**
   * Allows at most this number of steps after the ones that have been taken, as the cap `max_steps_remaining` does. The
   * lowest number applies, and later steps count down from it. Throws a `RangeError` if it isn't an integer of at least
   * 0.
   */
  readonly allowMore: (steps: number) => void
  /** Counts a tool call that the provider made itself. Such a call counts for later calls, and can't be denied. */
  readonly countToolCall: (tool: string) => void
  /** Takes the step back, because the request wasn't sent or was refused. Only the first call has an effect. */
  readonly giveBack: () => void
}

/** The limits of a run with defaults. A limit without a number is `undefined`. */
export interface Checked {
  readonly steps: number | undefined
  readonly toolCalls: number | undefined
  readonly callsPerTool: (tool: string) => number | undefined
  readonly repeats: ((tool: string) => number) | undefined
}

/** A tool call, as its guard receives it. */
export interface ToolCall {
  readonly tool: string
  /** The encoded parameters. */
  readonly params: unknown
}

// ---------------------------------------------------------------------------------------------------------------------
// validation
// ---------------------------------------------------------------------------------------------------------------------

/** Adds the defaults. Throws a `RangeError` if a limit is out of range. */
export const validate = ({ callsPerTool, repeats, steps, toolCalls }: Limits = {}): Checked => {
  const perTool = byTool("limits.callsPerTool", callsPerTool)
  const perCall = byTool("limits.repeats", repeats)
  const fallback = typeof repeats === "object" ? count("limits.repeats.default", repeats.default) : undefined
  return {
    steps: steps === undefined ? undefined : count("limits.steps", steps),
    toolCalls: toolCalls === undefined ? undefined : count("limits.toolCalls", toolCalls),
    callsPerTool: perTool ?? (() => undefined),
    repeats: perCall === undefined ? undefined : (tool) => perCall(tool) ?? fallback ?? Number.POSITIVE_INFINITY
  }
}

/** The number of each tool. The numbers are copied, so that later changes of the object have no effect. */
const byTool = (
  field: string,
  limit: number | { readonly [tool: string]: number } | undefined
): ((tool: string) => number | undefined) | undefined => {
  if (limit === undefined) return undefined
  if (typeof limit !== "object" || limit === null) {
    const checked = count(field, limit)
    return () => checked
  }
  const counts = new Map(Object.entries(limit).map(([tool, value]) => [tool, count(`${field}.${tool}`, value)]))
  return (tool) => counts.get(tool)
}

const count = (field: string, value: number): number => {
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new RangeError(`${field}: expected an integer of at least 0, got ${String(value)}`)
}

// ---------------------------------------------------------------------------------------------------------------------
// counters
// ---------------------------------------------------------------------------------------------------------------------

/** The steps and tool calls of a run and its children. */
export class Counters {
  readonly #run: Reference
  readonly #limits: Checked
  /** The counters of this run and of the runs around it. */
  readonly #chain: ReadonlyArray<Counters>
  #steps = 0
  /** The highest number of steps: the limit of the run, or less by `allowMore`. */
  #maxSteps: number
  #toolCalls = 0
  readonly #perTool = new Map<string, number>()
  /** The number of calls by tool and parameters. Empty without a limit of repeats. */
  readonly #repeats = new Map<string, number>()

  constructor(run: Reference, limits: Checked, parent: Counters | undefined) {
    this.#run = run
    this.#limits = limits
    this.#maxSteps = limits.steps ?? Number.POSITIVE_INFINITY
    this.#chain = parent === undefined ? [this] : [this, ...parent.#chain]
  }

  /** The number of steps, children included. */
  get steps(): number {
    return this.#steps
  }

  /** The number of tool calls, children included. */
  get toolCalls(): number {
    return this.#toolCalls
  }

  /** The counts for a snapshot. */
  snapshot(): SnapshotCounts {
    return {
      steps: this.#steps,
      ...(this.#maxSteps < (this.#limits.steps ?? Number.POSITIVE_INFINITY) ? { maxSteps: this.#maxSteps } : {}),
      toolCalls: this.#toolCalls,
      perTool: Array.from(this.#perTool),
      repeats: Array.from(this.#repeats)
    }
  }

  /** Continues from the counts of a snapshot, except in the runs around this one. */
  restore(counts: SnapshotCounts): void {
    this.#addOwn(counts)
    this.#maxSteps = Math.min(this.#maxSteps, counts.maxSteps ?? Number.POSITIVE_INFINITY)
  }

  /** Adds the counts of a child to this run and the runs around it. */
  add(counts: SnapshotCounts): void {
    for (const run of this.#chain) run.#addOwn(counts)
  }

  #addOwn(counts: SnapshotCounts): void {
    this.#steps += counts.steps
    this.#toolCalls += counts.toolCalls
    for (const [tool, calls] of counts.perTool) this.#perTool.set(tool, (this.#perTool.get(tool) ?? 0) + calls)
    for (const [call, calls] of counts.repeats) this.#repeats.set(call, (this.#repeats.get(call) ?? 0) + calls)
  }

  /** Counts a step in this run and the runs around it. Returns the denial if one of them allows no more. */
  takeStep(action: Action): Step | BudgetExceeded {
    const full = this.#chain.find((run) => run.#steps >= run.#maxSteps)
    if (full !== undefined) return full.#deny(action, "RUN_STEPS_EXCEEDED", full.#stepsHint())
    for (const run of this.#chain) run.#steps += 1
    let isGivenBack = false
    return {
      number: this.#steps,
      isLast: () => this.#chain.some((run) => run.#steps >= run.#maxSteps),
      allowMore: (steps) => {
        count("steps", steps)
        for (const run of this.#chain) run.#maxSteps = Math.min(run.#maxSteps, run.#steps + steps)
      },
      countToolCall: (tool) => {
        for (const run of this.#chain) run.#countToolCall(tool)
      },
      giveBack: () => {
        if (isGivenBack) return
        isGivenBack = true
        for (const run of this.#chain) run.#steps -= 1
      }
    }
  }

  /** Counts a tool call in this run and the runs around it. Returns the denial if one of them allows no more. */
  takeToolCall(action: Action, { params, tool }: ToolCall): BudgetExceeded | undefined {
    for (const run of this.#chain) {
      const hint = run.#toolCallsHint(tool)
      if (hint !== undefined) return run.#deny(action, "RUN_TOOL_CALLS_EXCEEDED", hint)
    }
    const limited = this.#chain.filter((run) => run.#limits.repeats !== undefined)
    const text = limited.length === 0 ? undefined : canonical(params)
    const key = text === undefined ? undefined : JSON.stringify([tool, text])
    if (key !== undefined) {
      for (const run of limited) {
        const most = run.#limits.repeats?.(tool) ?? Number.POSITIVE_INFINITY
        if ((run.#repeats.get(key) ?? 0) < most) continue
        const allowed = `${plural(most, "call")} of ${tool} with the same parameters`
        const hint = `the run allows ${allowed}: raise limits.repeats for a tool that polls`
        return run.#deny(action, "RUN_REPEATED_CALL", hint)
      }
      for (const run of limited) run.#repeats.set(key, (run.#repeats.get(key) ?? 0) + 1)
    }
    for (const run of this.#chain) run.#countToolCall(tool)
    return undefined
  }

  #countToolCall(tool: string): void {
    this.#toolCalls += 1
    this.#perTool.set(tool, (this.#perTool.get(tool) ?? 0) + 1)
  }

  #stepsHint(): string {
    return this.#limits.steps === this.#maxSteps
      ? `the run allows ${plural(this.#maxSteps, "step")}: raise limits.steps if the job needs more`
      : `the cap max_steps_remaining of the budget allows ${plural(this.#maxSteps, "step")} in this run`
  }

  #toolCallsHint(tool: string): string | undefined {
    const { callsPerTool, toolCalls = Number.POSITIVE_INFINITY } = this.#limits
    if (this.#toolCalls >= toolCalls)
      return `the run allows ${plural(toolCalls, "tool call")}: raise limits.toolCalls if the job needs more`
    const most = callsPerTool(tool) ?? Number.POSITIVE_INFINITY
    if ((this.#perTool.get(tool) ?? 0) < most) return undefined
    return `the run allows ${plural(most, "call")} of ${tool}: raise limits.callsPerTool if the job needs more`
  }

  #deny(action: Action, code: string, hint: string): BudgetExceeded {
    return denialOf(this.#run, code, { action, amount: undefined }, undefined, hint)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The parameters of a call as JSON with sorted keys, so that equal parameters have equal texts. Parameters that have no
 * JSON, such as cyclic ones or instances of classes, have no text: their calls can't be compared, and never count as
 * repeated.
 */
const canonical = (params: unknown): string | undefined => {
  try {
    return JSON.stringify(params, sorted) ?? ""
  } catch {
    return undefined
  }
}

/** A count with its noun. */
export const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

const sorted = (_key: string, value: unknown): unknown => {
  if (typeof value === "bigint") return { bigint: value.toString() }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) throw new TypeError("The object has no JSON")
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
