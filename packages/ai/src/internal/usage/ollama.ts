/**
 * Usage of Ollama.
 */
import { countAt } from "../unknown.ts"
import type { Count, ProviderUsage } from "./report.ts"
import { usageOf } from "./report.ts"

/**
 * A response of Ollama, whose counts are fields of the response.
 *
 * @category models
 * @since 0.1.0
 */
export interface OllamaUsage {
  /** All input tokens. */
  readonly prompt_eval_count?: Count
  /** All output tokens. */
  readonly eval_count?: Count
}

/**
 * Reads the usage of an Ollama response, or of the last chunk of its stream. Returns `undefined` if no tokens were
 * reported.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromOllama = (response: OllamaUsage | null | undefined): ProviderUsage | undefined =>
  usageOf({
    inputTokens: countAt(response, "prompt_eval_count"),
    outputTokens: countAt(response, "eval_count")
  })
