/**
 * How a provider is given the highest number of tokens that a call may generate.
 *
 * **Details**
 *
 * A guarded model reserves the output limit and gives the same limit to the provider, so that a response can't cost more
 * than its reservation. The provider packages of `effect/ai` read their settings from the context of each call: a `Config`
 * service with a known key, which has the fields of the request. An `OutputLimit` reads and sets the limit there, so the
 * packages need not be imported.
 *
 * **Gotchas**
 *
 * - A limit that is given to the model itself, as in `model("gpt-5", { max_output_tokens: 100 })`, isn't in the context.
 *   The guard can't see it and overrides it. Give the limit to the guard (`maxOutputTokens`) or to the context
 *   (`withConfigOverride`) instead; the guard only lowers those.
 * - Providers are known by their name (`Model.ProviderName`). A model that uses the name of another provider needs the
 *   option `outputLimit`. A limit that the provider doesn't read is detected after the first call.
 *
 * @see caps.max_tokens of the protocol
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import { extreme, limit as limitIn } from "./internal/unknown.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Reads and sets the output limit of a provider, in tokens.
 *
 * @category models
 * @since 0.1.0
 */
export interface OutputLimit {
  /** Whether the provider can be given a limit. False for `none` only. Default true. */
  readonly isEnforced?: boolean | undefined
  /** The lowest limit that the provider accepts. A lower one fails with `UnsupportedLimit`. Default 1. */
  readonly minimum?: number | undefined
  /**
   * The limit in the context of a call, if there is one. Fractions round down. A value that isn't a finite number of at least 0
   * counts as no limit.
   */
  readonly get: (context: Context.Context<never>) => number | undefined
  /**
   * Returns the context with the limit. `onRead` must run whenever the provider reads the limit; if it never runs, the
   * limit counts as not enforced.
   */
  readonly set: <R>(context: Context.Context<R>, limit: number, onRead?: () => void) => Context.Context<R>
  /** The model in the context of a call, if it replaces the model of the provider. */
  readonly model?: ((context: Context.Context<never>) => string | undefined) | undefined
  /** The tokens for thinking in the context of a call. The provider counts them as output. */
  readonly thinking?: ((context: Context.Context<never>) => number | undefined) | undefined
}

/**
 * How the settings of a provider are arranged, besides the path of the limit.
 *
 * @category options
 * @since 0.1.0
 */
export interface SettingOptions {
  /** The lowest limit that the provider accepts. Default 1. */
  readonly minimum?: number | undefined
  /** The path of the model's name. Default `["model"]`. */
  readonly model?: ReadonlyArray<string> | undefined
  /** The settings for thinking that must stay below the limit. Default: none. */
  readonly thinking?: ThinkingOptions | undefined
}

/**
 * Settings for thinking.
 *
 * @category options
 * @since 0.1.0
 */
