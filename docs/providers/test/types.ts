/**
 * The usage types of the SDKs are assignable to the parameters of `Usage.from...`. The compiler checks it.
 */
import type { LanguageModelV4Usage } from "@ai-sdk/provider"
import type Anthropic from "@anthropic-ai/sdk"
import { Usage } from "@effect-cycles/ai"
import type { GenerateContentResponse } from "@google/genai"
import type { EmbeddingModelUsage, LanguageModelUsage } from "ai"
import type OpenAI from "openai"

/** One function for each usage type of an SDK. */
export const readers = [
  (usage: OpenAI.CompletionUsage | null | undefined) => Usage.fromOpenAi(usage),
  (usage: OpenAI.Responses.ResponseUsage | undefined) => Usage.fromOpenAi(usage),
  (usage: OpenAI.CreateEmbeddingResponse.Usage) => Usage.fromOpenAi(usage),
  (usage: Anthropic.Usage) => Usage.fromAnthropic(usage),
  (usage: Anthropic.MessageDeltaUsage) => Usage.fromAnthropic(usage),
  (usage: Anthropic.Beta.BetaUsage) => Usage.fromAnthropic(usage),
  (usage: LanguageModelUsage) => Usage.fromAiSdk(usage),
  (usage: EmbeddingModelUsage) => Usage.fromAiSdk(usage),
  (usage: LanguageModelV4Usage) => Usage.fromAiSdk(usage),
  (response: GenerateContentResponse) => Usage.fromGoogle(response.usageMetadata)
]
