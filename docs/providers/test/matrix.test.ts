/**
 * Every program, usage shape and outcome: the known usage is charged, a refusal is free, and nothing stays reserved.
 */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Stream } from "effect"
import type { Story, UsageShape } from "../../examples/support/fakeProvider.ts"
import { usages } from "../../examples/support/fakeProvider.ts"
import type { ProviderError } from "../support.ts"
import { charged, programs, titleOf, withFake } from "./harness.ts"

const maxOutputTokens = 100

const refusals: ReadonlyArray<readonly [Story, ProviderError["reason"]]> = [
  ["rate-limited", "rate-limited"],
  ["no-quota", "quota"],
  ["overloaded", "overloaded"],
  ["too-long", "context-length"],
  ["proxy", "overloaded"]
]

const isReported = (shape: UsageShape): boolean => shape !== "none" && shape !== "zero"

describe.each(programs.map((program) => [titleOf(program), program] as const))("%s", (_title, program) => {
  /** The reservation is never above it: the input estimate of a short prompt and the output limit. */
  const most = maxOutputTokens + 100

  it.live.each(refusals)("%s fails with the reason %s, is asked once and costs nothing", ([story, reason]) =>
    withFake((fake) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Stream.runDrain(program.run({ url: fake.url, model: story, maxOutputTokens })))
        expect(error).toMatchObject({ _tag: "ProviderError", reason })
        expect(yield* charged).toBe(0)
        expect(fake.requests).toHaveLength(1)
      })
    )
  )

  it.live.each(usages)("a complete response with usage %s", (shape) =>
    withFake((fake) =>
      Effect.gen(function* () {
        const texts = yield* Stream.runCollect(program.run({ url: fake.url, model: `plain.${shape}`, maxOutputTokens }))
        expect(texts.join("").trim().split(" ")).toHaveLength(18)
        expect(fake.requests.map(({ limit }) => limit)).toEqual([maxOutputTokens])
        const spent = yield* charged
        if (isReported(shape)) expect(spent).toBe(50)
        expect(spent).toBeGreaterThanOrEqual(18)
        expect(spent).toBeLessThanOrEqual(most)
      })
    )
  )

  const broken = usages.flatMap((shape) => [["dies", shape] as const, ["midstream", shape] as const])

  it.live.each(broken)("%s with usage %s is charged", ([story, shape]) =>
    withFake((fake) =>
      Effect.gen(function* () {
        const texts: Array<string> = []
        const error = yield* program.run({ url: fake.url, model: `${story}.${shape}`, maxOutputTokens }).pipe(
          Stream.runForEach((text) => Effect.sync(() => texts.push(text))),
          Effect.flip
        )
        expect(error).toMatchObject({ _tag: "ProviderError", reason: "lost" })
        if (program.isStream) expect(texts).toHaveLength(4)
        const spent = yield* charged
        expect(spent).toBeGreaterThanOrEqual(isReported(shape) ? program.reportedEarly(texts.length) : 0)
        expect(spent).toBeGreaterThanOrEqual(4)
        expect(spent).toBeLessThanOrEqual(most)
        expect(fake.requests).toHaveLength(1)
      })
    )
  )

  it.live.each(usages)("stall with usage %s, cancelled: hangs up and is charged", (shape) =>
    withFake((fake) =>
      Effect.gen(function* () {
        const enough = yield* Deferred.make<void>()
        let texts = 0
        const fiber = yield* program.run({ url: fake.url, model: `stall.${shape}`, maxOutputTokens }).pipe(
          Stream.runForEach(() => (++texts === 4 ? Deferred.succeed(enough, undefined) : Effect.void)),
          Effect.forkChild
        )
        const request = yield* fake.arrived(1)
        if (program.isStream) yield* Deferred.await(enough)
        yield* Fiber.interrupt(fiber)
        expect(yield* Effect.promise(() => request.hungUp)).toBe(true)
        const spent = yield* charged
        expect(spent).toBeGreaterThanOrEqual(isReported(shape) ? program.reportedEarly(texts) : 0)
        expect(spent).toBeGreaterThanOrEqual(program.isStream ? 4 : maxOutputTokens)
        expect(spent).toBeLessThanOrEqual(most)
      })
    )
  )

  it.live.each(program.isStream ? usages : [])(
    "drip with usage %s, cut after two texts: hangs up and is charged",
    (shape) =>
      withFake((fake) =>
        Effect.gen(function* () {
          yield* program
            .run({ url: fake.url, model: `drip.${shape}`, maxOutputTokens })
            .pipe(Stream.take(2), Stream.runDrain)
          const request = yield* fake.arrived(1)
          expect(yield* Effect.promise(() => request.hungUp)).toBe(true)
          const spent = yield* charged
          expect(spent).toBeGreaterThanOrEqual(isReported(shape) ? program.reportedEarly(2) : 0)
          expect(spent).toBeGreaterThanOrEqual(2)
          expect(spent).toBeLessThanOrEqual(most)
        })
      )
  )

  it.live("slow, cancelled before the response begins: hangs up and is charged at least the input", () =>
    withFake((fake) =>
      Effect.gen(function* () {
        const fiber = yield* program
          .run({ url: fake.url, model: "slow", maxOutputTokens })
          .pipe(Stream.runDrain, Effect.forkChild)
        const request = yield* fake.arrived(1)
        yield* Fiber.interrupt(fiber)
        expect(yield* Effect.promise(() => request.hungUp)).toBe(true)
        expect(yield* charged).toBeGreaterThanOrEqual(11)
      })
    )
  )
})