export interface ThinkingOptions {
  /** The path of the settings, as in `["thinking"]`. */
  readonly path: ReadonlyArray<string>
  /** The field of the settings with the budget in tokens, as in `budget_tokens`. */
  readonly budget: string
  /** The lowest budget that every model of the provider accepts. */
  readonly minimum: number
  /** The settings if a budget would be below `minimum`: those that turn thinking off, or that leave the budget to the model. */
  readonly off: Readonly<Record<string, unknown>>
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes an output limit from the key of a provider's `Config` service and the path of the limit in it.
 *
 * @example
 * ```ts
 * import { OutputLimit } from "@effect-cycles/ai"
 *
 * export const outputLimit = OutputLimit.setting("my-app/LocalModel/Config", "options", "num_predict")
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const setting = (key: string, ...path: readonly [string, ...Array<string>]): OutputLimit =>
  settingWith(key, path, {})

/**
 * Makes an output limit like `setting`, for a provider with further rules.
 *
 * @category constructors
 * @since 0.1.0
 */
export const settingWith = (
  key: string,
  path: readonly [string, ...Array<string>],
  options: SettingOptions
): OutputLimit => {
  const Config = Context.Service<Settings, Settings>(key)
  const { minimum = 1, model = ["model"], thinking } = options
  const settingsOf = (context: Context.Context<never>): Settings | undefined => {
    const settings: unknown = Context.getOrUndefined(context, Config)
    return isSettings(settings) ? settings : undefined
  }
  return {
    minimum,
    get: (context) => limitIn(at(settingsOf(context), path)),
    set: (context, limit, onRead) => {
      const before = settingsOf(context) ?? {}
      const settings = thinking === undefined ? before : withThinkingBelow(before, thinking, limit)
      return Context.merge(context, Context.make(Config, withField(settings, path, limit, onRead)))
    },
    model: (context) => {
      const name = at(settingsOf(context), model)
      return typeof name === "string" && name !== "" ? name : undefined
    },
    thinking: (context) =>
      thinking === undefined ? undefined : limitIn(at(settingsOf(context), [...thinking.path, thinking.budget]))
  }
}

/**
 * Combines the limits of several packages that use the same provider name: the limit is set for each of them.
 *
 * **Details**
 *
 * The limit of a call is the smallest of those in the context, and the tokens for thinking are the largest. The model is that of
 * the first package whose settings replace it. The result is enforced if any of the limits is.
 *
 * @category constructors
 * @since 0.1.0
 */
export const shared = (...limits: ReadonlyArray<OutputLimit>): OutputLimit => ({
  isEnforced: limits.length === 0 || limits.some(({ isEnforced = true }) => isEnforced),
  minimum: Math.max(1, ...limits.map((limit) => limit.minimum ?? 1)),
  get: (context) =>
    extreme(
      Math.min,
      limits.map((limit) => limitIn(limit.get(context)))
    ),
  set: (context, tokens, onRead) => limits.reduce((all, limit) => limit.set(all, tokens, onRead), context),
  model: (context) => limits.map((limit) => limit.model?.(context)).find((name) => name !== undefined),
  thinking: (context) =>
    extreme(
      Math.max,
      limits.map((limit) => limitIn(limit.thinking?.(context)))
    )
})

/**
 * States that the provider can't be given a limit. The reservation then doesn't bind: a longer response is charged in full, as
 * far as the overage policy allows. A call that the budget allows with a cap on tokens fails with `UnsupportedLimit`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const none: OutputLimit = { isEnforced: false, get: () => undefined, set: (context) => context }

// ---------------------------------------------------------------------------------------------------------------------
// providers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * `@effect/ai-openai`, the Responses API. The minimum is 16 tokens.
 *
 * @category providers
 * @since 0.1.0
 */
export const openAi: OutputLimit = settingWith("@effect/ai-openai/OpenAiLanguageModel/Config", ["max_output_tokens"], {
  minimum: 16
})

/**
 * `@effect/ai-openai-compat`. It names its provider `openai`.
 *
 * @category providers
 * @since 0.1.0
 */
export const openAiCompat: OutputLimit = setting(
  "@effect/ai-openai-compat/OpenAiLanguageModel/Config",
  "max_output_tokens"
)

/**
 * `@effect/ai-openrouter`. It names its provider `openai`.
 *
 * @category providers
 * @since 0.1.0
 */
export const openRouter: OutputLimit = settingWith(
  "@effect/ai-openrouter/OpenRouterLanguageModel/Config",
  ["max_tokens"],
  { thinking: { path: ["reasoning"], budget: "max_tokens", minimum: 1_024, off: { enabled: false } } }
)

/**
 * `@effect/ai-anthropic`. Thinking needs a budget of at least 1,024 tokens below the limit; with less it is turned off.
 *
 * @category providers
 * @since 0.1.0
 */
export const anthropic: OutputLimit = settingWith(
  "@effect/ai-anthropic/AnthropicLanguageModel/Config",
  ["max_tokens"],
  { thinking: { path: ["thinking"], budget: "budget_tokens", minimum: 1_024, off: { type: "disabled" } } }
)

/**
 * `@effect/ai-google`. The smallest thinking budget depends on the model and is at most 512 tokens, and not every model can turn
 * thinking off. With less than 512 tokens the budget is removed, so that the model chooses it.
 *
 * @category providers
 * @since 0.1.0
 */
export const google: OutputLimit = settingWith(
  "@effect/ai-google/GoogleLanguageModel/Config",
  ["generationConfig", "maxOutputTokens"],
  {
    thinking: {
      path: ["generationConfig", "thinkingConfig"],
      budget: "thinkingBudget",
      minimum: 512,
      off: {}
    }
  }
)

/**
 * `@effect/ai-amazon-bedrock`.
 *
 * @category providers
 * @since 0.1.0
 */
export const bedrock: OutputLimit = settingWith(
  "@effect/ai-amazon-bedrock/AmazonBedrockLanguageModel/Config",
  ["inferenceConfig", "maxTokens"],
  {
    model: ["modelId"],
    thinking: {
      path: ["additionalModelRequestFields", "thinking"],
      budget: "budget_tokens",
      minimum: 1_024,
      off: { type: "disabled" }
    }
  }
)

/**
 * The output limits by the name of a provider in `Model.ProviderName`. Packages that use the same name share an entry.
 *
 * @category providers
 * @since 0.1.0
 */
export const byProvider: Readonly<Record<string, OutputLimit>> = {
  openai: shared(openAi, openAiCompat, openRouter),
  "openai-compat": openAiCompat,
  anthropic,
  google,
  openrouter: openRouter,
  "amazon-bedrock": bedrock
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

interface Settings {
  readonly [field: string]: unknown
}

const isSettings = (value: unknown): value is Settings => typeof value === "object" && value !== null

const at = (settings: unknown, path: ReadonlyArray<string>): unknown =>
  path.reduce<unknown>((value, name) => (isSettings(value) ? value[name] : undefined), settings)

/** Copies the settings with a field. If `onRead` is given, the field is a getter that runs it. */
const withField = (settings: Settings, path: ReadonlyArray<string>, value: unknown, onRead?: () => void): Settings => {
  const [name, ...rest] = path
  if (name === undefined) return settings
  const inner = settings[name]
  const field = rest.length === 0 ? value : withField(isSettings(inner) ? inner : {}, rest, value, onRead)
  return Object.defineProperty(copyOf(settings), name, {
    enumerable: true,
    configurable: true,
    get: () => {
      if (rest.length === 0) onRead?.()
      return field
    }
  })
}

/**
 * A copy of settings that may be a class instance, a proxy or frozen. Its accessors run on the original, because they may use
 * private fields of a class.
 */
const copyOf = (settings: Settings): Settings => {
  const prototype: unknown = Object.getPrototypeOf(settings)
  const copy: Settings = Object.create(isSettings(prototype) ? prototype : null)
  const accessors = (of: object, isOwn: boolean): void => {
    for (const key of Reflect.ownKeys(of)) {
      const descriptor = Object.getOwnPropertyDescriptor(of, key)
      if (descriptor === undefined || Object.hasOwn(copy, key)) continue
      if (isOwn && "value" in descriptor) {
        Object.defineProperty(copy, key, { ...descriptor, configurable: true, writable: true })
      } else if (descriptor.get !== undefined) {
        const { enumerable = false } = descriptor
        const get = (): unknown => Reflect.get(settings, key)
        Object.defineProperty(copy, key, { enumerable, configurable: true, get })
      }
    }
  }
  accessors(settings, true)
  for (let of = prototype; isSettings(of) && of !== Object.prototype; of = Object.getPrototypeOf(of)) {
    accessors(of, false)
  }
  return copy
}

/** Lowers the budget for thinking below the limit, or replaces the settings for thinking if too little is left. */
const withThinkingBelow = (settings: Settings, thinking: ThinkingOptions, limit: number): Settings => {
  const before = at(settings, thinking.path)
  const budget = limitIn(at(before, [thinking.budget]))
  if (!isSettings(before) || budget === undefined || budget < limit) return settings
  const lowered = limit - 1
  const after = lowered < thinking.minimum ? thinking.off : { ...before, [thinking.budget]: lowered }
  return withField(settings, thinking.path, after)
}
