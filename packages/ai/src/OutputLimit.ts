/**
 * How a provider is told the most tokens that it may generate. A cap on tokens is obeyed by it, and the estimate of a call
 * reads it.
 *
 * The providers of `effect/ai` read their settings from the context of each call: a service with a known key that holds the
 * fields of the request. So their packages need not be imported.
 *
 * Source: the `Config` service of each provider package; `caps.max_tokens` of the protocol.
 */
import * as Context from "effect/Context"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** How a provider's output limit is read and set, in tokens. */
export interface OutputLimit {
  /** The limit that the context of a call sets, if it does. */
  readonly get: (context: Context.Context<never>) => number | undefined
  /** The context with the limit. */
  readonly set: <R>(context: Context.Context<R>, limit: number) => Context.Context<R>
}

// ---------------------------------------------------------------------------------------------------------------------
// constructors
// ---------------------------------------------------------------------------------------------------------------------

/** The settings of a provider: the key of its service, and the path of the limit in it. */
export const setting = (key: string, ...path: readonly [string, ...Array<string>]): OutputLimit => {
  const Config = Context.Service<Settings, Settings>(key)
  return {
    get: (context) => {
      let value: unknown = Context.getOrUndefined(context, Config)
      for (const name of path) value = isSettings(value) ? value[name] : undefined
      return typeof value === "number" && value >= 0 ? value : undefined
    },
    set: (context, limit) => {
      const settings = Context.getOrUndefined(context, Config) ?? {}
      return Context.merge(context, Context.make(Config, withField(settings, path, limit)))
    }
  }
}

/** `@effect/ai-openai`. */
export const openAi: OutputLimit = setting("@effect/ai-openai/OpenAiLanguageModel/Config", "max_output_tokens")

/** `@effect/ai-anthropic`. */
export const anthropic: OutputLimit = setting("@effect/ai-anthropic/AnthropicLanguageModel/Config", "max_tokens")

/** `@effect/ai-google`. */
export const google: OutputLimit = setting(
  "@effect/ai-google/GoogleLanguageModel/Config",
  "generationConfig",
  "maxOutputTokens"
)

/** `@effect/ai-openrouter`. */
export const openRouter: OutputLimit = setting("@effect/ai-openrouter/OpenRouterLanguageModel/Config", "max_tokens")

/** `@effect/ai-amazon-bedrock`. */
export const bedrock: OutputLimit = setting(
  "@effect/ai-amazon-bedrock/AmazonBedrockLanguageModel/Config",
  "inferenceConfig",
  "maxTokens"
)

/** By the name that a provider gives itself in `Model.ProviderName`. */
export const byProvider: Readonly<Record<string, OutputLimit>> = {
  openai: openAi,
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

const withField = (settings: Settings, path: ReadonlyArray<string>, value: unknown): Settings => {
  const [name, ...rest] = path
  if (name === undefined) return settings
  const inner = settings[name]
  return { ...settings, [name]: rest.length === 0 ? value : withField(isSettings(inner) ? inner : {}, rest, value) }
}
