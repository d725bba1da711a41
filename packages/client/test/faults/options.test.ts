/**
 * Invalid options, and commits that are refused because of their metrics or metadata.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, CyclesConfig, Reservation } from "effect-cycles"
import { inspect } from "node:util"
import { faultyJournal, provideUnclosed } from "../support/collaborators.ts"
import { action, books, live, operations, tokens } from "../support/live.ts"
import { leaveRecord } from "../support/journal.ts"

const stage = live({ retry: CyclesConfig.retryPolicy({ jitter: false }) })

const options = { action, estimate: tokens(100) }

/** Options that no compiler has checked. */
const unchecked = (text: string): Cycles.LeaseOptions<"warn"> => JSON.parse(text)

/** The message of a failure, in lower case: some options have other names on the wire. */
const problemOf = (exit: Exit.Exit<void, unknown> | undefined): string =>
  exit !== undefined && Exit.isFailure(exit) ? String(Cause.squash(exit.cause)).toLowerCase().replaceAll("_", "") : ""

const wrong: ReadonlyArray<readonly [name: string, given: Cycles.LeaseOptions<"warn">]> = [
  ["extendBy", { extendBy: "48 hours" }],
  ["extendBy", { extendBy: 0 }],
  ["extendBy", { extendBy: Number.NaN }],
  ["extendBy", { extendBy: Number.POSITIVE_INFINITY }],
  ["extendBy", { extendBy: -1 }],
  ["maxRetryAfter", { maxRetryAfter: Number.NaN }],
  ["maxRetryAfter", { maxRetryAfter: Number.POSITIVE_INFINITY }],
  ["maxRetryAfter", { maxRetryAfter: -1 }],
  ["gracePeriod", { gracePeriod: Number.NaN }],
  ["gracePeriod", { gracePeriod: { seconds: Number.NaN } }],
  ["gracePeriod", { gracePeriod: [Number.NaN, 0] }],
  ["gracePeriod", { gracePeriod: -5n }],
  ["settle", unchecked('{"settle":"sometimes"}')],
  ["onFailure", unchecked('{"onFailure":"ignore"}')],
  ["heartbeat", unchecked('{"heartbeat":"stop"}')]
]

const show = (value: unknown): string => (typeof value === "object" ? inspect(value) : String(value))

describe("invalid option", () => {
  const forms = [
    ["withCycles", (given: Cycles.LeaseOptions<"warn">) => Cycles.withCycles(Effect.void, { ...options, ...given })],
    [
      "withCyclesStream",
      (given: Cycles.LeaseOptions<"warn">) =>
        Stream.make(1).pipe(Cycles.withCyclesStream({ ...options, ...given }), Stream.runDrain)
    ],
    ["reserve", (given: Cycles.LeaseOptions<"warn">) => Effect.scoped(Cycles.reserve({ ...options, ...given }))]
  ] as const

  for (const [form, run] of forms) {
    for (const [name, given] of wrong) {
      const value = Object.values(given)[0]
      it.effect(
        `makes ${form} fail with an error that names it, before anything is sent (${name}: ${show(value)})`,
        () =>
          Effect.gen(function* () {
            const guarded = Effect.asVoid(Effect.suspend(() => run(given)))
            const fiber = yield* Effect.forkDetach(guarded, { startImmediately: true })
            yield* TestClock.adjust("1 minute")
            expect(yield* operations).toEqual([])
            expect(problemOf(fiber.pollUnsafe())).toContain(name.toLowerCase())
            yield* CyclesTest.expectNothingReserved()
          }).pipe(provideUnclosed(stage))
      )
    }
  }

  it.effect.each<{ readonly timeout: Duration.Input }>([
    { timeout: Number.NaN },
    { timeout: -1 },
    { timeout: { seconds: Number.NaN } },
    { timeout: "2 hours" }
  ])("makes flush die with a RangeError: $timeout", ({ timeout }) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Effect.asVoid(Cycles.flush(timeout)))
      expect(problemOf(exit)).toContain("rangeerror: timeout must be 0 ms to 1h")
    }).pipe(Effect.provide(stage))
  )

  it.effect("makes withCycles fail with an error that names it, before anything is sent (onUnsettled: explode)", () =>
    Effect.gen(function* () {
      const exit = yield* Cycles.withCycles(Effect.void, {
        ...options,
        ...unchecked('{"onUnsettled":"explode"}')
      }).pipe(Effect.exit)
      expect(yield* operations).toEqual([])
      expect(problemOf(exit)).toContain("onunsettled")
    }).pipe(Effect.provide(stage))
  )
})

