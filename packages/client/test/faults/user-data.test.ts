/**
 * Metrics, metadata and other values of the caller that can't be read: the spend is still committed.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type { Metrics } from "effect-cycles"
import { Cycles, CyclesConfig, Reservation } from "effect-cycles"
import { action, books, live, tokens } from "../support/live.ts"

type Json = { readonly [key: string]: Schema.Json }

const stage = live({ retry: CyclesConfig.retryPolicy({ jitter: false }) })

const options = { action, estimate: tokens(100) }

const revoked = (): Json => {
  const { proxy, revoke } = Proxy.revocable<Json>({}, {})
  revoke()
  return proxy
}

const nested = (levels: number): Json => {
  let value: Json = {}
  for (let level = 0; level < levels; level++) value = { a: value }
  return value
}

const throwing = (): Json => ({
  get secret(): string {
    throw new Error("a getter of the caller")
  }
})

const unreadable: ReadonlyArray<readonly [what: string, make: () => Json]> = [
  ["contain a getter that throws", throwing],
  ["contain a revoked proxy", revoked],
  ["are 20,000 levels deep", () => nested(20_000)]
]

/** Metrics whose fields throw. */
const throwingMetrics = (): Metrics.Metrics => ({
  get tokensInput(): number {
    throw new Error("a getter of the caller")
  }
})

/** Asserts that the spend is charged, nothing is reserved, and a flush is complete. */
const expectSettled = Effect.gen(function* () {
  yield* TestClock.adjust("1 minute")
  expect(yield* books).toEqual({ spent: 42, reserved: 0 })
  yield* CyclesTest.expectNothingReserved()
  expect(yield* Cycles.flush("1 second")).toEqual({ isComplete: true, pending: 0 })
})

const commits = <A, E>(title: string, run: () => Effect.Effect<A, E, Cycles.Cycles>) =>
  it.effect(title, () =>
    Effect.gen(function* () {
      yield* Effect.exit(Effect.suspend(run))
      yield* expectSettled
    }).pipe(Effect.provide(stage))
  )

describe("user data", () => {
  describe("withCycles", () => {
    for (const [what, make] of unreadable) {
      commits(`commits the actual amount when the metrics ${what}`, () =>
        Cycles.withCycles(Effect.void, { ...options, actual: () => tokens(42), metrics: () => ({ custom: make() }) })
      )

      commits(`commits the recorded amount of a body that fails when the recorded metrics ${what}`, () =>
        Reservation.record({ actual: tokens(42), metrics: { custom: make() } }).pipe(
          Effect.andThen(Effect.fail("the body fails")),
          Cycles.withCycles(options)
        )
      )
    }

    commits("commits the recorded amount if reading the recorded metrics throws", () =>
      Reservation.record({ actual: tokens(42), metrics: throwingMetrics() }).pipe(Cycles.withCycles(options))
    )

    it.effect("dies with the defect of metrics once the spend is safe", () =>
      Effect.gen(function* () {
        const exit = yield* Cycles.withCycles(Effect.void, {
          ...options,
          actual: () => tokens(42),
          metrics: () => ({ custom: throwing() })
        }).pipe(Effect.exit)
        yield* expectSettled
        expect(Exit.hasDies(exit)).toBe(true)
      }).pipe(Effect.provide(stage))
    )
  })

  describe("withCyclesStream", () => {
    for (const [what, make] of unreadable) {
      commits(`commits the recorded amount when the recorded metrics ${what}`, () =>
        Stream.fromEffect(Reservation.record({ actual: tokens(42), metrics: { custom: make() } })).pipe(
          Cycles.withCyclesStream(options),
          Stream.runDrain
        )
      )
    }

    commits("commits the recorded amount if reading the recorded metrics throws", () =>
      Stream.fromEffect(Reservation.record({ actual: tokens(42), metrics: throwingMetrics() })).pipe(
        Cycles.withCyclesStream(options),
        Stream.runDrain
      )
    )
  })

  describe("reserve", () => {
    for (const [what, make] of unreadable) {
      commits(`commits the amount of a commit whose metrics ${what}`, () =>
        Effect.scoped(
          Effect.flatMap(Cycles.reserve(options), (reservation) =>
            reservation.commit({ actual: tokens(42), metrics: { custom: make() } })
          )
        )
      )

      commits(`commits the recorded amount at the end of the scope when the recorded metrics ${what}`, () =>
        Effect.scoped(
          Effect.flatMap(Cycles.reserve(options), (reservation) =>
            reservation.record({ actual: tokens(42), metrics: { custom: make() } })
          )
        )
      )
    }

    commits("commits the recorded amount if reading the recorded metrics throws", () =>
      Effect.scoped(
        Effect.flatMap(Cycles.reserve(options), (reservation) =>
          reservation.record({ actual: tokens(42), metrics: throwingMetrics() })
        )
      )
    )
  })

  describe("encoding", () => {
    it.effect("sends recorded metrics as they were at the time of recording", () =>
      Effect.gen(function* () {
        const custom: Record<string, Schema.Json> = { model: "small" }
        yield* Reservation.record({ actual: tokens(42), metrics: { custom } }).pipe(
          Effect.andThen(Effect.sync(() => void (custom["model"] = "large"))),
          Cycles.withCycles(options)
        )
        const commit = (yield* CyclesTest.requests("commit"))[0]
        expect(JSON.parse(commit?.body ?? "{}")).toMatchObject({ metrics: { custom: { model: "small" } } })
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(stage))
    )

    it.effect("recovers spend under the original action and subject, even if they were mutated", () =>
      Effect.gen(function* () {
        const given = { kind: "llm.completion", name: "before" }
        const subject = { workspace: "before" }
        yield* CyclesTest.inject("commit", Fault.error(410, "RESERVATION_EXPIRED"))
        yield* Effect.sync(() => {
          given.name = "after"
          subject.workspace = "after"
        }).pipe(Cycles.withCycles({ action: given, subject, estimate: tokens(100), actual: () => tokens(42) }))
        const event = (yield* CyclesTest.requests("event"))[0]
        expect(JSON.parse(event?.body ?? "{}")).toMatchObject({
          action: { name: "before" },
          subject: { workspace: "before" }
        })
      }).pipe(Effect.provide(stage))
    )

    it.effect("recovers spend although reading the action now throws", () =>
      Effect.gen(function* () {
        let isReadable = true
        const given = {
          kind: "llm.completion",
          get name(): string {
            if (!isReadable) throw new Error("a getter of the caller")
            return "openai:gpt-5"
          }
        }
        yield* CyclesTest.inject("commit", Fault.error(410, "RESERVATION_EXPIRED"))
        yield* Effect.sync(() => void (isReadable = false)).pipe(
          Cycles.withCycles({ action: given, estimate: tokens(100), actual: () => tokens(42) }),
          Effect.exit
        )
        const event = (yield* CyclesTest.requests("event"))[0]
        expect(JSON.parse(event?.body ?? "{}")).toMatchObject({ actual: { amount: 42 }, action })
      }).pipe(Effect.provide(stage))
    )
  })
})
