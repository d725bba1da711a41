/** Guarded models, tools and embeddings in shadow mode, and while the server is away. */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Amount, Cycles, Run } from "effect-cycles"
import type { CyclesConfig } from "effect-cycles"
import * as CyclesModel from "../src/CyclesModel.ts"
import * as CyclesToolkit from "../src/CyclesToolkit.ts"
import * as Pricing from "../src/Pricing.ts"
import * as S from "./support/script.ts"
import { handlers, send, succeeds, toolkit } from "./support/toolkit.ts"

const caps: CyclesServer.CapsOptions = {
  max_tokens: 5,
  max_steps_remaining: 0,
  tool_denylist: ["Send", "Post", "Look"],
  cooldown_ms: 60_000
}

const units = ["TOKENS", "USD_MICROCENTS", "RISK_POINTS"] as const

/** A server, a client and a script. */
const world = (
  turns: ReadonlyArray<S.Turn>,
  client: Partial<CyclesConfig.CyclesConfig>,
  budgets: CyclesServer.MemoryOptions["budgets"]
) =>
  Layer.merge(
    CyclesTest.layer({ budgets, client }),
    Layer.sync(S.Script, () => ({ asked: [], turns: [...turns] }))
  )

const guarded = (
  turns: ReadonlyArray<S.Turn>,
  client: Partial<CyclesConfig.CyclesConfig>,
  budgets: CyclesServer.MemoryOptions["budgets"],
  options?: CyclesModel.Options<CyclesModel.Units>
) =>
  CyclesModel.layer(options).pipe(
    // Knows no model.
    Layer.provide(Pricing.layerStatic({})),
    Layer.provide(S.bare),
    Layer.provideMerge(world(turns, client, budgets))
  )

/** The spent and the reserved amounts of all budgets. */
const spentOf = Effect.gen(function* () {
  const server = yield* CyclesServer.CyclesServer
  const books = yield* Effect.forEach(units, (unit) => server.books(unit))
  return books.map(({ reserved, spent }) => [Number(spent), Number(reserved)])
})

const nothing = [
  [0, 0],
  [0, 0],
  [0, 0]
]

const turns: ReadonlyArray<S.Turn> = [
  { parts: [S.toolCall("Send", { to: ["a", "b"] }), S.finish(20, 10, "tool-calls")] },
  { parts: [S.text("Hello"), S.delta("Hello"), S.finish(20, 10)] },
  { parts: [S.text("Bye"), S.delta("Bye"), S.finish(20, 10)] }
]

/** A text with a tool, a text and a stream, and the requests to the provider. */
const program = <A extends { readonly toolResults: ReadonlyArray<{ readonly result: unknown }> }, E, R>(
  askWithTool: Effect.Effect<A, E, R>
) =>
  Effect.gen(function* () {
    const withTool = yield* askWithTool
    const text = yield* LanguageModel.generateText({ prompt: "Hello" })
    const stream = yield* Stream.runCollect(LanguageModel.streamText({ prompt: "Hello" }))
    const { asked } = yield* S.Script
    return {
      results: withTool.toolResults.map(({ result }) => result),
      text: text.text,
      stream: stream.map(({ type }) => type),
      asked: asked.map(({ config, options }) => ({
        config,
        tools: options.tools.map(({ name }) => name),
        toolChoice: options.toolChoice
      }))
    }
  }).pipe(
    Effect.provide(handlers(succeeds)),
    Effect.provideService(S.OpenAiConfig, { max_output_tokens: 2_000, temperature: 1 })
  )

const bareTool = LanguageModel.generateText({ prompt: "Write to them", toolkit })

const guardedTool = LanguageModel.generateText({
  prompt: "Write to them",
  toolkit: CyclesToolkit.guard(toolkit, { Send: send })
})

