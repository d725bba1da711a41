/**
 * Guards the tools of a toolkit: each call reserves its estimate, runs the handler only if the budget allows it, and
 * commits the actual amount.
 *
 * **Details**
 *
 * - A refused call returns an `execution-denied` result with a reason for the model. The handler doesn't run, and the
 *   model can continue without it.
 * - The caps of the reservation apply to the call: the tool lists and `max_steps_remaining: 0` refuse it and release the
 *   reservation, and `cooldown_ms` delays the handler.
 * - Within a run, each call counts toward the limits of tool calls, calls per tool and repeats, whether it has a budget
 *   or is free. Beyond a limit the handler doesn't run, and the reason asks the model to respond with what it knows.
 * - A handler can record its spend through `Reservation.current`. Recorded spend is committed even if the handler fails.
 * - A failed call is settled by `onFailure`, whether the tool throws its failure or returns it as a result.
 * - If Cycles is unavailable, the call fails with an `AiError`; `CyclesAiError.causeOf` returns the error of the client.
 *
 * **Gotchas**
 *
 * Provider-executed tools never reach a handler, so they can't be guarded or limited. Their cost is part of the usage
 * of the model, and a guarded model counts their calls toward the tool calls of the run.
 *
 * **Example** (Guarding a toolkit)
 *
 * ```ts
 * import { CyclesToolkit } from "@effect-cycles/ai"
 * import { Effect, Schema } from "effect"
 * import { Tool, Toolkit } from "effect/ai"
 * import { Amount } from "effect-cycles"
 *
 * const Search = Tool.make("search", {
 *   parameters: Schema.Struct({ query: Schema.String }),
 *   success: Schema.Struct({ hits: Schema.Int })
 * })
 * const tools = Toolkit.make(Search)
 *
 * export const toolkit = CyclesToolkit.guard(tools, {
 *   search: { estimate: Amount.usd("0.05"), actual: ({ hits }) => Amount.usd(hits * 0.001) }
 * }).pipe(Effect.provide(tools.toLayer({ search: ({ query }) => Effect.succeed({ hits: query.length }) })))
 * ```
 *
 * @see createReservation, commitReservation and releaseReservation of the protocol
 * @since 0.1.0
 */
import { Cycles } from "effect-cycles/Cycles"
import { CurrentRun } from "effect-cycles/Run"
import * as RunLimits from "effect-cycles/RunLimits"
import type { Subject } from "effect-cycles/Subject"
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { assumeParameters, assumeRule, assumeTools } from "./internal/assume.ts"
import type { Rule } from "./internal/budget.ts"
import * as Denial from "./internal/denial.ts"
import type { Request } from "./internal/mcp/request.ts"
import * as Served from "./internal/mcp/served.ts"
import * as Guarded from "./internal/tool.ts"
import * as ToolKeys from "./internal/toolKeys.ts"
import { decode } from "./internal/toolParameters.ts"

// ---------------------------------------------------------------------------------------------------------------------
// options
// ---------------------------------------------------------------------------------------------------------------------

export type {
  /** The budget of a tool. */
  Budget,
  /** How calls of a tool are guarded. */
  Rule
} from "./internal/budget.ts"

export type {
  /** A tool call that an MCP server has received. */
  Request
} from "./internal/mcp/request.ts"

/**
 * The budgets of the tools of a toolkit, by name. Tools without a budget follow the default rule.
 *
 * @category options
 * @since 0.1.0
 */
export type Budgets<Tools extends Record<string, Tool.Any>> = {
  readonly [Name in keyof Tools]?: Rule<Tools[Name]> | undefined
}

/**
 * The rule for tools that `Budgets` doesn't name.
 *
 * @category options
 * @since 0.1.0
 */
export interface Rules {
  /**
   * The rule for a tool without a budget. Fixed, or a function of the tool, which runs once for each tool when the
   * toolkit is built. Default: `free`.
   */
  readonly default?: Rule | ((tool: Tool.Any) => Rule) | undefined
}