describe("commit refused because of its metrics or metadata", () => {
  const nested = (levels: number): { readonly [key: string]: Schema.Json } => {
    let value: { readonly [key: string]: Schema.Json } = {}
    for (let level = 0; level < levels; level++) value = { a: value }
    return value
  }

  /** The server refuses requests that are nested deeper than 1,000 levels. */
  const deep = { custom: nested(3_000) }

  const isCommitted = Effect.gen(function* () {
    yield* TestClock.adjust("5 minutes")
    expect(yield* books).toEqual({ spent: 42, reserved: 0 })
    expect(yield* Stream.runCollect(Cycles.deadLetters)).toEqual([])
  })

  const commits = <A, E>(title: string, run: Effect.Effect<A, E, Cycles.Cycles>) =>
    it.effect(title, () =>
      Effect.gen(function* () {
        yield* Effect.exit(run)
        yield* isCommitted
      }).pipe(Effect.provide(stage))
    )

  commits(
    "commits the bare amount of withCycles when the metrics are too deep",
    Cycles.withCycles(Effect.void, { ...options, actual: tokens(42), metrics: deep })
  )

  commits(
    "commits the bare amount of a body that fails when the recorded metrics are too deep",
    Reservation.record({ actual: tokens(42), metrics: deep }).pipe(
      Effect.andThen(Effect.fail("the body fails")),
      Cycles.withCycles(options)
    )
  )

  commits(
    "commits the bare amount of withCyclesStream when the recorded metrics are too deep",
    Stream.fromEffect(Reservation.record({ actual: tokens(42), metrics: deep })).pipe(
      Cycles.withCyclesStream(options),
      Stream.runDrain
    )
  )

  commits(
    "commits the bare amount of a commit by hand when the metadata are too deep",
    Effect.scoped(
      Effect.flatMap(Cycles.reserve(options), (reservation) =>
        reservation.commit({ actual: tokens(42), metadata: nested(3_000) })
      )
    )
  )

  it.effect("charges the bare amount as an event when the lease has ended", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("commit", Fault.error(410, "RESERVATION_EXPIRED"))
      yield* Cycles.withCycles(Effect.void, { ...options, actual: tokens(42), metrics: deep })
      yield* TestClock.adjust("5 minutes")
      expect((yield* books).spent).toBe(42)
    }).pipe(Effect.provide(stage))
  )

  for (const [status, code] of [
    [413, "INVALID_REQUEST"],
    [400, "INVALID_REQUEST"]
  ] as const) {
    it.effect(`sends the bare amount after ${status} ${code} to metrics of 1.1 MB`, () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("commit", Fault.error(status, code))
        const metrics = { custom: { text: "x".repeat(1_100_000) } }
        yield* Cycles.withCycles(Effect.void, { ...options, actual: tokens(42), metrics })
        yield* isCommitted
        const last = (yield* CyclesTest.requests("commit")).at(-1)
        expect(last?.body.length).toBeLessThan(1_000)
      }).pipe(Effect.provide(stage))
    )
  }

  it.effect("commits the bare amount of a record that an earlier process left behind", () => {
    const journal = faultyJournal()
    return Effect.gen(function* () {
      yield* TestClock.adjust(0)
      const record = yield* leaveRecord()
      const commitBody = record.commitBody.replace(/}$/, `,"metrics":${JSON.stringify(deep)}}`)
      yield* journal.leave({ ...record, commitBody })
      yield* isCommitted
    }).pipe(Effect.provide(live({}, { journal: journal.layer })))
  })
})
