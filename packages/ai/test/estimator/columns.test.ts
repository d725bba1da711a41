/**
 * The vocabulary of a model by its name.
 */
import { describe, expect, it } from "@effect/vitest"
import { vocabulariesOf } from "../../src/internal/estimator/columns.ts"

const models: Readonly<Record<string, ReadonlyArray<string>>> = {
  o200k: [
    "openai:gpt-4o-mini",
    "chatgpt-4o-latest",
    "gpt-4.1-nano",
    "openai:gpt-4.5-preview",
    "openai:gpt-5",
    "openai:gpt-5.1-codex",
    "groq:openai/gpt-oss-120b",
    "openai:ft:gpt-4o-mini-2024-07-18:org::id",
    "openai:o1",
    "o3-mini",
    "openai:o4-mini"
  ],
  claude3: [
    "anthropic:claude-3-5-sonnet-20241022",
    "claude-3.7-sonnet",
    "anthropic:claude-sonnet-4-20250514",
    "claude-opus-4-1-20250805",
    "claude-opus-4-6",
    "openrouter:anthropic/claude-sonnet-4.5",
    "amazon-bedrock:us.anthropic.claude-sonnet-4-20250514-v1:0",
    "claude-sonnet-4-5@20250929"
  ],
  claude47: ["claude-opus-4-7", "claude-opus-4-7-20260101", "claude-haiku-5", "anthropic:claude-opus-5-1"],
  "claude3 claude47": ["claude-opus-latest", "claude-fast"],
  gemini: ["google:gemini-2.5-pro", "models/gemini-3-pro", "ollama:gemma3:4b"],
  open: [
    "openai:gpt-4",
    "gpt-4-32k",
    "gpt-4-turbo",
    "azure:gpt-35-turbo",
    "openai:gpt-3.5-turbo",
    "openai:text-embedding-3-small",
    "llama3.1:8b",
    "ollama:llama3.1:8b",
    "together:meta-llama/Llama-3.3-70B-Instruct",
    "accounts/fireworks/models/llama-v3p1-70b-instruct",
    "meta.llama3-1-70b-instruct-v1:0",
    "ollama:qwen3:8b",
    "deepseek:deepseek-chat",
    "mistral:open-mistral-nemo",
    "mistral-small-2503"
  ],
  bytes: ["claude-2.1", "anthropic.claude-v2:1", "claude-instant-1.2", "llama2:13b", "mistral:mistral-7b-instruct"],
  any: ["openai:gpt-6", "gpt-50", "mistral:mistral-large-latest", "ollama:phi4", "azure:production", "unknown", "", ":"]
}

describe("vocabulariesOf", () => {
  for (const [vocabularies, names] of Object.entries(models)) {
    for (const name of names) {
      it(`is ${vocabularies} for "${name}"`, () => expect(vocabulariesOf(name).join(" ")).toBe(vocabularies))
    }
  }

  it("ignores case", () => expect(vocabulariesOf("OpenAI:GPT-4o")).toEqual(["o200k"]))
})
