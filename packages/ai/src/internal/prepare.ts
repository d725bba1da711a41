/**
 * From a request to a call that may be made: names, output limit, estimate, reservation and caps.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type { Cycles } from "effect-cycles/Cycles"
import type { LeaseOptions, Metadata } from "effect-cycles/Cycles"
import type * as AiError from "effect/ai/AiError"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import type { Settlement } from "effect-cycles/Settlement"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Step } from "effect-cycles/RunLimits"
import * as RunLimits from "effect-cycles/RunLimits"
import { fromBudget } from "../CyclesAiError.ts"
import type { BudgetError } from "../CyclesAiError.ts"
import type { OutputLimit } from "../OutputLimit.ts"
import { markAdmitted } from "./attempt.ts"
import * as Call from "./call.ts"
import * as Caps from "./caps.ts"
import { nameOf } from "./request.ts"
import type { Units } from "./request.ts"
import { estimate as estimateOf, guardOf, names, namesOf } from "./guard.ts"
import * as Limit from "./limit.ts"
import * as Observe from "./observe.ts"
import * as Parts from "./parts.ts"
import type { Transformers } from "./transformers.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The method of the model that is called. */
export type Method = "generateText" | "generateObject" | "streamText"

/**
 * A call that is about to be made.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallInfo {
  /** The method of the model. */
  readonly method: Method
  /** The provider's name, if it is known, as in `openai`. */
  readonly provider: string | undefined
  /** The model's name, as in `gpt-5`; `unknown` if it isn't known. */
  readonly model: string
  /** The prompt. */
  readonly prompt: Prompt.Prompt
}

/** The options that guards of models share. */
export interface Options<R = never> extends Omit<LeaseOptions, "onSettled"> {
  /**
   * Runs once with the settlement of each reservation of a call, also if the call failed or was interrupted. With the units
   * `both` a call has two reservations. See `Cycles.LeaseOptions`.
   */
  readonly onSettled?: ((settlement: Settlement, call: CallInfo) => Effect.Effect<unknown, never, R>) | undefined
  /** The units that calls are charged in. Default `tokens`. The other two need `Pricing`. */
  readonly units?: Units | undefined
  /** The action of the reservation. Default: kind `llm.completion`, name `provider:model`. */
  readonly action?: Action | ((call: CallInfo) => Action) | undefined
  /** The subject, merged into the current subject field by field. */
  readonly subject?: Subject | ((call: CallInfo) => Subject) | undefined
  /** JSON that is stored with the reservation. */
  readonly metadata?: Metadata | ((call: CallInfo) => Metadata) | undefined
  /** The provider's name. Default: `Model.ProviderName`, if it is in the context. */
  readonly provider?: string | undefined
  /** The model's name. Default: the model in the provider's settings, or else `Model.ModelName`. */
  readonly model?: string | undefined
  /**
   * The highest number of tokens that a call may generate, an integer of at least 1. It is reserved and given to the provider.
   * The provider's setting in the context of the call can lower it. Default: that setting, or else 4,096 plus the tokens that
   * the settings assign to thinking.
   */
  readonly maxOutputTokens?: number | undefined
  /**
   * How the provider is given the output limit. Default: by the provider's name, from `OutputLimit.byProvider`. A call of any
   * other provider fails with `UnsupportedLimit`, unless this is set.
   */
  readonly outputLimit?: OutputLimit | undefined
}

/** A call that may be made. */
export interface Ready {
  readonly method: Method
  readonly call: Call.Call
  /** The request to the inner model. */
  readonly ask: {
    readonly prompt: Prompt.Prompt
    readonly toolkit: Toolkit.WithHandler<Parts.Tools>
    readonly toolChoice: LanguageModel.ToolChoice<string>
    readonly disableToolCallResolution: true
    readonly toolCallValidation: "deferred"
  }
  /** The tools of the program that the caps don't allow. */
  readonly hidden: ReadonlySet<string>
  /** Changes the context of the inner model: sets the output limit and turns off its span transformer. */
  readonly prepareContext: (context: Context.Context<never>) => Context.Context<never>
  /** Checks after the call whether the provider has read the output limit. */
  readonly checkLimit: Effect.Effect<void>
}

/** Prepares a call. */
export type Prepare = (
  method: Method,
  request: LanguageModel.ProviderOptions
) => Effect.Effect<Ready, AiError.AiError, Scope.Scope>

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes the function that prepares the calls of a model. The calls are steps of their run, unless the inner model
 * counts them.
 */
