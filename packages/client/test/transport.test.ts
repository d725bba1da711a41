/**
 * A call ends by its deadline and affects no other call, even if its `HttpClient` throws, dies or hangs.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import { Cycles, CyclesConfig, CyclesTransport, SettlementJournal } from "effect-cycles"
import * as Bulkhead from "../src/internal/transport/bulkhead.ts"
import type { Timer } from "../src/internal/transport/timerQueue.ts"
import * as TimerQueue from "../src/internal/transport/timerQueue.ts"
import * as Transport from "../src/internal/transport/transport.ts"
import { action, books, live, operations, tokens } from "./support/live.ts"
import { withSettlement } from "./support/settled.ts"

const retry = CyclesConfig.retryPolicy({ jitter: false })

const exact = live({ retry })

const options = { action, estimate: tokens(100), actual: () => tokens(42) }

const guardedCall = Effect.void.pipe(withSettlement(options))

const request: CyclesTransport.TransportRequest = {
  method: "POST",
  url: "https://cycles.example.com/v1/reservations",
  headers: {},
  body: "{}",
  isRepeatable: false,
  maxResponseBytes: 1_000
}

describe("transport", () => {
  describe("broken HttpClient", () => {
    it.effect.each([
      ["dies", () => Effect.die("client bug")],
      ["interrupts itself", () => Effect.interrupt],
      [
        "throws",
        (): Effect.Effect<never> => {
          throw new Error("client bug")
        }
      ]
    ] as const)("makes a commit ambiguous if it %s: the commit is retried and charged", ([, what]) =>
      Effect.gen(function* () {
        yield* CyclesTest.inject(
          "commit",
          Fault.make("breaks", () => Effect.suspend(what))
        )
        const [settlement] = yield* guardedCall
        expect(settlement).toMatchObject({ _tag: "Pending" })
        yield* TestClock.adjust(500)
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(exact))
    )
  })

  describe("tracer that throws", () => {
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        const attribute = span.attribute.bind(span)
        span.attribute = (name, value) => {
          if (name === "cycles.decision") throw new Error("tracer bug")
          attribute(name, value)
        }
        return span
      }
    })

    it.effect("changes no result", () =>
      Effect.gen(function* () {
        const [settlement] = yield* guardedCall
        expect(settlement).toMatchObject({ _tag: "Committed" })
      }).pipe(Effect.provideService(Tracer.Tracer, tracer), Effect.provide(exact))
    )
  })

  describe("closed layer", () => {
    it.effect("keeps the timeout of a call, to the millisecond", () =>
      Effect.gen(function* () {
        const layer = yield* Scope.make()
        const context = yield* Layer.buildWithScope(exact, layer)
        const scope = yield* Scope.make()
        yield* Cycles.reserve(options).pipe(
          Effect.tap((reservation) => reservation.record({ actual: tokens(42) })),
          Scope.provide(scope),
          Effect.provideContext(context)
        )
        yield* Scope.close(layer, Exit.void)
        yield* Effect.provideContext(CyclesTest.always("commit", Fault.noResponse), context)
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
        yield* TestClock.adjust(9_999)
        expect(closing.pollUnsafe()).toBeUndefined()
        yield* TestClock.adjust(1)
        expect(closing.pollUnsafe()).toMatchObject({ _tag: "Success" })
      })
    )
  })

  describe("exchange", () => {
    it.effect.each(["is abandoned", "has a response"])("leaves no timer behind if it %s", (how) =>
      Effect.gen(function* () {
        const timers = yield* TimerQueue.make<Timer>((timer) => timer.expire())
        const bulkhead = Bulkhead.make({ maxConcurrency: 3, idleProbeAfterMs: 50_000, timers })
        const responding = Deferred.makeUnsafe<() => void>()
        const transport = CyclesTransport.fromStart((_request, _context, done) => {
          const response = { status: 200, headers: {}, body: "{}", attempts: 1 }
          Deferred.doneUnsafe(
            responding,
            Effect.succeed(() => done(Exit.succeed(response)))
          )
          return () => {}
        })
        const ends: Array<string> = []
        const abandon = Transport.start(
          { transport, bulkhead, timers },
          {
            priority: "caller",
            limitMs: 10_000,
            clock: yield* Clock.Clock,
            context: Context.empty,
            request: () => request,
            ended: ({ _tag }) => void ends.push(_tag)
          }
        )
        const respond = yield* Deferred.await(responding)
        expect(timers.size()).toBeGreaterThan(0)
        if (how === "is abandoned") abandon()
        else respond()
        expect([ends, timers.size()]).toEqual([[how === "is abandoned" ? "Abandoned" : "Done"], 0])
      })
    )
  })

  describe("redirect", () => {
    it.effect("isn't followed by fetch, so that the key isn't sent elsewhere", () => {
      const asked: Array<RequestInit | undefined> = []
      const fetch: typeof globalThis.fetch = (_url, init) => {
        asked.push(init)
        return Promise.resolve(new Response(null, { status: 307, headers: { location: "https://elsewhere.example" } }))
      }
      return Effect.gen(function* () {
        expect(yield* Effect.flip(Cycles.decide({ action, estimate: tokens(1) }))).toMatchObject({
          _tag: "ProtocolError",
          status: 307
        })
        expect(asked.map((init) => init?.redirect)).toEqual(["manual"])
      }).pipe(
        Effect.provide(
          Cycles.layer({
            baseUrl: "https://cycles.example",
            apiKey: Redacted.make("cyc_live_one"),
            subject: { tenant: "acme" }
          }).pipe(
            Layer.provide([
              Layer.provide(CyclesTransport.layerHttpClient, FetchHttpClient.layer),
              SettlementJournal.layerNone
            ])
          )
        ),
        Effect.provideService(FetchHttpClient.Fetch, fetch)
      )
    })
  })

  describe("interrupted caller", () => {
    it.effect("sends nothing and releases nothing if the call was still queued", () =>
      Effect.gen(function* () {
        yield* guardedCall
        yield* CyclesTest.always("reserve", Fault.noResponse)
        const waiting = yield* Effect.forEach(Array.from({ length: 9 }), () =>
          Effect.forkChild(guardedCall, { startImmediately: true })
        )
        yield* TestClock.adjust(0)
        const before = (yield* operations).length
        // One of three slots is for callers, so eight of the nine have sent nothing.
        expect(before).toBe(3)
        yield* CyclesTest.clearFaults("reserve")
        // Interrupt the waiting calls first. Otherwise the slot of the hanging call would be granted to one of them.
        yield* Fiber.interruptAll(waiting.toReversed())
        yield* TestClock.adjust("1 minute")
        expect((yield* operations).slice(before)).toEqual(["reserve", "release"])
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(live({ retry, maxConcurrency: 3 })))
    )

    it.effect("lets the other calls proceed if the idle probe is interrupted at any point", () =>
      Effect.gen(function* () {
        for (let steps = 1_990; steps < 2_060; steps += 1) {
          yield* TestClock.adjust("1 minute")
          const fiber = yield* Effect.forkChild(
            Effect.andThen(
              Effect.forEach(Array.from({ length: steps }), () => Effect.void, { discard: true }),
              guardedCall
            ),
            { startImmediately: true }
          )
          yield* Fiber.interrupt(fiber)
          const next = yield* Effect.forkChild(guardedCall, { startImmediately: true })
          for (let turn = 0; turn < 20; turn += 1) yield* Effect.yieldNow
          yield* TestClock.adjust(0)
          expect([steps, next.pollUnsafe() === undefined]).toEqual([steps, false])
        }
      }).pipe(Effect.provide(live({ retry }, { server: { budgets: [{ unit: "TOKENS", allocated: 1_000_000 }] } })))
    )
  })
})