/**
 * The options that all tools of a guarded toolkit share.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Makes the idempotency keys of tool calls reproducible, so that a job that runs again doesn't run a tool call twice.
   * 1 to 100 characters, different for each job and the same for each run of it. Default: the id of the current
   * `Run`, if it was chosen, for calls with an id. Every other call has a fresh random key.
   *
   * **Details**
   *
   * - The key of a call is `namespace:id`, and `namespace:id~2` and so on if the id of the tool call is repeated. Calls
   *   are numbered in the order in which they start. Ids that are long or contain special characters are hashed; calls
   *   without an id are numbered by the name of the tool.
   * - Another run with the same ids in the same order has the same keys. A call that is already settled returns
   *   an `execution-denied` result, and a call that was interrupted before its settlement takes over its reservation.
   *   The option `onRepeat` of a budget runs a settled call again.
   *
   * **Gotchas**
   *
   * - The numbers belong to one result of `guard`: call it once for each run of the job, not once for each model call.
   *   Two guarded toolkits of the same job need different namespaces. The default numbers the calls of all toolkits in
   *   a run together.
   * - A call that was refused by a cap, or interrupted before its handler started, counts as made.
   * - A run that makes a different call under the same id fails with IDEMPOTENCY_MISMATCH, or is refused.
   */
  readonly namespace?: string | undefined
}

/**
 * The options of tools that an MCP server serves.
 *
 * @category options
 * @since 0.1.0
 */
