/**
 * Guarded models whose prices, estimators and providers misbehave: responses are returned, and nothing stays reserved.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Amount } from "effect-cycles"
import * as CyclesModel from "../src/CyclesModel.ts"
import * as Estimator from "../src/Estimator.ts"
import * as OutputLimit from "../src/OutputLimit.ts"
import * as Pricing from "../src/Pricing.ts"
import * as S from "./support/script.ts"

const methods = [
  ["generateText", LanguageModel.generateText({ prompt: "Hello" })],
  ["streamText", Stream.runDrain(LanguageModel.streamText({ prompt: "Hello" }))],
  ["generateObject", LanguageModel.generateObject({ prompt: "Hello", schema: Schema.Struct({ a: Schema.String }) })]
] as const

const parts = [S.text('{"a":"b"}'), S.delta("Hi"), S.finish(10, 10)]

/** A guarded model that charges tokens and dollars. */
const priced = (pricing: Pricing.Pricing, turn: S.Turn = { parts }) =>
  CyclesModel.layer({ units: "both" }).pipe(
    Layer.provide(S.bare),
    Layer.provide(Layer.succeed(Pricing.Pricing, pricing)),
    Layer.provideMerge(S.world([turn]))
  )

const prices = Pricing.fromTable({ "gpt-5": { input: 1, output: 1 } })

/** The spent and the reserved amounts of both budgets. */
const allBooks = Effect.gen(function* () {
  const server = yield* CyclesServer.CyclesServer
  const tokens = yield* server.books("TOKENS")
  const dollars = yield* server.books("USD_MICROCENTS")
  return {
    spent: [Number(tokens.spent), Number(dollars.spent)],
    reserved: [Number(tokens.reserved), Number(dollars.reserved)]
  }
})

/** The dollars that were reserved. */
const reservedDollars = Effect.map(CyclesTest.requests("reserve"), (sent) =>
  Number(JSON.parse(sent[1]?.body ?? "").estimate.amount)
)

const settle = Effect.forEach(Array.from({ length: 50 }), () => Effect.yieldNow, { discard: true })

const defectOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isDieReason)?.defect : undefined

describe.each(methods)("prices of %s", (_, call) => {
  it.effect.each([
    ["of another unit", () => Effect.succeed(Amount.tokens(5))],
    ["that throw", () => Effect.die("no price")]
  ] as const)("%s are replaced by the estimate", ([, price]) =>
    Effect.gen(function* () {
      yield* call
      expect(yield* allBooks).toEqual({ spent: [20, yield* reservedDollars], reserved: [0, 0] })
    }).pipe(Effect.provide(priced(Pricing.make(price, prices.maximum))))
  )

  it.effect("that take longer than 5 seconds are replaced by the estimate", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(call, { startImmediately: true })
      yield* settle
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(fiber)
      expect(yield* allBooks).toEqual({ spent: [20, yield* reservedDollars], reserved: [0, 0] })
    }).pipe(Effect.provide(priced(Pricing.make(() => Effect.never, prices.maximum))))
  )

  it.effect("that hang are interrupted with the call, which is charged its estimate", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(call, { startImmediately: true })
      yield* settle
      yield* Fiber.interrupt(fiber)
      expect(yield* allBooks).toEqual({ spent: [20, yield* reservedDollars], reserved: [0, 0] })
    }).pipe(Effect.provide(priced(Pricing.make(() => Effect.never, prices.maximum))))
  )

  it.effect("that take a second are waited for after an interrupt of the provider's call", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(call, { startImmediately: true })
      yield* settle
      const interrupt = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
      yield* settle
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(interrupt)
      const { reserved, spent } = yield* allBooks
      expect(reserved).toEqual([0, 0])
      expect(spent[1]).toBe(7)
    }).pipe(
      Effect.provide(
        priced(
          Pricing.make(
            () => Effect.delay(Effect.succeed(Amount.make("USD_MICROCENTS", 7)), "1 second"),
            prices.maximum
          ),
          { parts: [], hangs: true }
        )
      )
    )
  )

  it.effect("whose maximum hangs are interrupted with the call, which costs nothing", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(call, { startImmediately: true })
      yield* settle
      yield* Fiber.interrupt(fiber)
      expect(yield* allBooks).toEqual({ spent: [0, 0], reserved: [0, 0] })
    }).pipe(Effect.provide(priced(Pricing.make(prices.price, () => Effect.never))))
  )

  it.effect("whose maximum has another unit die with a TypeError before anything is reserved", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(call)
      expect(defectOf(exit)).toEqual(
        new TypeError("Pricing.maximum must return an amount in USD_MICROCENTS, got 5 TOKENS")
      )
      expect(yield* CyclesTest.requests("reserve")).toEqual([])
    }).pipe(Effect.provide(priced(Pricing.make(prices.price, () => Effect.succeed(Amount.tokens(5))))))
  )
})

