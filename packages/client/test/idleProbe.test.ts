import { CyclesServer } from "@effect-cycles/server"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { Cycles } from "effect-cycles"
import * as Faults from "./support/faults.ts"
import { action, live, tokens } from "./support/live.ts"

const act = Effect.void.pipe(Cycles.withCycles({ action, estimate: tokens(1) }))

/** Starts ten guarded bodies, and returns how many reserves have been sent before the first response. */
const burst = Effect.gen(function* () {
  const faults = yield* Faults.Faults
  const reserves = () => faults.operations().filter((operation) => operation === "reserve").length
  const before = reserves()
  const fiber = yield* Effect.forkChild(
    Effect.forEach(Array.from({ length: 10 }), () => act, { concurrency: "unbounded" }),
    { startImmediately: true }
  )
  yield* TestClock.adjust(0)
  return { sent: () => reserves() - before, end: Fiber.await(fiber) }
})

const slow = { _tag: "Delay", ms: 300 } as const

describe("idle probe", () => {
  describe("first call after an idle period", () => {
    it.effect("is sent alone, and the others follow its response", () =>
      Effect.gen(function* () {
        const faults = yield* Faults.Faults
        faults.plan("reserve", slow)
        const { end, sent } = yield* burst
        expect(sent()).toBe(1)
        yield* TestClock.adjust(299)
        expect(sent()).toBe(1)
        yield* TestClock.adjust(1)
        expect(sent()).toBe(10)
        expect(yield* end).toMatchObject({ _tag: "Success" })
        yield* Effect.flatMap(CyclesServer.CyclesServer, (server) => server.assertNoneActive)
      }).pipe(Effect.provide(live()))
    )

    it.effect("delays the others for at most one second", () =>
      Effect.gen(function* () {
        const faults = yield* Faults.Faults
        faults.plan("reserve", { _tag: "Delay", ms: 5_000 })
        const { end, sent } = yield* burst
        yield* TestClock.adjust(999)
        expect(sent()).toBe(1)
        yield* TestClock.adjust(1)
        expect(sent()).toBe(10)
        yield* TestClock.adjust(4_000)
        expect(yield* end).toMatchObject({ _tag: "Success" })
      }).pipe(Effect.provide(live()))
    )

    it.effect("releases the others when it is interrupted", () =>
      Effect.gen(function* () {
        const faults = yield* Faults.Faults
        faults.plan("reserve", { _tag: "Hang" })
        const first = yield* Effect.forkChild(act, { startImmediately: true })
        const second = yield* Effect.forkChild(act, { startImmediately: true })
        yield* TestClock.adjust(0)
        expect(faults.operations()).toEqual(["reserve"])
        yield* Fiber.interrupt(first)
        yield* TestClock.adjust(0)
        expect(yield* Fiber.await(second)).toMatchObject({ _tag: "Success" })
      }).pipe(Effect.provide(live()))
    )

    it.effect.each([
      ["the default of 50 s", {}, 50_000],
      ["what is set", { idleProbeAfter: "2 seconds" }, 2_000]
    ] as const)("is a probe after %s, to the millisecond", ([, config, idleMs]) =>
      Effect.gen(function* () {
        const faults = yield* Faults.Faults
        yield* act
        yield* TestClock.adjust(idleMs - 1)
        faults.plan("reserve", ...Array.from({ length: 10 }, () => slow))
        const busy = yield* burst
        expect(busy.sent()).toBe(10)
        yield* TestClock.adjust(300)
        yield* busy.end
        yield* TestClock.adjust(idleMs)
        faults.plan("reserve", slow)
        const idle = yield* burst
        expect(idle.sent()).toBe(1)
        yield* TestClock.adjust(300)
        yield* idle.end
      }).pipe(Effect.provide(live(config)))
    )
  })
})
