/**
 * From the request of a model to a call that may be made: named, estimated, reserved, held to its caps.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type { Cycles, LeaseOptions, Metadata } from "effect-cycles/Cycles"
import type * as AiError from "effect/ai/AiError"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import type * as Toolkit from "effect/ai/Toolkit"
import type { Settlement } from "effect-cycles/Settlement"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { CapNotObeyed, fromBudget } from "../CyclesAiError.ts"
import type { OutputLimit } from "../OutputLimit.ts"
import { byProvider } from "../OutputLimit.ts"
import * as Call from "./call.ts"
import * as Caps from "./caps.ts"
import { guardOf, names } from "./guard.ts"
import * as Parts from "./parts.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** How the model is called. */
export type Method = "generateText" | "generateObject" | "streamText"

/** A call that is about to be made. */
export interface CallInfo {
  readonly method: Method
  readonly provider: string | undefined
  readonly model: string
  readonly prompt: Prompt.Prompt
}

/** What can be said of the calls of a guarded model. */
export interface Options<R = never> extends Omit<LeaseOptions, "dryRun" | "onSettled"> {
  /**
   * Runs once with the settlement of each reservation of a call, also if the call failed or was interrupted; with the units
   * `both` a call has two. See `Cycles.LeaseOptions`.
   */
  readonly onSettled?: ((settlement: Settlement, call: CallInfo) => Effect.Effect<unknown, never, R>) | undefined
  readonly units?: Call.Units | undefined
  /** Default: kind `llm.completion`, name `provider:model`. */
  readonly action?: Action | ((call: CallInfo) => Action) | undefined
  /** Merged into the ambient subject, nearest wins. */
  readonly subject?: Subject | ((call: CallInfo) => Subject) | undefined
  /** JSON, kept with the reservation. */
  readonly metadata?: Metadata | ((call: CallInfo) => Metadata) | undefined
  /** Where it isn't told by `Model.ProviderName`, as in `openai`. */
  readonly provider?: string | undefined
  /** Where it isn't told by `Model.ModelName`, as in `gpt-5`. */
  readonly model?: string | undefined
  /**
   * The most tokens that a call may generate, at least 1. The provider is told, where it is known how. Default: the
   * provider's setting in the context of the call; where there is none, 4,096 are reserved and the provider is told nothing.
   */
  readonly maxOutputTokens?: number | undefined
  /** How the provider is told its output limit. Default: by the provider's name, for those of `OutputLimit`. */
  readonly outputLimit?: OutputLimit | undefined
}

/** A call that may be made. */
export interface Ready {
  readonly method: Method
  readonly call: Call.Call
  /** What the model inside is asked. */
  readonly ask: {
    readonly prompt: Prompt.Prompt
    readonly toolkit: Toolkit.WithHandler<Parts.Tools>
    readonly toolChoice: LanguageModel.ToolChoice<string>
    readonly disableToolCallResolution: true
    readonly toolCallValidation: "deferred"
  }
  /** Tools that the program offers and the caps hide. */
  readonly hidden: ReadonlySet<string>
  /** Sets the output limit of the provider, where there is one to set. */
  readonly withLimit: ((context: Context.Context<never>) => Context.Context<never>) | undefined
}

