/**
 * The parts of a response in the form in which a provider returns them: the guarded model is the provider of the outer model.
 */
import * as AiError from "effect/ai/AiError"
import * as Response from "effect/ai/Response"
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** Tools by name. */
export type Tools = Record<string, Tool.Any>

/** A part of a response whose tool calls have not been validated. */
export type Part = Response.Part<Tools, "deferred">

/** A part of a streamed response whose tool calls have not been validated. */
export type StreamPart = Response.StreamPart<Tools, "deferred">

const encodeRare = Schema.encodeUnknownSync(Response.Part())
const encodeRareStream = Schema.encodeUnknownSync(Response.StreamPart())

/** Encodes a part. Plain parts are the same in both forms; a tool's result stays encoded. */
export const encode = (part: Part): Response.PartEncoded => {
  switch (part.type) {
    case "text":
    case "reasoning":
    case "tool-call":
      return part
    case "tool-result":
      return encodeRare({ ...part, result: part.encodedResult })
    default:
      return encodeRare(part)
  }
}

/** Encodes a part of a stream. Nearly all of them are plain. */
export const encodeStream = (part: StreamPart): Response.StreamPartEncoded => {
  switch (part.type) {
    case "text-start":
    case "text-delta":
    case "text-end":
    case "reasoning-start":
    case "reasoning-delta":
    case "reasoning-end":
    case "tool-params-start":
    case "tool-params-delta":
    case "tool-params-end":
    case "tool-call":
      return part
    case "tool-result":
      return encodeRareStream({ ...part, result: part.encodedResult })
    default:
      return encodeRareStream(part)
  }
}

/** Makes a toolkit that declares tools and runs none of them. */
export const shown = (tools: ReadonlyArray<Tool.Any>): Toolkit.WithHandler<Tools> => ({
  tools: Object.fromEntries(tools.map((tool) => [tool.name, tool])),
  handle: (name) =>
    Effect.fail(
      AiError.make({
        module: "CyclesModel",
        method: String(name),
        reason: new AiError.ToolConfigurationError({ toolName: String(name), description: "Tools are not run here" })
      })
    )
})
