/**
 * The models of the example, which follow a script instead of calling a provider, and a web of pages that don't exist.
 */
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Model from "effect/ai/Model"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"

/** Stands for a provider's layer, for example `OpenAiLanguageModel.model("gpt-5")`. */
export const scriptedModel = (model: string, latency: Duration.Input): Layer.Layer<LanguageModel.LanguageModel> =>
  Layer.effect(
    LanguageModel.LanguageModel,
    LanguageModel.make({
      generateText: ({ prompt, toolChoice }) =>
        Effect.sync(() => [...respond(prompt, toolChoice === "none"), usageOf(prompt)]).pipe(Effect.delay(latency)),
      streamText: () => Stream.empty
    })
  ).pipe(
    Layer.provideMerge(
      Layer.mergeAll(Layer.succeed(Model.ProviderName, "openai"), Layer.succeed(Model.ModelName, model))
    )
  )

/** The hits of a search. */
export const search = (query: string) =>
  Effect.succeed([`https://example.com/${query.replaceAll(" ", "-")}`]).pipe(Effect.delay("300 millis"))

/** The text of a page. Pages about ships are long, so that their helper runs out of budget. */
export const readPage = (url: string) =>
  Effect.succeed(`${url} says: ${"a fact and another one. ".repeat(url.includes("ships") ? 200 : 20)}`).pipe(
    Effect.delay("200 millis")
  )

// ---------------------------------------------------------------------------------------------------------------------
// scripts
// ---------------------------------------------------------------------------------------------------------------------

/** The number of pages that each topic has. The last topic runs in circles. */
const pages: Record<string, number> = { trains: 7, planes: 14, ships: 9, bicycles: 5, cars: 8, ferries: 6, roads: 4 }

type Part = Response.PartEncoded

const text = (text: string): ReadonlyArray<Part> => [{ type: "text", text }]

/** The response of the model in this turn of the conversation. */
const respond = (prompt: Prompt.Prompt, mustEnd: boolean): ReadonlyArray<Part> => {
  const turn = prompt.content.filter(({ role }) => role === "assistant").length
  const system = prompt.content.find(({ role }) => role === "system")?.content
  const role = typeof system === "string" ? system : ""
  const call = (name: string, params: unknown, nth = 0): Part => ({
    type: "tool-call",
    id: `call-${turn}-${nth}`,
    name,
    params
  })
  if (role.includes("newsletter")) {
    if (mustEnd) return text("The newsletter isn't ready.")
    if (turn === 0) return Object.keys(pages).map((topic, nth) => call("Research", { topic }, nth))
    if (turn === 1) return [call("CheckFacts", { draft: "All about traffic" })]
    if (turn < 4) return [call("SendMail", { to: "readers@example.com", text: `Traffic, version ${turn - 1}` })]
    return text("The newsletter is sent, once.")
  }
  const topic = role.includes("check facts") ? "roads" : (/research (\w+)/.exec(role)?.[1] ?? "roads")
  if (mustEnd || isRefused(prompt)) return text(`What I know about ${topic} so far.`)
  const page = Math.floor(turn / 2) + 1
  if (page > (pages[topic] ?? 0)) return text(`All about ${topic}.`)
  const query = topic === "ferries" ? "the same ferries" : `${topic} ${page}`
  return [
    turn % 2 === 0 ? call("Search", { query }) : call("ReadPage", { url: `https://example.com/${topic}-${page}` })
  ]
}

/** Whether the last call of a tool was refused. */
const isRefused = (prompt: Prompt.Prompt): boolean => JSON.stringify(prompt.content.at(-1)).includes("execution-denied")

/** A token for four characters of the conversation, and 600 tokens of response. */
const usageOf = (prompt: Prompt.Prompt): Response.FinishPartEncoded => {
  const input = Math.ceil(JSON.stringify(prompt.content).length / 4)
  return {
    type: "finish",
    reason: "stop",
    response: undefined,
    usage: {
      inputTokens: { uncached: input, total: input, cacheRead: undefined, cacheWrite: undefined },
      outputTokens: { total: 600, text: 600, reasoning: undefined }
    }
  }
}
