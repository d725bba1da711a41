import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Chat from "effect/ai/Chat"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Model from "effect/ai/Model"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Amount, Cycles, CyclesError, Run } from "effect-cycles"
import * as CyclesAiError from "../src/CyclesAiError.ts"
import * as CyclesModel from "../src/CyclesModel.ts"
import * as Estimator from "../src/Estimator.ts"
import * as S from "./support/script.ts"

/** The names of the models that were asked, in order. */
class Asked extends Context.Service<Asked, Array<string>>()("test/Asked") {}

/** Every prompt is 60 tokens, and every response at most 40: a call is 100. */
const options = { maxOutputTokens: 40 }
const sixty = Layer.sync(Estimator.Estimator, () => ({
  ...Estimator.make(),
  input: ({ model }: Estimator.Request) =>
    Effect.succeed({ model, tokens: 60, text: 60, attachments: {}, hasProviderTools: false }),
  learn: () => {}
}))

/** A provider reads the output limit of its guard. */
const readsLimit = Effect.map(Effect.serviceOption(S.OpenAiConfig), (config) => {
  if (Option.isSome(config)) void config.value["max_output_tokens"]
})

/**
 * A guarded model that always spends the reserved amount. It calls a tool if it has one and the prompt has no result of it.
 */
const tier = (name: string) => {
  const respond = (request: LanguageModel.ProviderOptions) => {
    const [tool] = request.tools
    const wants = tool !== undefined && !JSON.stringify(request.prompt).includes("tool-result")
    const isObject = request.responseFormat.type === "json"
    return wants
      ? [S.toolCall(tool.name, {}, `call-${name}`), S.finish(60, 40, "tool-calls")]
      : [S.text(isObject ? '{"model":"x"}' : name), S.finish(60, 40)]
  }
  return CyclesModel.layer(options).pipe(
    Layer.provide(sixty),
    Layer.provide(
      Layer.effect(
        LanguageModel.LanguageModel,
        Effect.flatMap(Asked, (asked) =>
          LanguageModel.make({
            generateText: (request) =>
              Effect.map(readsLimit, () => {
                asked.push(name)
                return respond(request)
              }),
            streamText: (request) =>
              Stream.unwrap(
                Effect.map(readsLimit, () => {
                  asked.push(name)
                  const [first] = respond(request)
                  return Stream.make(
                    first?.type === "tool-call" ? first : S.delta(name),
                    S.finish(60, 40, first?.type === "tool-call" ? "tool-calls" : "stop")
                  )
                })
              )
          })
        )
      ).pipe(
        Layer.merge(
          Layer.succeedContext(Context.add(Context.make(Model.ProviderName, "openai"), Model.ModelName, name))
        )
      )
    )
  )
}

const tiers = CyclesModel.layerTiers({
  unit: "TOKENS",
  tiers: [{ above: 0.5, model: tier("big") }, { above: 0.2, model: tier("middle") }, { model: tier("small") }]
})

const world = tiers.pipe(
  Layer.provideMerge(
    Layer.merge(
      CyclesTest.layer({ budgets: [{ unit: "TOKENS", allocated: 1_000_000 }] }),
      Layer.sync(Asked, (): Array<string> => [])
    )
  )
)

const Look = Tool.make("Look", { success: Schema.String })
const toolkit = Toolkit.make(Look)
const looked = toolkit.toLayer({ Look: () => Effect.succeed("seen") })

const ways = {
  text: LanguageModel.generateText({ prompt: "Hello" }),
  stream: Stream.runDrain(LanguageModel.streamText({ prompt: "Hello" })),
  object: LanguageModel.generateObject({ prompt: "Hello", schema: Schema.Struct({ model: Schema.String }) }),
  toolkit: Effect.provide(LanguageModel.generateText({ prompt: "Hello", toolkit }), looked),
  "stream with a toolkit": Effect.provide(
    Stream.runDrain(LanguageModel.streamText({ prompt: "Hello", toolkit })),
    looked
  ),
  chat: Effect.flatMap(Chat.empty, (chat) => chat.generateText({ prompt: "Hello" }))
}

/** Runs an effect that must be denied, and returns the denial. */
const denialOf = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(self), (error) => {
    const denial = CyclesAiError.denialOf(error)
    if (denial === undefined) throw error
    return denial
  })

const counts = (names: ReadonlyArray<string>) =>
  ["big", "middle", "small"].map((name) => names.filter((one) => one === name).length)

