/**
 * The limits of runs under random agents: parallel model calls of all kinds, tools, and failures of server and
 * provider.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { expect, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Amount, Run } from "effect-cycles"
import * as CyclesModel from "../src/CyclesModel.ts"
import * as CyclesToolkit from "../src/CyclesToolkit.ts"
import * as S from "./support/script.ts"

const below = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))
const limit = Schema.UndefinedOr(below(4))
const Limits = Schema.Struct({ steps: limit, toolCalls: limit, callsPerTool: limit, repeats: limit })

/** How the provider responds to a call. */
const Turn = Schema.Literals(["responds", "calls tools", "refuses", "fails after it was asked", "breaks off", "hangs"])

const Story = Schema.Struct({
  outer: Limits,
  inner: Limits,
  calls: Schema.Array(
    Schema.Struct({
      isInner: Schema.Boolean,
      method: Schema.Literals(["text", "stream", "object"]),
      turn: Turn,
      tools: Schema.Array(Schema.Struct({ name: Schema.Literals(["Search", "Mail"]), id: below(1) })).check(
        Schema.isMaxLength(3)
      ),
      isInterrupted: Schema.Boolean
    })
  ).check(Schema.isMaxLength(10)),
  faults: Schema.Array(Schema.Literals(["none", "none", "denied", "refused", "hangs"]))
})
type Call = (typeof Story.Type)["calls"][number]

const faults = {
  none: Fault.none,
  denied: Fault.denied,
  refused: Fault.connectionRefused,
  hangs: Fault.noResponse
} as const

const parameters = Schema.Struct({ id: Schema.Int })
const tools = Toolkit.make(
  Tool.make("Search", { parameters, success: Schema.String }),
  Tool.make("Mail", { parameters, success: Schema.String })
)

/** The calls that the provider received and didn't refuse, and the calls of handlers, in one run and its children. */
interface Seen {
  steps: number
  readonly tools: Array<readonly [name: string, id: number]>
}

/** A guarded model whose provider follows the prompt. */
const model = (calls: ReadonlyArray<Call>, seen: (call: Call) => ReadonlyArray<Seen>) => {
  const callOf = (options: LanguageModel.ProviderOptions) => {
    const [message] = options.prompt.content
    const part = message?.role === "user" ? message.content[0] : undefined
    const call = calls[part?.type === "text" ? Number(part.text) : -1]
    if (call === undefined) throw new Error("The prompt names no call")
    if (call.turn !== "refuses") for (const one of seen(call)) one.steps += 1
    return call
  }
  const finish = S.finish(2, 1)
  const ask = (options: LanguageModel.ProviderOptions) =>
    Effect.gen(function* () {
      const { tools, turn } = callOf(options)
      if (turn !== "refuses") yield* Effect.yieldNow
      const failure = (reason: AiError.AiErrorReason) => Effect.fail(S.failure(reason))
      switch (turn) {
        case "refuses":
          return yield* failure(S.rateLimited)
        case "fails after it was asked":
          return yield* failure(new AiError.InternalProviderError({ description: "failed" }))
        case "breaks off":
          return yield* failure(new AiError.InvalidOutputError({ description: "cut" }))
        case "hangs":
          return yield* Effect.never
        case "calls tools":
          return options.toolChoice === "none"
            ? [S.text('{"ok":true}'), finish]
            : [S.text('{"ok":true}'), ...tools.map(({ id, name }, i) => S.toolCall(name, { id }, `call-${i}`)), finish]
        case "responds":
          return [S.text('{"ok":true}'), finish]
      }
    })
  const provider = Layer.effect(
    LanguageModel.LanguageModel,
    LanguageModel.make({
      generateText: ask,
      streamText: (options) =>
        Stream.unwrap(
          Effect.map(ask(options), (parts) => Stream.fromIterable(parts.filter((part) => part.type !== "text")))
        )
    })
  )
  return CyclesModel.layer({ provider: "openai", model: "gpt-5", maxOutputTokens: 16 }).pipe(Layer.provide(provider))
}

