import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { Cycles } from "effect-cycles"
import { action, live, tokens } from "./support/live.ts"

const act = Effect.void.pipe(Cycles.withCycles({ action, estimate: tokens(1) }))

/** Starts ten guarded bodies, and returns how many reserves have been sent before the first response. */
const burst = Effect.gen(function* () {
  const reserves = Effect.map(CyclesTest.requests("reserve"), (sent) => sent.length)
  const before = yield* reserves
  const fiber = yield* Effect.forkChild(
    Effect.forEach(Array.from({ length: 10 }), () => act, { concurrency: "unbounded" }),
    { startImmediately: true }
  )
  yield* TestClock.adjust(0)
  return { sent: Effect.map(reserves, (count) => count - before), end: Fiber.await(fiber) }
})

const slow = Fault.requestLate(300)

describe("idle probe", () => {
  describe("first call after an idle period", () => {
    it.effect("is sent alone, and the others follow its response", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", slow)
        const { end, sent } = yield* burst
        expect(yield* sent).toBe(1)
        yield* TestClock.adjust(299)
        expect(yield* sent).toBe(1)
        yield* TestClock.adjust(1)
        expect(yield* sent).toBe(10)
        expect(yield* end).toMatchObject({ _tag: "Success" })
        yield* Effect.flatMap(CyclesServer.CyclesServer, (server) => server.assertNoneActive)
      }).pipe(Effect.provide(live()))
    )

    it.effect("delays the others for at most one second", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", Fault.requestLate(5_000))
        const { end, sent } = yield* burst
        yield* TestClock.adjust(999)
        expect(yield* sent).toBe(1)
        yield* TestClock.adjust(1)
        expect(yield* sent).toBe(10)
        yield* TestClock.adjust(4_000)
        expect(yield* end).toMatchObject({ _tag: "Success" })
      }).pipe(Effect.provide(live()))
    )

    it.effect("releases the others when it is interrupted", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", Fault.noResponse)
        const first = yield* Effect.forkChild(act, { startImmediately: true })
        const second = yield* Effect.forkChild(act, { startImmediately: true })
        yield* TestClock.adjust(0)
        expect((yield* CyclesTest.requests()).map(({ operation }) => operation)).toEqual(["reserve"])
        yield* Fiber.interrupt(first)
        yield* TestClock.adjust(0)
        expect(yield* Fiber.await(second)).toMatchObject({ _tag: "Success" })
      }).pipe(Effect.provide(live()))
    )

    it.effect.each([
      ["the default of 50 s", {}, 50_000],
      ["the configured time", { idleProbeAfter: "2 seconds" }, 2_000]
    ] as const)("is a probe after %s, to the millisecond", ([, config, idleMs]) =>
      Effect.gen(function* () {
        yield* act
        yield* TestClock.adjust(idleMs - 1)
        yield* CyclesTest.inject("reserve", ...Array.from({ length: 10 }, () => slow))
        const busy = yield* burst
        expect(yield* busy.sent).toBe(10)
        yield* TestClock.adjust(300)
        yield* busy.end
        yield* TestClock.adjust(idleMs)
        yield* CyclesTest.inject("reserve", slow)
        const idle = yield* burst
        expect(yield* idle.sent).toBe(1)
        yield* TestClock.adjust(300)
        yield* idle.end
      }).pipe(Effect.provide(live(config)))
    )
  })
})