describe("CyclesModel.layerTiers", () => {
  it.effect.each(["text", "stream", "object", "toolkit", "stream with a toolkit", "chat"] as const)(
    "asks the big model 8 times, the middle one 4 times and the small one 3 times in a run of 1,500, by %s",
    (way) =>
      Effect.gen(function* () {
        const run = yield* Run.make({ budget: Amount.tokens(1_500) })
        yield* Effect.forEach(Array.from({ length: 15 }), () => Run.within(ways[way], run), { discard: true })
        expect(yield* Asked).toEqual([
          ...Array.from({ length: 8 }, () => "big"),
          ...Array.from({ length: 4 }, () => "middle"),
          ...Array.from({ length: 3 }, () => "small")
        ])
        expect(yield* denialOf(Run.within(ways[way], run))).toMatchObject({ code: "RUN_BUDGET_EXCEEDED" })
        expect(yield* run.remaining("TOKENS")).toMatchObject({ value: { amount: 0n } })
        expect((yield* run.summary).lines.map(({ action, calls }) => [action.name, calls])).toEqual([
          ["openai:big", 8],
          ["openai:middle", 4],
          ["openai:small", 3]
        ])
      }).pipe(Effect.scoped, Effect.provide(world))
  )

  it.effect("uses the first tier without a run, and without a budget in the unit", () =>
    Effect.gen(function* () {
      yield* ways.text
      yield* Cycles.withBudget(ways.stream, Amount.credits(1))
      expect(yield* Asked).toEqual(["big", "big"])
    }).pipe(Effect.provide(world))
  )

  it.effect("chooses by the least share that is left around the run, held amounts excluded", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ budget: Amount.tokens(1_000) })
      yield* Effect.gen(function* () {
        yield* Cycles.withBudget(ways.text, Amount.tokens(150))
        yield* Cycles.withCycles(ways.text, {
          action: { kind: "agent.step", name: "plan" },
          estimate: Amount.tokens(500)
        })
        yield* Cycles.withBudget(ways.text, Amount.tokens(10_000))
      }).pipe(Run.within(run))
      expect(yield* Asked).toEqual(["big", "middle", "middle"])
    }).pipe(Effect.scoped, Effect.provide(world))
  )

  it.effect.each(["text", "stream", "object", "toolkit", "stream with a toolkit", "chat"] as const)(
    "tries the next tier if a call is denied before it starts, by %s",
    (way) =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", Fault.denied, Fault.denied)
        yield* ways[way]
        expect(yield* Asked).toEqual(["small"])
        yield* CyclesTest.inject("reserve", Fault.denied, Fault.denied, Fault.denied)
        expect(yield* denialOf(ways[way])).toMatchObject({ code: "BUDGET_EXCEEDED" })
        expect(yield* Asked).toEqual(["small"])
      }).pipe(Effect.provide(world))
  )

  it.effect("doesn't try another tier for an ended run, for the last step, and for errors that aren't denials", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ limits: { steps: 0 } })
      expect(yield* denialOf(Run.within(ways.text, run))).toMatchObject({ code: "RUN_STEPS_EXCEEDED" })
      expect((yield* run.summary).denials).toBe(1)
      const ended = yield* Effect.scoped(Run.make({}))
      expect(yield* denialOf(Run.within(ways.stream, ended))).toMatchObject({ code: "RUN_ENDED" })
      expect((yield* ended.summary).denials).toBe(1)
      yield* CyclesTest.always("reserve", Fault.connectionRefused)
      yield* Effect.flip(ways.text)
      expect(yield* Asked).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(world))
  )

  it.effect("stays with the tier that was admitted, if a tool in it is denied", () =>
    Effect.gen(function* () {
      const denial = new CyclesError.BudgetExceeded({ operation: "reserve", code: "BUDGET_EXCEEDED", scopes: [] })
      const Fails = Tool.make("Fails", { success: Schema.String, failure: Schema.Unknown })
      const failing = Toolkit.make(Fails)
      const called = LanguageModel.generateText({ prompt: "Hello", toolkit: failing }).pipe(
        Effect.provide(failing.toLayer({ Fails: () => Effect.fail(CyclesAiError.fromBudget("generateText", denial)) }))
      )
      yield* Effect.flip(called)
      expect(counts(yield* Asked)).toEqual([1, 0, 0])
    }).pipe(Effect.provide(world))
  )

  it.effect.each<[string, ReadonlyArray<number | undefined>]>([
    ["a share above 1", [1.5, undefined]],
    ["a share that isn't less than the one before", [0.3, 0.3, undefined]],
    ["a tier after one without a share", [undefined, 0.3]],
    ["NaN", [Number.NaN, undefined]]
  ])("dies with %s", ([, shares]) =>
    Effect.gen(function* () {
      const [first, ...rest] = shares.map((above) => ({ above, model: tier("big") }))
      if (first === undefined) throw new Error("no tier")
      const exit = yield* Effect.exit(Layer.build(CyclesModel.layerTiers({ unit: "TOKENS", tiers: [first, ...rest] })))
      expect(Exit.isFailure(exit) && String(exit.cause)).toMatch(/tiers\[\d\]\.above: expected a share/)
    }).pipe(Effect.scoped, Effect.provide(world))
  )
})