const most = (keys: ReadonlyArray<string>): number =>
  Math.max(0, ...Array.from(new Set(keys), (key) => keys.filter((one) => one === key).length))

it.effect.prop(
  "random agents never exceed a limit of their run or the run around it, and steps are the calls that a provider received",
  { story: Story },
  ({ story: { calls, faults: names, inner, outer } }) => {
    const total: Seen = { steps: 0, tools: [] }
    const part: Seen = { steps: 0, tools: [] }
    const seen = ({ isInner }: Call) => (isInner ? [total, part] : [total])
    const schema = Schema.Struct({ ok: Schema.Boolean })

    return Effect.gen(function* () {
      const around = yield* Run.make({ name: "outer", limits: outer })
      const inside = yield* Run.make({ name: "inner", limits: inner }).pipe(Run.within(around))
      if (names.length > 0) yield* CyclesTest.inject("reserve", ...names.map((name) => faults[name]))

      const fibers = yield* Effect.forEach(calls, (call, index) => {
        const handler =
          (name: string) =>
          ({ id }: { readonly id: number }) =>
            Effect.sync(() => {
              for (const one of seen(call)) one.tools.push([name, id])
              return "done"
            })
        const toolkit = CyclesToolkit.guard(tools, { Mail: { estimate: Amount.riskPoints(1) } }).pipe(
          Effect.provide(tools.toLayer({ Search: handler("Search"), Mail: handler("Mail") }))
        )
        const prompt = String(index)
        const program = {
          text: LanguageModel.generateText({ prompt, toolkit }),
          stream: Stream.runDrain(LanguageModel.streamText({ prompt, toolkit })),
          object: LanguageModel.generateObject({ prompt, toolkit, schema })
        }[call.method]
        return Effect.forkChild(Run.within(program, call.isInner ? inside : around))
      })
      for (const [index, fiber] of fibers.entries()) {
        yield* Effect.forEach(Array.from({ length: index }), () => Effect.yieldNow, { discard: true })
        const call = calls[index]
        if (call?.isInterrupted === true) yield* Fiber.interrupt(fiber)
      }
      yield* TestClock.adjust("1 hour")
      // Every call has ended, or the provider hangs.
      yield* Fiber.interruptAll(fibers)

      for (const [run, limits, counted] of [
        [around, outer, total],
        [inside, inner, part]
      ] as const) {
        const { callsPerTool = Infinity, repeats = Infinity, steps = Infinity, toolCalls = Infinity } = limits
        const summary = yield* run.summary
        // A call that is interrupted while it is sent counts, since the provider may have received it.
        const interrupted = calls.filter(({ isInner, isInterrupted }) => isInterrupted && (run === around || isInner))
        expect(summary.steps).toBeGreaterThanOrEqual(counted.steps)
        expect(summary.steps).toBeLessThanOrEqual(counted.steps + interrupted.length)
        if (interrupted.length === 0) expect(summary.steps).toBe(counted.steps)
        expect(summary.steps).toBeLessThanOrEqual(steps)
        expect(counted.tools.length).toBeLessThanOrEqual(summary.toolCalls)
        expect(summary.toolCalls).toBeLessThanOrEqual(toolCalls)
        expect(most(counted.tools.map(([name]) => name))).toBeLessThanOrEqual(callsPerTool)
        expect(most(counted.tools.map((one) => one.join()))).toBeLessThanOrEqual(repeats)
      }
    }).pipe(
      Effect.scoped,
      Effect.provide(
        model(calls, seen).pipe(
          Layer.provideMerge(
            S.world([], {
              budgets: [
                { unit: "TOKENS", allocated: 1_000_000 },
                { unit: "RISK_POINTS", allocated: 1_000_000 }
              ]
            })
          )
        )
      )
    )
  },
  { arbitrary: { runs: 200 }, timeout: 60_000 }
)