describe("shadow mode", () => {
  const scarce = units.map((unit) => ({ unit, allocated: 1, caps }))

  it.effect.each<
    readonly [
      name: string,
      budgets: CyclesServer.MemoryOptions["budgets"],
      options: CyclesModel.Options<CyclesModel.Units>
    ]
  >([
    ["too small budgets and caps", scarce, {}],
    [
      "large budgets and caps",
      units.map((unit) => ({ unit, allocated: 1_000_000_000, caps })),
      { maxOutputTokens: 100 }
    ],
    ["budgets in another unit", units.map((unit) => ({ unit, allocated: 1, scope: "agent:other" })), {}],
    ["no price", scarce, { units: "both" }],
    ["a provider whose output limit is unknown", scarce, { provider: "unknown" }],
    ["the heartbeat policy cancel without a price", scarce, { units: "usd", heartbeat: "cancel" }]
  ])("changes nothing of a text, a tool and a stream with %s", ([, budgets, options]) =>
    Effect.gen(function* () {
      const bare = yield* Effect.provide(program(bareTool), S.bare.pipe(Layer.provideMerge(world(turns, {}, []))))
      expect(bare.results).toEqual([{ sent: 1 }])
      const logs = S.logs()
      yield* Effect.gen(function* () {
        expect(yield* program(guardedTool)).toEqual(bare)
        expect(yield* (yield* CyclesServer.CyclesServer).reservations).toEqual([])
        expect((yield* CyclesTest.requests()).every(({ operation }) => operation === "reserve")).toBe(true)
      }).pipe(Effect.provide([guarded(turns, { mode: "shadow" }, budgets, options), logs.layer]))
      if (options.maxOutputTokens !== undefined) expect(logs.warnings).toEqual([])
      else expect(logs.warnings.length).toBeGreaterThan(0)
      expect(logs.warnings.every((line) => line.startsWith("Not enforced in shadow mode: "))).toBe(true)
    })
  )

  it.effect("counts the limits of a run, and denies no step and no tool call", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ limits: { steps: 1, toolCalls: 0 } })
      const result = yield* Run.within(program(guardedTool), run)
      expect(result.results).toEqual([{ sent: 1 }])
      expect(result.asked.map(({ toolChoice }) => toolChoice)).toEqual(["auto", "none", "none"])
      expect(yield* run.summary).toMatchObject({ steps: 1, toolCalls: 0, denials: 0, wouldDeny: 3 })
    }).pipe(
      Effect.scoped,
      Effect.provide(
        guarded(
          turns,
          { mode: "shadow" },
          units.map((unit) => ({ unit, allocated: 1_000_000 }))
        )
      )
    )
  )

  it.effect("embeds, and charges nothing", () =>
    Effect.gen(function* () {
      const { embed } = yield* EmbeddingModel.EmbeddingModel
      expect((yield* embed("one")).vector).toEqual([1, 2])
      expect(yield* spentOf).toEqual(nothing)
    }).pipe(Effect.provide(embeddings({ mode: "shadow" }, scarce)))
  )

  it.effect("still refuses the tools that a rule denies", () =>
    Effect.gen(function* () {
      const result = yield* program(
        LanguageModel.generateText({
          prompt: "Write to them",
          toolkit: CyclesToolkit.guard(toolkit, { Send: "deny" })
        })
      )
      expect(result.results).toMatchObject([{ type: "execution-denied" }])
    }).pipe(Effect.provide(guarded(turns, { mode: "shadow" }, scarce)))
  )
})

const embeddings = (client: Partial<CyclesConfig.CyclesConfig>, budgets: CyclesServer.MemoryOptions["budgets"]) =>
  S.embeddings.pipe(Layer.provideMerge(world([], client, budgets)))

describe('onUnreachable: "allow"', () => {
  const rich = units.map((unit) => ({ unit, allocated: 1_000_000 }))
  const client = { onUnreachable: "allow" } as const

  const back = Effect.gen(function* () {
    yield* CyclesTest.clearFaults()
    yield* TestClock.adjust("10 minutes")
    yield* Cycles.flush()
    return yield* spentOf
  })

  it.effect("runs models and tools without caps while the server is away, and charges them once afterwards", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("any", Fault.connectionRefused)
      const result = yield* program(guardedTool)
      expect(result.results).toEqual([{ sent: 1 }])
      expect(yield* back).toEqual([
        [90, 0],
        [0, 0],
        [10, 0]
      ])
      yield* CyclesTest.expectNothingReserved()
    }).pipe(Effect.provide(guarded(turns, client, rich)))
  )

  it.effect("charges a stream that is stopped, and one that fails", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("any", Fault.connectionRefused)
      const stream = LanguageModel.streamText({ prompt: "Hello" })
      yield* Stream.runDrain(Stream.take(stream, 1))
      yield* Effect.exit(Stream.runDrain(stream))
      const [[spent = 0, reserved] = []] = yield* back
      expect(reserved).toBe(0)
      expect(spent).toBeGreaterThanOrEqual(30)
    }).pipe(
      Effect.provide(
        guarded(
          [
            { parts: [S.delta("Hello"), S.delta("Hello"), S.finish(20, 10)] },
            { parts: [S.delta("Hello"), S.finish(20, 10)], fails: S.failure(S.rateLimited) }
          ],
          client,
          rich
        )
      )
    )
  )

  it.effect("charges embeddings", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("any", Fault.connectionRefused)
      const { embed } = yield* EmbeddingModel.EmbeddingModel
      yield* embed("one")
      expect(yield* back).toEqual([
        [7, 0],
        [0, 0],
        [0, 0]
      ])
    }).pipe(Effect.provide(embeddings(client, rich)))
  )

  it.effect("is an option of a model", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("any", Fault.connectionRefused)
      yield* LanguageModel.generateText({ prompt: "Hello" })
      expect((yield* back)[0]).toEqual([30, 0])
    }).pipe(Effect.provide(guarded(turns.slice(1), {}, rich, client)))
  )

  it.effect("enforces the budget of a run", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("any", Fault.connectionRefused)
      const text = LanguageModel.generateText({ prompt: "Hello" })
      const exit = yield* Effect.exit(text.pipe(Cycles.withBudget(Amount.tokens(10))))
      expect(exit._tag).toBe("Failure")
      expect((yield* S.Script).asked).toEqual([])
      expect((yield* back)[0]).toEqual([0, 0])
    }).pipe(Effect.provide(guarded(turns, client, rich)))
  )
})