export const make = <R>(
  options: Options<R>,
  transformers: Transformers,
  isCounted: boolean
): Effect.Effect<Prepare, never, Cycles | R> =>
  Effect.gen(function* () {
    const services = yield* Effect.context<R>()
    const { onSettled } = options
    const named = yield* names
    const guard = yield* guardOf(options)
    const limits = Limit.make(options, guard.cycles.mode)

    return (method, request) =>
      Effect.gen(function* () {
        const context = yield* Effect.context<never>()
        const { provider, ...called } = yield* namesOf(options, named)
        const model = limits.modelOf(provider, context) ?? called.model ?? "unknown"
        const name = nameOf(provider, model)
        const wanted = yield* limits.want(provider, model, context)
        const info: CallInfo = { method, provider, model, prompt: request.prompt }
        const estimate = yield* estimateOf(guard, {
          model: name,
          prompt: request.prompt,
          tools: request.tools,
          schema: request.responseFormat.type === "json" ? request.responseFormat.schema : undefined
        })
        const action = given(options.action, info) ?? { kind: "llm.completion", name: name.slice(0, 256) }
        const subject = given(options.subject, info)
        const metadata = given(options.metadata, info)
        const open = (step: Step | undefined) =>
          Call.open(guard, {
            provider,
            model,
            action,
            subject,
            metadata,
            estimate,
            outputTokens: wanted.tokens,
            providerTools: providerTools(request.tools),
            span: request.span,
            step,
            onSettled:
              onSettled === undefined
                ? undefined
                : (settlement) => Effect.provide(onSettled(settlement, info), services)
          })
        if (!isCounted) return yield* obey(method, request, yield* open(undefined), wanted, undefined, transformers)
        // Nothing may come between the step and the call that gives it back.
        const { call, step } = yield* Effect.uninterruptibleMask((restore) =>
          Effect.gen(function* () {
            const step = yield* Effect.tapError(RunLimits.takeStep(action, guard.cycles), (error) =>
              Observe.denial(name, error)
            )
            return { call: yield* restore(RunLimits.withinStep(open(step), step)), step }
          })
        )
        return yield* obey(method, request, call, wanted, step, transformers)
      }).pipe(
        Effect.tap(() => markAdmitted),
        Effect.mapError((error) => fromBudget(method, error))
      )
  })

// ---------------------------------------------------------------------------------------------------------------------
// caps
// ---------------------------------------------------------------------------------------------------------------------

/** Applies the caps of the reservations to a call. */
const obey = (
  method: Method,
  request: LanguageModel.ProviderOptions,
  call: Call.Call,
  wanted: Limit.Wanted,
  step: Step | undefined,
  transformers: Transformers
): Effect.Effect<Ready, BudgetError> =>
  Effect.gen(function* () {
    const { caps } = call
    const { span } = request

    const capped = Caps.smallest(caps, (one) => one.maxTokens)
    const limit = yield* wanted.apply(capped)
    if (capped !== undefined && capped < wanted.tokens) {
      yield* Observe.cap(span, "max_tokens", { limit: capped })
    }

    const remaining = Caps.smallest(caps, (one) => one.maxStepsRemaining)
    if (remaining !== undefined) step?.allowMore(remaining)
    const isLastStep = (remaining === 0 || step?.isLast() === true) && request.tools.length > 0
    if (isLastStep) yield* Observe.cap(span, "max_steps_remaining", { limit: 0 })
    const allowed = Caps.allowedTools(caps, request.tools)
    // Some providers refuse a prompt that refers to tools if the request has none.
    const shown = allowed.length === 0 && Caps.refersToTools(request.prompt) ? request.tools : allowed
    if (allowed.length < request.tools.length) {
      if (shown.length < request.tools.length) call.markChanged()
      yield* Observe.cap(span, "tool_lists", { hidden: request.tools.length - allowed.length })
    }
    const toolChoice = isLastStep
      ? "none"
      : allowed.length === request.tools.length
        ? request.toolChoice
        : Caps.choiceOf(request.toolChoice, allowed)
    const callable = isLastStep ? [] : allowed

    yield* Caps.cooldown(caps, span, call.untilLost)

    return {
      method,
      call,
      ask: {
        prompt: request.prompt,
        toolkit: Parts.shown(shown),
        toolChoice,
        disableToolCallResolution: true,
        toolCallValidation: "deferred"
      },
      hidden: new Set(request.tools.flatMap((tool) => (callable.includes(tool) ? [] : [tool.name]))),
      prepareContext: (context) => limit.set(transformers.withoutInner(context)),
      checkLimit: limit.check(call, span)
    }
  })

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const given = <A>(value: A | ((call: CallInfo) => A) | undefined, call: CallInfo): A | undefined =>
  isFunction(value) ? value(call) : value

const isFunction = <A>(value: A | ((call: CallInfo) => A) | undefined): value is (call: CallInfo) => A =>
  typeof value === "function"

/** The tools that the provider runs itself: the provider's name of each tool by its name. */
const providerTools = (tools: ReadonlyArray<Tool.Any>): ReadonlyMap<string, string> =>
  new Map(
    tools.flatMap((tool) =>
      Tool.isProviderDefined(tool) && !tool.requiresHandler ? [[tool.name, tool.providerName] as const] : []
    )
  )
