/**
 * What each guarded program does with every usage shape and outcome of the fake provider: known usage is charged, a refusal is
 * free, nothing stays reserved, and a cancelled call closes its connection.
 */
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import { CyclesTest } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option, Stream } from "effect"
import { Cycles } from "effect-cycles"
import type { FakeProvider, Story, UsageShape } from "../../examples/support/fakeProvider.ts"
import { make, usages } from "../../examples/support/fakeProvider.ts"

/** The arguments of a call. The prompt is always the same. */
export interface Call {
  readonly url: string
  readonly model: string
  readonly maxOutputTokens: number
}

/** A guarded program, as a stream of the texts of its response. A whole response is one text. */
export interface Program<E> {
  readonly name: string
  readonly isStream: boolean
  /** Tokens that the provider has reported before the usage at the end. */
  readonly reportedEarly: (words: number) => number
  readonly run: (call: Call) => Stream.Stream<string, E, Cycles.Cycles>
}

/** Properties of the errors that the programs fail with. */
export interface Failures {
  readonly refused: ReadonlyArray<readonly [story: Story, error: object]>
  /** After the response began. */
  readonly lost: object
  readonly denied: object
}

/** The name of a program in test titles. */
export const titleOf = ({ isStream, name }: Program<unknown>): string => `${name}, ${isStream ? "streamed" : "whole"}`

/** A test on a fake provider and an embedded Cycles server with a budget of 10,000 tokens. */
export const withFake = <A, E, R>(body: (fake: FakeProvider) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(make, body).pipe(
    Effect.scoped,
    Effect.provide(CyclesTest.layer({ budgets: [{ unit: "TOKENS", allocated: 10_000 }] }))
  )

/** The charged tokens. Fails if something is reserved. */
export const charged = Effect.gen(function* () {
  yield* CyclesTest.expectNothingReserved()
  const balance = yield* Stream.runHead(Cycles.balances())
  return Number(Option.getOrUndefined(balance)?.spent?.amount ?? 0n)
})

const isReported = (shape: UsageShape): boolean => shape !== "none" && shape !== "zero"

/** Tests a program. `settled` returns the charged tokens, when the program has settled its calls. */
export const suite = <E>(program: Program<E>, failures: Failures, settled: typeof charged): void => {
  const maxOutputTokens = 100

  /** The reservation is never above it: the input estimate of a short prompt and the output limit. */
  const most = maxOutputTokens + 100

  const run = (fake: FakeProvider, model: string) => program.run({ url: fake.url, model, maxOutputTokens })

  describe(titleOf(program), () => {
    it.live.each(failures.refused)("%s fails with %j after one request, and costs nothing", ([story, expected]) =>
      withFake((fake) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(Stream.runDrain(run(fake, story)))
          expect(error).toMatchObject(expected)
          expect(yield* settled).toBe(0)
          expect(fake.requests).toHaveLength(1)
        })
      )
    )

    it.live.each(usages)("a complete response with usage %s is charged", (shape) =>
      withFake((fake) =>
        Effect.gen(function* () {
          const texts = yield* Stream.runCollect(run(fake, `plain.${shape}`))
          expect(texts.join("").trim().split(" ")).toHaveLength(18)
          expect(fake.requests.map(({ limit }) => limit)).toEqual([maxOutputTokens])
          const spent = yield* settled
          if (isReported(shape)) expect(spent).toBe(50)
          expect(spent).toBeGreaterThanOrEqual(18)
          expect(spent).toBeLessThanOrEqual(most)
        })
      )
    )

    const broken = usages.flatMap((shape) => [["dies", shape] as const, ["midstream", shape] as const])

    it.live.each(broken)("%s with usage %s fails after the response began, and is charged", ([story, shape]) =>
      withFake((fake) =>
        Effect.gen(function* () {
          const texts: Array<string> = []
          const error = yield* run(fake, `${story}.${shape}`).pipe(
            Stream.runForEach((text) => Effect.sync(() => texts.push(text))),
            Effect.flip
          )
          expect(error).toMatchObject(failures.lost)
          if (program.isStream) expect(texts).toHaveLength(4)
          const spent = yield* settled
          expect(spent).toBeGreaterThanOrEqual(isReported(shape) ? program.reportedEarly(texts.length) : 0)
          expect(spent).toBeGreaterThanOrEqual(4)
          expect(spent).toBeLessThanOrEqual(most)
          expect(fake.requests).toHaveLength(1)
        })
      )
    )

    it.live.each(usages)("stall with usage %s closes the connection if it is cancelled, and is charged", (shape) =>
      withFake((fake) =>
        Effect.gen(function* () {
          const enough = yield* Deferred.make<void>()
          let texts = 0
          const fiber = yield* run(fake, `stall.${shape}`).pipe(
            Stream.runForEach(() => (++texts === 4 ? Deferred.succeed(enough, undefined) : Effect.void)),
            Effect.forkChild
          )
          const request = yield* fake.arrived(1)
          if (program.isStream) yield* Deferred.await(enough)
          yield* Fiber.interrupt(fiber)
          expect(yield* Effect.promise(() => request.hungUp)).toBe(true)
          const spent = yield* settled
          expect(spent).toBeGreaterThanOrEqual(isReported(shape) ? program.reportedEarly(texts) : 0)
          expect(spent).toBeGreaterThanOrEqual(program.isStream ? 4 : maxOutputTokens)
          expect(spent).toBeLessThanOrEqual(most)
        })
      )
    )

    it.live.each(program.isStream ? usages : [])(
      "drip with usage %s closes the connection after two texts are taken, and is charged",
      (shape) =>
        withFake((fake) =>
          Effect.gen(function* () {
            yield* Stream.runDrain(Stream.take(run(fake, `drip.${shape}`), 2))
            const request = yield* fake.arrived(1)
            expect(yield* Effect.promise(() => request.hungUp)).toBe(true)
            const spent = yield* settled
            expect(spent).toBeGreaterThanOrEqual(isReported(shape) ? program.reportedEarly(2) : 0)
            expect(spent).toBeGreaterThanOrEqual(2)
            expect(spent).toBeLessThanOrEqual(most)
          })
        )
    )

    it.live("a cap is sent as the output limit, and the shorter response is charged", () =>
      withFake((fake) =>
        Effect.gen(function* () {
          yield* (yield* CyclesServer.CyclesServer).setCaps("TOKENS", { max_tokens: 16 })
          const texts = yield* Stream.runCollect(run(fake, "plain"))
          expect(texts.join("").trim().split(" ")).toHaveLength(4)
          expect(fake.requests.map(({ limit }) => limit)).toEqual([16])
          expect(yield* settled).toBe(36)
        })
      )
    )

    it.live("a denied call isn't sent", () =>
      withFake((fake) =>
        Effect.gen(function* () {
          yield* (yield* CyclesServer.CyclesServer).setStatus("TOKENS", "FROZEN")
          const error = yield* Effect.flip(Stream.runDrain(run(fake, "plain")))
          expect(error).toMatchObject(failures.denied)
          expect(fake.requests).toHaveLength(0)
          expect(yield* settled).toBe(0)
        })
      )
    )
  })
}
