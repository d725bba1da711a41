/**
 * A model that returns scripted responses instead of calling a provider.
 */
import { OutputLimit } from "@effect-cycles/ai"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Model from "effect/ai/Model"
import type * as Response from "effect/ai/Response"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"

type Parts = ReadonlyArray<Response.PartEncoded>

const finish = (reason: Response.FinishReason, output: number): Response.FinishPartEncoded => ({
  type: "finish",
  reason,
  response: undefined,
  usage: {
    inputTokens: { uncached: 10, total: 10, cacheRead: undefined, cacheWrite: undefined },
    outputTokens: { total: output, text: output, reasoning: undefined }
  }
})

/** A response of text. */
export const reply = (text: string, tokens: number): Parts => [{ type: "text", text }, finish("stop", tokens)]

/** The call of a tool. */
export const call = (name: string, params: unknown): Response.PartEncoded => ({
  type: "tool-call",
  id: `call-${name}`,
  name,
  params
})

/** A model that returns these responses in turn, and records the output limits that it was given. */
export const scripted = (...script: ReadonlyArray<Parts>) =>
  Effect.sync(() => {
    const turns = [...script]
    const limits: Array<number | undefined> = []
    const outputLimit = OutputLimit.setting("example/Scripted/Config", "max_tokens")
    const next = Effect.contextWith((context: Context.Context<never>) =>
      Effect.sync(() => {
        limits.push(outputLimit.get(context))
        const parts = turns.shift() ?? reply("The script is over.", 1)
        return parts.some((part) => part.type === "finish") ? [...parts] : [...parts, finish("tool-calls", 15)]
      })
    )
    const layer = Layer.effect(
      LanguageModel.LanguageModel,
      LanguageModel.make({ generateText: () => next, streamText: () => Stream.empty })
    ).pipe(
      Layer.merge(
        Layer.succeedContext(Context.add(Context.make(Model.ProviderName, "scripted"), Model.ModelName, "one"))
      )
    )
    return { layer, limits, outputLimit }
  })
