/**
 * Tools held to the budget: each call of a guarded tool is reserved, charged by its result, and refused in words that the
 * model understands.
 *
 * ```ts
 * const guarded = CyclesToolkit.guard(toolkit, {
 *   SendEmail: { estimate: Amount.riskPoints(5), approval: "always" },
 *   Search: { estimate: Amount.usd("0.01"), actual: (result) => Amount.usd(result.cost) }
 * })
 * ```
 *
 * A refused call is answered with an `execution-denied` result: the handler never runs, and the model goes on without it. A
 * handler may ask for its `Reservation` and record what it has spent, which is then charged also where it fails.
 *
 * Tools that the provider runs itself are part of the model's usage, not of this.
 *
 * Source: ours; `effect/ai/Toolkit`.
 */
import { Cycles, IdempotencyKeyGenerator } from "effect-cycles/Cycles"
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { assumeParameters, assumeServed, assumeTools } from "./internal/assume.ts"
import type { Budget } from "./internal/budget.ts"
import * as Guarded from "./internal/tool.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

export type {
  /** The budget of a tool. */
  Budget
} from "./internal/budget.ts"

/** The budgets of a toolkit's tools, by name; a tool without one is not guarded. */
export type Budgets<Tools extends Record<string, Tool.Any>> = {
  readonly [Name in keyof Tools]?: Budget<Tools[Name]> | undefined
}

/** What all tools of a toolkit have in common. */
export interface Options {
  /**
   * Goes before the id of a tool call in its idempotency key, 1 to 100 characters: the same for the same run of a job, so that
   * a call that is repeated after a crash is charged once and not run again. Default: a random one each time.
   */
  readonly namespace?: string | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/** Guards the tools of a toolkit. It goes wherever the toolkit went. */
export const guard = <Tools extends Record<string, Tool.Any>>(
  toolkit: Toolkit.Toolkit<Tools>,
  budgets: Budgets<Tools>,
  options?: Options
): Effect.Effect<Toolkit.WithHandler<Tools>, never, Tool.HandlersFor<Tools> | Cycles> =>
  Effect.gen(function* () {
    const cycles = yield* Cycles
    const makeKey = yield* IdempotencyKeyGenerator
    const inner = yield* toolkit
    const namespace = options?.namespace ?? makeKey()

    const guarded: Toolkit.WithHandler<Tools> = {
      tools: withApprovals(inner.tools, budgets),
      handle: (name, params, toolCallId, parseOptions) => {
        const run = inner.handle(name, params, toolCallId, parseOptions)
        const tool = inner.tools[name]
        const budget = budgets[name]
        if (tool === undefined || budget === undefined) return run
        return Effect.map(decode(tool, params), (decoded) =>
          decoded === undefined
            ? // The toolkit says what is wrong with the parameters; its handler doesn't run.
              Stream.unwrap(run)
            : Guarded.run(cycles, tool, budget, decoded.params, keyOf(namespace, toolCallId), run)
        )
      }
    }
    return guarded
  })

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** The parameters of a call, where they are of the tool's schema. */
const decode = <T extends Tool.Any>(
  tool: T,
  params: unknown
): Effect.Effect<{ readonly params: Tool.Parameters<T> } | undefined> =>
  Effect.suspend(() => {
    const decoding = Schema.isSchema(tool.parametersSchema)
      ? Schema.decodeUnknownEffect(tool.parametersSchema)(params)
      : Effect.succeed(params)
    assumeServed(decoding)
    return Effect.match(decoding, {
      onFailure: () => undefined,
      onSuccess: (params) => {
        assumeParameters<T>(tool, params)
        return { params }
      }
    })
  })

const keyOf = (namespace: string, toolCallId: string | undefined): string | undefined =>
  toolCallId === undefined ? undefined : `${namespace}:${toolCallId}`.slice(0, 256)

/** Copies of the tools that ask for approval where their budgets say so, besides what they say themselves. */
const withApprovals = <Tools extends Record<string, Tool.Any>>(tools: Tools, budgets: Budgets<Tools>): Tools => {
  const copies: Record<string, Tool.Any> = {}
  for (const name of Object.keys(tools)) {
    const tool = tools[name]
    if (tool !== undefined) copies[name] = withApproval<Tools[string]>(tool, budgets[name]?.approval)
  }
  assumeTools<Tools>(tools, copies)
  return copies
}

const withApproval = <T extends Tool.Any>(tool: Tool.Any, approval: Budget<T>["approval"]): Tool.Any => {
  if (approval === undefined) return tool
  const own = tool.needsApproval
  return tool.setNeedsApproval((params, context) => {
    assumeParameters<T>(tool, params)
    if (approval === "always" || approval(params)) return true
    return typeof own === "function" ? own(params, context) : own === true
  })
}