export interface ServedOptions {
  /**
   * The subject of a call, fixed or a function of the request. It is merged into the ambient subject field by field,
   * and the subject of the tool's budget is merged into it. Everything guarded inside the handler is charged to it as
   * well. Default: the ambient subject.
   *
   * **Gotchas**
   *
   * - Don't charge a subject that a client can choose freely: `params`, `client` and `meta` of the request aren't
   *   authenticated.
   * - If the function throws, the call fails with an internal error, and the handler doesn't run.
   */
  readonly subject?: Subject | ((request: Request) => Subject | undefined) | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Guards the tools of a toolkit. The result replaces the toolkit wherever `LanguageModel` accepts one.
 *
 * **Details**
 *
 * Accepts a `Toolkit`, the `WithHandler` that it builds, and an effect of a `WithHandler` such as `McpClient.toolkit`.
 * A toolkit that is guarded already reserves twice for each call; the first time, it logs a warning.
 *
 * **Gotchas**
 *
 * - Building the toolkit dies with a `RangeError` if the namespace is empty or too long.
 * - `LanguageModel.generateText` accepts a toolkit effect only if it can't fail. Run the effect of an MCP toolkit first.
 *
 * **Errors**
 *
 * Calls of guarded tools fail with an `AiError` if the reserve fails, except for a denial, and with the heartbeat
 * policies `failOnFinalize` and `cancel` if the lease is lost.
 *
 * **Example** (Guarding the tools of an MCP server)
 *
 * ```ts
 * import { CyclesToolkit } from "@effect-cycles/ai"
 * import { Effect } from "effect"
 * import { LanguageModel, McpClient } from "effect/ai"
 * import { Amount } from "effect-cycles"
 *
 * export const tidyUp = (client: McpClient.McpClient) =>
 *   Effect.gen(function* () {
 *     const toolkit = yield* CyclesToolkit.guard(
 *       McpClient.toolkit(client, "crm__"),
 *       { crm__send: { estimate: Amount.riskPoints(20), approval: "always" } },
 *       { default: (tool) => (tool.name.startsWith("crm__get") ? "free" : { estimate: Amount.riskPoints(5) }) }
 *     )
 *     return yield* LanguageModel.generateText({ prompt: "Tidy up", toolkit })
 *   })
 * ```
 *
 * @see createReservation, commitReservation and releaseReservation of the protocol
 * @category guards
 * @since 0.1.0
 */
export function guard<Tools extends Record<string, Tool.Any>>(
  toolkit: Toolkit.Toolkit<Tools>,
  budgets: Budgets<Tools>,
  options?: Options & Rules
): Effect.Effect<Toolkit.WithHandler<Tools>, never, Tool.HandlersFor<Tools> | Cycles>
export function guard<Tools extends Record<string, Tool.Any>>(
  toolkit: Toolkit.WithHandler<Tools>,
  budgets: Budgets<Tools>,
  options?: Options & Rules
): Effect.Effect<Toolkit.WithHandler<Tools>, never, Cycles>
export function guard<Tools extends Record<string, Tool.Any>, E, R>(
  toolkit: Effect.Effect<Toolkit.WithHandler<Tools>, E, R>,
  budgets: Budgets<Tools>,
  options?: Options & Rules
): Effect.Effect<Toolkit.WithHandler<Tools>, E, R | Cycles>
export function guard<Tools extends Record<string, Tool.Any>, E, R>(
  toolkit: Toolkit.WithHandler<Tools> | Effect.Effect<Toolkit.WithHandler<Tools>, E, R>,
  budgets: Budgets<Tools>,
  options: Options & Rules = {}
): Effect.Effect<Toolkit.WithHandler<Tools>, E, R | Cycles> {
  let keys: ToolKeys.ToolKeys | undefined
  let hasWarned = false
  return Effect.gen(function* () {
    keys ??= ToolKeys.make(options.namespace)
    const cycles = yield* Cycles
    const inner = Effect.isEffect(toolkit) ? yield* toolkit : toolkit
    const isGuarded = guardedHandles.has(inner.handle)
    if (isGuarded && !hasWarned) {
      hasWarned = true
      yield* Effect.logWarning("CyclesToolkit.guard received a guarded toolkit: each call reserves its estimate twice")
    }
    const guarded = make(cycles, inner, rulesOf(inner.tools, budgets, options.default), keys, !isGuarded)
    guardedHandles.add(guarded.handle)
    return guarded
  })
}

/**
 * Guards the tools of a toolkit that an MCP server serves. The result is a toolkit, for `McpServer.toolkit`.
 *
 * **Details**
 *
 * - A refused call has a result with `isError`, and its reason as content: a denial, a cap, a missing approval, or a
 *   budget that can't be checked. The handler doesn't run.
 * - If a tool or its budget needs an approval, the server asks the user of the client by elicitation, before it
 *   reserves. The call is refused if the user declines, or if the client or its protocol version can't ask.
 * - A cancelled call is interrupted, and settled by `onFailure`.
 * - Every call is charged to the ambient subject. `McpServer.middleware` can set it, and a run, for each request.
 *
 * **Gotchas**
 *
 * - MCP has no ids for tool calls, so every call has a fresh idempotency key: a client that repeats a call pays twice.
 * - The run of the client isn't known here, even if the client is in the same process.
 * - Use `guard` for a toolkit that a model calls. `LanguageModel` requests approvals itself, and this
 *   toolkit would request them again.
 *
 * **Example** (Serving a guarded tool)
 *
 * ```ts
 * import { CyclesToolkit } from "@effect-cycles/ai"
 * import { Effect, Layer, Schema } from "effect"
 * import { McpServer, Tool, Toolkit } from "effect/ai"
 * import { Amount } from "effect-cycles"
 *
 * const SendMail = Tool.make("send_mail", {
 *   parameters: Schema.Struct({ to: Schema.String }),
 *   success: Schema.Struct({ id: Schema.String })
 * })
 * const mails = Toolkit.make(SendMail)
 *
 * export const Registrations = Layer.unwrap(
 *   Effect.map(CyclesToolkit.guarded(mails, { send_mail: { estimate: Amount.riskPoints(1) } }), McpServer.toolkit)
 * ).pipe(Layer.provide(mails.toLayer({ send_mail: ({ to }) => Effect.succeed({ id: `mail-to-${to}` }) })))
 * ```
 *
 * @see createReservation, commitReservation and releaseReservation of the protocol
 * @category guards
 * @since 0.1.0
 */
export const guarded = <Tools extends Record<string, Tool.Any>>(
  toolkit: Toolkit.Toolkit<Tools>,
  budgets: Budgets<Tools>,
  options: ServedOptions & Rules = {}
): Effect.Effect<Toolkit.Toolkit<Tools>, never, Cycles> =>
  Effect.map(Cycles, (cycles) =>
    Served.make(
      toolkit,
      Effect.provideService(guard(toolkit, budgets, { default: options.default }), Cycles, cycles),
      options.subject
    )
  )

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** The `handle` of every guarded toolkit. */
const guardedHandles = new WeakSet<object>()

/** The rule of each tool, by name. */
interface RuleTable<Tools extends Record<string, Tool.Any>> {
  readonly get: <Name extends keyof Tools>(name: Name) => Rule<Tools[Name]> | undefined
}

const rulesOf = <Tools extends Record<string, Tool.Any>>(
  tools: Tools,
  budgets: Budgets<Tools>,
  otherwise: Rules["default"]
): RuleTable<Tools> => {
  const rules = new Map<PropertyKey, unknown>()
  for (const name of Object.keys(tools)) {
    const tool = tools[name]
    if (tool === undefined) continue
    const own = Object.hasOwn(budgets, name) ? budgets[name] : undefined
    rules.set(name, own ?? (typeof otherwise === "function" ? otherwise(tool) : otherwise) ?? "free")
  }
  return {
    get: (name) => {
      const rule = rules.get(name)
      assumeRule<Rule<Tools[typeof name]>>(rule, name)
      return rule
    }
  }
}

const make = <Tools extends Record<string, Tool.Any>>(
  cycles: Cycles,
  inner: Toolkit.WithHandler<Tools>,
  rules: RuleTable<Tools>,
  keys: ToolKeys.ToolKeys,
  isCounted: boolean
): Toolkit.WithHandler<Tools> => ({
  tools: withApprovals(inner.tools, rules),
  handle: (name, params, toolCallId, parseOptions) => {
    const run = inner.handle(name, params, toolCallId, parseOptions)
    const rule = rules.get(name)
    const tool = inner.tools[name]
    if (tool === undefined || rule === undefined) return run
    if (rule === "deny") return Effect.succeed(Stream.succeed(Denial.forbidden(tool)))
    const guarded = Effect.flatMap(CurrentRun, (current) => {
      if (rule === "free") return run
      const results = Stream.unwrap(run)
      // Numbered before anything asynchronous, so that parallel calls are numbered in their order.
      let first: Effect.Effect<string | undefined> | undefined = keys.next(tool.name, toolCallId, current)
      const key = Effect.suspend(() => {
        const next = first ?? keys.next(tool.name, toolCallId, current)
        first = undefined
        return next
      })
      return Effect.map(decode(tool, params, parseOptions), (decoded) =>
        decoded === undefined
          ? // The inner toolkit reports the invalid parameters. The handler doesn't run.
            results
          : Guarded.run(cycles, { tool, budget: rule, params: decoded.params, key, results })
      )
    })
    if (!isCounted) return guarded
    return Effect.matchEffect(RunLimits.takeToolCall(tool.name, params, cycles), {
      onFailure: (denial) => Effect.succeed(Stream.succeed(Denial.denied(tool, denial))),
      onSuccess: () => guarded
    })
  }
})

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** Copies of the tools that also require the approvals of their budgets. */
const withApprovals = <Tools extends Record<string, Tool.Any>>(tools: Tools, rules: RuleTable<Tools>): Tools => {
  const copies: Record<string, Tool.Any> = Object.fromEntries(
    Object.entries(tools).map(([name, tool]) => [name, withApproval<Tools[string]>(tool, rules.get(name))])
  )
  assumeTools<Tools>(tools, copies)
  return copies
}

const withApproval = <T extends Tool.Any>(tool: Tool.Any, rule: Rule<T> | undefined): Tool.Any => {
  if (typeof rule !== "object" || rule.approval === undefined) return tool
  const { approval } = rule
  const own = tool.needsApproval
  return tool.setNeedsApproval((params, context) => {
    assumeParameters<T>(tool, params)
    if (approval === "always" || approval(params)) return true
    return typeof own === "function" ? own(params, context) : own === true
  })
}
