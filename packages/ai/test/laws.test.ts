/**
 * Whatever a provider sends, tools do and callers give up on: what is known to be used is charged, and nothing is left
 * reserved.
 */
import { CyclesTest } from "@effect-cycles/testing"
import { expect, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as S from "./support/script.ts"

const small = Schema.Literals([0, 1, 2, 3, 5, 8, 13, 100])

const Part = Schema.Union([
  Schema.TaggedStruct("Text", { length: small }),
  Schema.TaggedStruct("Usage", { input: small, output: small }),
  Schema.TaggedStruct("NoUsage", {}),
  Schema.TaggedStruct("Metadata", {}),
  Schema.TaggedStruct("Tool", { ends: Schema.Literals(["well", "badly", "by dying", "never"]) })
])

const Story = Schema.Struct({
  parts: Schema.Array(Part),
  /** How the provider's stream ends. */
  ends: Schema.Literals(["well", "refused", "lost", "garbage", "never"]),
  /** The number of parts after which the caller stops, and how it stops. */
  enough: Schema.Literals([0, 1, 2, 3, 4, 5, 100]),
  by: Schema.Literals(["take", "interrupt"])
})

const Act = Tool.make("Act", {
  parameters: Schema.Struct({ ends: Schema.String }),
  success: Schema.String,
  failure: Schema.String
})
const toolkit = Toolkit.make(Act)

const handlers = toolkit.toLayer({
  Act: ({ ends }) => {
    switch (ends) {
      case "badly":
        return Effect.fail("badly")
      case "by dying":
        return Effect.die("died")
      case "never":
        return Effect.never
      default:
        return Effect.succeed("well")
    }
  }
})

const encode = (part: typeof Part.Type, i: number): S.Turn["parts"][number] => {
  switch (part._tag) {
    case "Text":
      return S.delta("x".repeat(part.length))
    case "Usage":
      return S.finish(part.input, part.output, "tool-calls")
    case "NoUsage":
      return S.finish(undefined, undefined, "tool-calls")
    case "Metadata":
      return { type: "response-metadata", id: `r${i}`, modelId: "gpt-5" }
    case "Tool":
      return S.toolCall("Act", { ends: part.ends }, `call-${i}`)
  }
}

const turnOf = (story: typeof Story.Type): S.Turn => ({
  parts: story.parts.map(encode),
  hangs: story.ends === "never",
  fails:
    story.ends === "refused"
      ? S.failure(new AiError.RateLimitError({}))
      : story.ends === "lost"
        ? S.failure(new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "http://127.0.0.1" }))
        : story.ends === "garbage"
          ? S.failure(new AiError.InvalidOutputError({ description: "garbage" }))
          : undefined
})

/** The largest usage in the first parts of a story. */
const known = (story: typeof Story.Type, passed: number): number =>
  story.parts
    .slice(0, passed)
    .reduce((most, part) => (part._tag === "Usage" ? Math.max(most, part.input + part.output) : most), 0)

it.effect.prop(
  "a stream is charged at least the reported usage, and nothing stays reserved (200 runs)",
  { story: Story },
  ({ story }) =>
    Effect.gen(function* () {
      const hasTools = story.parts.some((part) => part._tag === "Tool")
      const stream = hasTools
        ? LanguageModel.streamText({ prompt: "Go", toolkit }).pipe(Stream.provide(handlers))
        : LanguageModel.streamText({ prompt: "Go" })
      const enough = yield* Deferred.make<void>()
      let count = 0
      const counted = Stream.tap(stream, () =>
        ++count >= story.enough ? Deferred.succeed(enough, undefined) : Effect.void
      )
      const run =
        story.by === "take" && story.enough > 0
          ? Stream.runDrain(Stream.take(counted, story.enough))
          : Stream.runDrain(counted)
      const fiber = yield* Effect.forkChild(run)
      // The script doesn't wait, so the story is as far as it can come after some turns of the scheduler.
      for (let i = 0; i < 200; i++) yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)

      const { reserved, spent } = yield* S.books
      expect(reserved).toBe(0)
      yield* CyclesTest.expectNothingReserved()
      // With tools the parts pass through a queue, so the number that the model has seen is known only if all are taken.
      const passed = hasTools ? (story.enough === 100 ? story.parts.length : 0) : count
      expect(spent).toBeGreaterThanOrEqual(known(story, passed))
      if (story.parts.length === 0 && story.ends === "refused") expect(spent).toBe(0)
    }).pipe(Effect.provide(S.guarded([turnOf(story)]))),
  { arbitrary: { runs: 200 }, timeout: 60_000 }
)

it.effect.prop(
  "a whole response is charged exactly the reported usage, whatever its tools do (200 runs)",
  { story: Story },
  ({ story }) =>
    Effect.gen(function* () {
      const fiber = yield* LanguageModel.generateText({ prompt: "Go", toolkit }).pipe(
        Effect.provide(handlers),
        Effect.forkChild
      )
      for (let i = 0; i < 200; i++) yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      const { reserved, spent } = yield* S.books
      expect(reserved).toBe(0)
      const reported = known(story, story.parts.length)
      if (story.ends === "well" && reported > 0) {
        expect(spent).toBeGreaterThanOrEqual(reported)
        // A count of 0 isn't reported, and is replaced by the counted tokens.
        const usages = story.parts.filter((part) => part._tag === "Usage")
        if (usages.every(({ input, output }) => input > 0 && output > 0)) expect(spent).toBe(reported)
      }
      if (story.ends === "refused") expect(spent).toBe(0)
      if (story.ends === "never" || story.ends === "lost") expect(spent).toBeGreaterThan(0)
    }).pipe(Effect.provide(S.guarded([turnOf(story)]))),
  { arbitrary: { runs: 200 }, timeout: 60_000 }
)