/** Makes calls ready. */
export type Prepare = (
  method: Method,
  request: LanguageModel.ProviderOptions
) => Effect.Effect<Ready, AiError.AiError, Scope.Scope>

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** How calls of a model are made ready. */
export const make = <R>(options: Options<R>): Effect.Effect<Prepare, never, Cycles | R> =>
  Effect.gen(function* () {
    const services = yield* Effect.context<R>()
    const { onSettled } = options
    const named = yield* names
    const { maxOutputTokens } = options
    if (maxOutputTokens !== undefined && !(Number.isSafeInteger(maxOutputTokens) && maxOutputTokens > 0)) {
      throw new RangeError(`maxOutputTokens must be an integer of at least 1, got ${maxOutputTokens}`)
    }
    const guard = yield* guardOf(options)

    return (method, request) =>
      Effect.gen(function* () {
        const context = yield* Effect.context<never>()
        const asked = yield* names
        const provider = options.provider ?? named.provider ?? asked.provider
        const model = options.model ?? named.model ?? asked.model ?? "unknown"
        const limit = options.outputLimit ?? (provider === undefined ? undefined : byProvider[provider])
        const settled = limit?.get(context)
        const info: CallInfo = { method, provider, model, prompt: request.prompt }
        const estimate = yield* guard.estimator.input({
          model: Call.nameOf(provider, model),
          prompt: request.prompt,
          tools: request.tools,
          schema: request.responseFormat.type === "json" ? request.responseFormat.schema : undefined
        })
        const call = yield* Call.open(guard, {
          provider,
          model,
          action: given(options.action, info) ?? {
            kind: "llm.completion",
            name: Call.nameOf(provider, model).slice(0, 256)
          },
          subject: given(options.subject, info),
          metadata: given(options.metadata, info),
          estimate,
          outputTokens: smallest(maxOutputTokens, settled) ?? defaultOutputTokens,
          span: request.span,
          onSettled:
            onSettled === undefined ? undefined : (settlement) => Effect.provide(onSettled(settlement, info), services)
        })
        return yield* obey(method, request, call, { provider, limit, settled, wanted: maxOutputTokens })
      }).pipe(Effect.mapError((error) => fromBudget(method, error)))
  })

// ---------------------------------------------------------------------------------------------------------------------
// caps
// ---------------------------------------------------------------------------------------------------------------------

/** Holds a call to its caps, before it is made. */
const obey = (
  method: Method,
  request: LanguageModel.ProviderOptions,
  call: Call.Call,
  output: {
    readonly provider: string | undefined
    readonly limit: OutputLimit | undefined
    /** What the context of the call says. */
    readonly settled: number | undefined
    /** What the options say. */
    readonly wanted: number | undefined
  }
): Effect.Effect<Ready, CapNotObeyed> =>
  Effect.gen(function* () {
    const { caps } = call
    const { span } = request

    const capped = Caps.smallest(caps, (one) => one.maxTokens)
    if (capped !== undefined && output.limit === undefined) {
      return yield* new CapNotObeyed({ cap: "max_tokens", provider: output.provider })
    }
    const wanted = smallest(output.wanted, output.settled)
    const target = smallest(wanted, capped)
    if (capped !== undefined && (wanted === undefined || capped < wanted)) {
      yield* Caps.tell(span, "max_tokens", { limit: capped })
    }

    const isLastStep = Caps.smallest(caps, (one) => one.maxStepsRemaining) === 0 && request.tools.length > 0
    if (isLastStep) yield* Caps.tell(span, "max_steps_remaining", { limit: 0 })
    const allowed = Caps.allowedTools(caps, request.tools)
    if (allowed.length < request.tools.length) {
      yield* Caps.tell(span, "tool_lists", { hidden: request.tools.length - allowed.length })
    }
    const tools = isLastStep ? [] : allowed

    const cooldownMs = Caps.largest(caps, (one) => one.cooldownMs)
    if (cooldownMs !== undefined && cooldownMs > 0) {
      yield* Caps.tell(span, "cooldown_ms", { wait: cooldownMs })
      yield* Effect.sleep(cooldownMs)
    }

    const { limit } = output
    return {
      method,
      call,
      ask: {
        prompt: request.prompt,
        toolkit: Parts.shown(tools),
        toolChoice:
          tools.length === request.tools.length ? request.toolChoice : Caps.choiceOf(request.toolChoice, tools),
        disableToolCallResolution: true,
        toolCallValidation: "deferred"
      },
      hidden: new Set(request.tools.flatMap((tool) => (tools.includes(tool) ? [] : [tool.name]))),
      withLimit:
        limit === undefined || target === undefined || target === output.settled
          ? undefined
          : (context) => limit.set(context, target)
    }
  })

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** What an answer is reserved with where nobody says how long it may be. */
const defaultOutputTokens = 4_096

const given = <A>(value: A | ((call: CallInfo) => A) | undefined, call: CallInfo): A | undefined =>
  isFunction(value) ? value(call) : value

const isFunction = <A>(value: A | ((call: CallInfo) => A) | undefined): value is (call: CallInfo) => A =>
  typeof value === "function"

const smallest = (...limits: ReadonlyArray<number | undefined>): number | undefined =>
  limits.reduce<number | undefined>(
    (least, limit) => (limit === undefined ? least : Math.min(least ?? limit, limit)),
    undefined
  )