describe.each(methods)("estimates of %s", (_, call) => {
  it.effect.each([NaN, Infinity, -1])("of %s tokens die with a RangeError before anything is reserved", (tokens) => {
    const estimator = Estimator.make()
    const bad: Estimator.Estimator = {
      ...estimator,
      input: (request) => Effect.map(estimator.input(request), (estimate) => ({ ...estimate, tokens }))
    }
    return Effect.gen(function* () {
      const exit = yield* Effect.exit(call)
      expect(defectOf(exit)).toEqual(
        new RangeError(`Estimator.input must return a finite number of tokens of at least 0, got ${tokens}`)
      )
      expect(yield* CyclesTest.requests("reserve")).toEqual([])
    }).pipe(Effect.provide(S.guarded([{ parts }]).pipe(Layer.provide(Layer.succeed(Estimator.Estimator, bad)))))
  })
})

describe.each(methods)("usage of %s", (_, call) => {
  it.effect.each([2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER])(
    "of %s tokens is charged as far as the budget allows, and the response is returned",
    (tokens) =>
      Effect.gen(function* () {
        yield* call
        expect(yield* S.books).toEqual({ spent: 10_000, reserved: 0 })
      }).pipe(Effect.provide(S.guarded([{ parts: [S.text('{"a":"b"}'), S.delta("Hi"), S.finish(tokens, tokens)] }])))
  )
})

describe.each(methods)("an interruption of %s at any time", (_, call) => {
  /** A provider that takes a second for each part, or for the whole response. */
  const slow = (progress: { asked: number; finished: number }) => {
    const part = <A>(value: A, isLast: boolean) =>
      Effect.gen(function* () {
        progress.asked++
        yield* Effect.sleep("1 second")
        if (isLast) progress.finished++
        return value
      })
    return Layer.effect(
      LanguageModel.LanguageModel,
      LanguageModel.make({
        generateText: () => part([S.text('{"a":"b"}'), S.finish(10, 10)], true),
        streamText: () =>
          Stream.fromIterable([S.delta("a"), S.finish(10, 10), S.delta("b")]).pipe(
            Stream.rechunk(1),
            Stream.mapEffect((one) => part(one, one.type === "finish"))
          )
      })
    )
  }

  it.effect.each(Array.from({ length: 15 }, (_, i) => i * 500))(
    "(after %d ms) leaves nothing reserved and charges the usage once",
    (interruptedAtMs) => {
      const progress = { asked: 0, finished: 0 }
      const model = CyclesModel.layer({
        units: "both",
        provider: "openai",
        model: "gpt-5",
        outputLimit: OutputLimit.none
      })
      return Effect.gen(function* () {
        yield* Effect.forEach(["reserve", "commit", "release"] as const, (operation) =>
          CyclesTest.always(operation, Fault.late("1 second"))
        )
        const fiber = yield* Effect.forkChild(call, { startImmediately: true })
        const advance = Effect.andThen(settle, TestClock.adjust(500))
        yield* Effect.forEach(Array.from({ length: interruptedAtMs / 500 }), () => advance)
        const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
        yield* Effect.forEach(Array.from({ length: 20 }), () => advance)
        yield* Fiber.join(interruption)

        const { reserved, spent } = yield* allBooks
        expect(reserved).toEqual([0, 0])
        if (progress.finished > 0) expect(spent).toEqual([20, 2_000])
        else expect(spent.map((amount) => amount > 0)).toEqual([progress.asked > 0, progress.asked > 0])
      }).pipe(
        Effect.provide(
          model.pipe(
            Layer.provide(slow(progress)),
            Layer.provide(Layer.succeed(Pricing.Pricing, prices)),
            Layer.provideMerge(S.world([]))
          )
        )
      )
    }
  )
})
