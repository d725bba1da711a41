/**
 * Guards inside the bodies of other guards.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Amount, Cycles, Reservation, Run } from "effect-cycles"
import type { Settlement } from "effect-cycles"
import { action, books, live, operations, tokens } from "./support/live.ts"
import { amounts, rich, settle } from "./support/runs.ts"

const outerAction = { kind: "agent.run", name: "outer" }

/** An outer guard that holds 500. */
const outer = <A, E, R>(
  body: Effect.Effect<A, E, R>,
  options?: Partial<Cycles.GuardOptions<unknown, [], "TOKENS", "warn", "report", never>>
) => Cycles.withCycles(body, { action: outerAction, estimate: tokens(500), ...options })

/** An inner guard that joins: it holds 100 and costs 60. */
const inner = (options?: Partial<Cycles.GuardOptions<unknown, [], "TOKENS", "warn", "report", never>>) =>
  innerOf(Effect.void, { actual: tokens(60), ...options })

const innerOf = <A, E, R>(
  body: Effect.Effect<A, E, R>,
  options?: Partial<Cycles.GuardOptions<unknown, [], "TOKENS", "warn", "report", never>>
) => Cycles.withCycles(body, { action, estimate: tokens(100), nested: "join", ...options })

/** The requests that the client has sent, in order, with their actual amounts. */
const rows = Effect.map(CyclesTest.requests(), (sent) =>
  sent.map(({ body, operation }) => {
    const actual = /"actual":\{"unit":"[A-Z_]+","amount":(\d+)\}/.exec(body)?.[1]
    return actual === undefined ? operation : `${operation} ${actual}`
  })
)

/** The body of a request. */
const bodyOf = (sent: CyclesTest.SentRequest | undefined): unknown => JSON.parse(sent?.body ?? "null")

/** Collects the settlements of a guard. */
const collected = () => {
  const settlements: Array<Settlement.Settlement> = []
  return {
    settlements,
    onSettled: (settlement: Settlement.Settlement) => Effect.sync(() => settlements.push(settlement))
  }
}

describe("nested guards", () => {
  describe("independent", () => {
    it.effect("makes its own reservation, and logs at level debug that it is inside another guard", () =>
      Effect.gen(function* () {
        const logged: Array<string> = []
        const logger = Logger.make(({ logLevel, message }) => {
          if (logLevel === "Debug") logged.push(String(message))
        })
        yield* outer(inner({ nested: "independent" }), { actual: tokens(90) }).pipe(
          Effect.provide(Logger.layer([logger])),
          Effect.provideService(References.MinimumLogLevel, "Debug")
        )
        expect(yield* books).toEqual({ spent: 150, reserved: 0 })
        expect(logged).toEqual([
          'A guard inside agent.run outer makes its own reservation; nested: "join" would draw on the outer one'
        ])
      }).pipe(Effect.provide(live()))
    )
  })

  describe("reject", () => {
    it.effect("fails with InvalidRequest inside another guard, and sends nothing", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(
          outer(inner({ nested: "reject" }), { action: { kind: "llm.completion", name: "outer" } })
        )
        expect(error).toMatchObject({
          _tag: "InvalidRequest",
          operation: "reserve",
          fields: [{ field: "nested", actual: "inside llm.completion outer" }]
        })
        expect(yield* operations).toEqual(["reserve", "release"])
        yield* inner({ nested: "reject" })
        expect(yield* books).toEqual({ spent: 60, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("is rejected as an option if it isn't a known value", () =>
      Effect.gen(function* () {
        const options: Cycles.GuardOptions = { action, estimate: tokens(1) }
        Reflect.set(options, "nested", "never")
        const error = yield* Effect.flip(Cycles.withCycles(Effect.void, options))
        expect(error).toMatchObject({ fields: [{ field: "nested", expected: "one of independent, join, reject" }] })
      }).pipe(Effect.provide(live()))
    )
  })

  describe("join", () => {
    it.effect("sends no requests: the outer guard commits the total of everything inside", () =>
      Effect.gen(function* () {
        const { onSettled, settlements } = collected()
        yield* outer(inner({ onSettled }), { actual: tokens(90), onSettled })
        expect(yield* rows).toEqual(["reserve", "commit 90"])
        expect(yield* books).toEqual({ spent: 90, reserved: 0 })
        expect(settlements).toMatchObject([
          { _tag: "Joined", actual: tokens(60), isEstimated: false },
          { _tag: "Committed", actual: tokens(90) }
        ])
        const [joined, committed] = settlements
        expect(joined).toHaveProperty(
          "reservationId",
          committed !== undefined && "reservationId" in committed ? committed.reservationId : ""
        )
      }).pipe(Effect.provide(live()))
    )

    it.effect("can be the default of the client", () =>
      Effect.gen(function* () {
        yield* outer(Cycles.withCycles(Effect.void, { action, estimate: tokens(100), actual: tokens(60) }))
        expect(yield* rows).toEqual(["reserve", "commit 60"])
      }).pipe(Effect.provide(live({ nested: "join" })))
    )

    it.effect("commits the drawn spend if the outer guard returns less, or nothing", () =>
      Effect.gen(function* () {
        yield* outer(inner(), { actual: tokens(10) })
        yield* outer(inner())
        yield* outer(Effect.andThen(Reservation.add(tokens(30)), Effect.andThen(inner(), Reservation.add(tokens(5)))))
        yield* outer(Effect.andThen(inner(), Reservation.record({ actual: tokens(20) })))
        expect(yield* rows).toEqual([
          "reserve",
          "commit 60",
          "reserve",
          "commit 60",
          "reserve",
          "commit 95",
          "reserve",
          "commit 60"
        ])
      }).pipe(Effect.provide(live()))
    )

    it.effect("makes its own reservation if it doesn't fit, and the outer guard commits its total without that", () =>
      Effect.gen(function* () {
        const big = inner({ estimate: tokens(501) })
        yield* outer(big, { actual: tokens(90) })
        expect(yield* rows).toEqual(["reserve", "reserve", "commit 60", "commit 30"])
        yield* outer(big)
        yield* outer(Effect.andThen(inner(), big), { actual: tokens(100) })
        expect((yield* rows).slice(4)).toEqual([
          "reserve",
          "reserve",
          "commit 60",
          "commit 0",
          "reserve",
          "reserve",
          "commit 60",
          "commit 60"
        ])
      }).pipe(Effect.provide(rich()))
    )

    it.effect("lets one of two parallel guards draw if there is room for one", () =>
      Effect.gen(function* () {
        const one = inner({ estimate: tokens(300), actual: tokens(250) })
        yield* outer(Effect.all([one, one], { concurrency: 2 }))
        expect((yield* rows).toSorted()).toEqual(["commit 250", "commit 250", "reserve", "reserve"])
        expect(yield* books).toEqual({ spent: 500, reserved: 0 })
      }).pipe(Effect.provide(rich()))
    )

    it.effect(
      "makes its own reservation in another unit, in and around a dry run, and after the outer guard was settled",
      () =>
        Effect.gen(function* () {
          const credits = Cycles.withCycles(Effect.void, { action, estimate: Amount.credits(10), nested: "join" })
          yield* outer(credits, { actual: tokens(1) })
          expect(yield* rows).toEqual(["reserve", "reserve", "commit 10", "commit 1"])
          yield* outer(inner({ dryRun: true }), { actual: tokens(1) })
          expect((yield* rows).slice(4)).toEqual(["reserve", "reserve", "commit 1"])
          yield* outer(inner(), { dryRun: true })
          expect((yield* rows).slice(7)).toEqual(["reserve", "reserve", "commit 60"])
          const late = yield* outer(Effect.forkDetach(Effect.andThen(Effect.sleep("1 second"), inner())), {
            actual: tokens(5)
          })
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(late)
          expect((yield* rows).slice(10)).toEqual(["reserve", "commit 5", "reserve", "commit 60"])
        }).pipe(Effect.provide(rich()))
    )

    it.effect("adds to the overage of the outer guard if it costs more than the outer estimate", () =>
      Effect.gen(function* () {
        const { onSettled, settlements } = collected()
        yield* outer(inner({ actual: tokens(700), onSettled }))
        expect(yield* rows).toEqual(["reserve", "commit 700"])
        expect(yield* books).toEqual({ spent: 700, reserved: 0 })
        expect(settlements).toMatchObject([{ _tag: "Joined", actual: tokens(700) }])
      }).pipe(Effect.provide(rich()))
    )

    it.effect(
      "draws the recorded spend of a failing guard, or nothing: without actual, the outer guard then commits its estimate",
      () =>
        Effect.gen(function* () {
          const failing = innerOf(Effect.andThen(Reservation.record({ actual: tokens(40) }), Effect.fail("failed")))
          yield* Effect.exit(outer(failing))
          expect(yield* rows).toEqual(["reserve", "commit 40"])
          const nothing = innerOf(Effect.fail("failed"))
          yield* Effect.exit(outer(nothing))
          yield* outer(Effect.exit(nothing))
          expect((yield* rows).slice(2)).toEqual(["reserve", "release", "reserve", "commit 500"])
          const six = Effect.forEach([1, 2, 3, 4, 5, 6], () => Effect.exit(nothing))
          yield* outer(six)
          expect((yield* rows).slice(6)).toEqual(["reserve", "commit 500"])
          yield* outer(six, { actual: tokens(0) })
          expect((yield* rows).slice(8)).toEqual(["reserve", "commit 0"])
        }).pipe(Effect.provide(rich()))
    )

    it.effect("commits drawn spend even if the outer guard fails with onFailure release", () =>
      Effect.gen(function* () {
        yield* Effect.exit(outer(Effect.andThen(inner(), Effect.fail("failed")), { onFailure: "release" }))
        yield* Effect.exit(
          Effect.scoped(
            Effect.gen(function* () {
              const reservation = yield* Cycles.reserve({ action: outerAction, estimate: tokens(500) })
              yield* Effect.provideService(inner(), Reservation.Reservation, reservation)
              yield* reservation.release()
            })
          )
        )
        expect(yield* rows).toEqual(["reserve", "commit 60", "reserve", "commit 60"])
      }).pipe(Effect.provide(rich()))
    )

    it.effect("draws the counted spend of a cancelled stream, and the recorded spend of an interrupted guard", () =>
      Effect.gen(function* () {
        const stream = Stream.forever(Stream.make(10)).pipe(
          Stream.rechunk(1),
          Cycles.withCyclesStream({ action, estimate: tokens(100), nested: "join", usage: tokens }),
          Stream.take(3),
          Stream.runDrain
        )
        yield* outer(stream)
        expect(yield* rows).toEqual(["reserve", "commit 30"])
        const hanging = innerOf(Effect.andThen(Reservation.record({ actual: tokens(40) }), Effect.never))
        const fiber = yield* Effect.forkChild(outer(hanging))
        yield* settle
        yield* Fiber.interrupt(fiber)
        expect((yield* rows).slice(2)).toEqual(["reserve", "commit 40"])
      }).pipe(Effect.provide(rich()))
    )

    it.effect("joins a guarded stream, whose usage is the total of everything inside", () =>
      Effect.gen(function* () {
        const streamOf = (usage: number, onCrash: "expire" | "recorded") =>
          Stream.make(1, 2).pipe(
            Stream.rechunk(1),
            Stream.tap(() => inner({ actual: tokens(30) })),
            Cycles.withCyclesStream({
              action: outerAction,
              estimate: tokens(500),
              onCrash,
              usage: () => tokens(usage)
            }),
            Stream.runDrain
          )
        yield* streamOf(45, "expire")
        yield* streamOf(5, "expire")
        yield* streamOf(45, "recorded")
        yield* streamOf(5, "recorded")
        expect((yield* rows).filter((row) => row !== "reserve")).toEqual([
          "commit 90",
          "commit 60",
          "commit 90",
          "commit 60"
        ])
      }).pipe(Effect.provide(rich()))
    )

    it.effect("charges a guard that ends after the outer one as an event", () =>
      Effect.gen(function* () {
        const { onSettled, settlements } = collected()
        const latch = yield* Deferred.make<void>()
        const fiber = yield* outer(
          Effect.forkDetach(innerOf(Deferred.await(latch), { actual: tokens(60), onSettled }), {
            startImmediately: true
          }),
          {
            actual: tokens(10)
          }
        )
        expect(yield* rows).toEqual(["reserve", "commit 10"])
        yield* Deferred.succeed(latch, undefined)
        yield* Fiber.join(fiber)
        expect(yield* rows).toEqual(["reserve", "commit 10", "event 60"])
        const [, , event] = yield* CyclesTest.requests()
        expect(bodyOf(event)).toMatchObject({
          metadata: { joined_reservation_id: expect.any(String) },
          action: { name: action.name }
        })
        expect(settlements).toMatchObject([{ _tag: "Recovered", actual: tokens(60) }])
        expect(yield* books).toEqual({ spent: 70, reserved: 0 })
      }).pipe(Effect.provide(rich()))
    )

    it.effect("charges spend once that a joined guard records after its end", () =>
      Effect.gen(function* () {
        const during = Effect.gen(function* () {
          const reservation = yield* innerOf(
            Effect.map(Reservation.Reservation, (reservation) => reservation),
            { actual: tokens(10) }
          )
          yield* reservation.add(tokens(5))
          return reservation
        })
        const reservation = yield* outer(during)
        expect(yield* rows).toEqual(["reserve", "commit 15"])
        yield* reservation.add(tokens(7))
        yield* Cycles.flush()
        expect((yield* rows).slice(2)).toEqual(["event 7"])
      }).pipe(Effect.provide(rich()))
    )

    it.effect("draws on the nearest guard, and charges three levels once", () =>
      Effect.gen(function* () {
        const run = yield* Run.make({ budget: tokens(1_000) })
        const third = innerOf(Effect.void, {
          action: { kind: "tool.call", name: "third" },
          estimate: tokens(30),
          actual: tokens(30)
        })
        const second = innerOf(third, {
          action: { kind: "tool.call", name: "second" },
          estimate: tokens(50),
          actual: tokens(40)
        })
        yield* outer(second, { actual: tokens(70) }).pipe(Run.within(run))
        expect(yield* rows).toEqual(["reserve", "commit 70"])
        expect(yield* amounts(run)).toEqual({ spent: 70, held: 0 })
        const { lines } = yield* run.summary
        expect(lines.map(({ action, charged }) => [action.name, charged])).toEqual([
          ["outer", 30n],
          ["second", 10n],
          ["third", 30n]
        ])
        const [, commit] = yield* CyclesTest.requests()
        expect(bodyOf(commit)).toMatchObject({
          metadata: {
            joined_calls: { "tool.call second": { calls: 1, actual: 10 }, "tool.call third": { calls: 1, actual: 30 } }
          }
        })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("moves the hold of the outer guard in a run, and holds it once", () =>
      Effect.gen(function* () {
        const run = yield* Run.make({ budget: tokens(500) })
        const latch = yield* Deferred.make<void>()
        const fiber = yield* outer(innerOf(Deferred.await(latch), { actual: tokens(60) })).pipe(
          Run.within(run),
          Effect.forkChild
        )
        yield* settle
        expect(yield* amounts(run)).toEqual({ spent: 0, held: 500 })
        yield* Deferred.succeed(latch, undefined)
        yield* Fiber.join(fiber)
        expect(yield* amounts(run)).toEqual({ spent: 60, held: 0 })
        expect(yield* run.summary).toMatchObject({ calls: 2, denials: 0 })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("is limited by a run between it and the outer guard", () =>
      Effect.gen(function* () {
        const result = yield* outer(Effect.flip(Cycles.withBudget(inner(), tokens(50), { name: "small" })), {
          actual: tokens(1)
        })
        expect(result).toMatchObject({ code: "RUN_BUDGET_EXCEEDED", run: { name: "small" } })
        expect(yield* rows).toEqual(["reserve", "commit 1"])
      }).pipe(Effect.provide(rich()))
    )

    it.effect("doesn't join a guard of another run", () =>
      Effect.gen(function* () {
        yield* outer(Run.outside(inner()), { actual: tokens(90) }).pipe(Cycles.withBudget(tokens(500)))
        expect(yield* rows).toEqual(["reserve", "reserve", "commit 60", "commit 30"])
      }).pipe(Effect.provide(rich()))
    )

    it.effect("finds the outer guard in a copy of its reservation", () =>
      Effect.gen(function* () {
        const body = Effect.gen(function* () {
          const reservation = yield* Reservation.Reservation
          yield* Effect.provideService(inner(), Reservation.Reservation, { ...reservation })
        })
        yield* outer(body)
        expect(yield* rows).toEqual(["reserve", "commit 60"])
      }).pipe(Effect.provide(rich()))
    )

    it.effect("shows its spend in Reservation.recorded of the outer guard", () =>
      Effect.gen(function* () {
        const recorded = yield* outer(
          Effect.andThen(
            inner(),
            Effect.flatMap(Reservation.Reservation, (_) => _.recorded)
          )
        )
        expect(recorded).toMatchObject({ _tag: "Some", value: { actual: tokens(60), isEstimated: false } })
      }).pipe(Effect.provide(rich()))
    )

    it.effect("refuses a key that has already drawn on the outer guard", () =>
      Effect.gen(function* () {
        const keyed = Cycles.withCycles(Effect.void, {
          action,
          estimate: tokens(10),
          nested: "join",
          idempotencyKey: "key"
        })
        const error = yield* outer(Effect.andThen(keyed, Effect.flip(keyed)))
        expect(error).toMatchObject({ _tag: "AlreadySettled" })
        expect(yield* rows).toEqual(["reserve", "commit 10"])
      }).pipe(Effect.provide(rich()))
    )

    it.effect("makes its own reservation after the lease of the outer guard was lost", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("extend", Fault.error(410, "RESERVATION_EXPIRED"))
        const fiber = yield* Effect.forkChild(
          outer(Effect.andThen(Effect.sleep("50 seconds"), inner()), { actual: tokens(60), ttl: "60 seconds" })
        )
        yield* TestClock.adjust("50 seconds")
        yield* Fiber.join(fiber)
        expect((yield* rows).filter((row) => row !== "extend")).toEqual(["reserve", "reserve", "commit 60", "commit 0"])
      }).pipe(Effect.provide(rich()))
    )

    it.effect("loses its lease with the outer guard, with the policy cancel", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("extend", Fault.error(410, "RESERVATION_EXPIRED"))
        const hanging = Cycles.withCycles(Effect.never, {
          action,
          estimate: tokens(10),
          nested: "join",
          heartbeat: "cancel"
        })
        const fiber = yield* Effect.forkChild(outer(Effect.exit(hanging), { ttl: "60 seconds" }))
        yield* TestClock.adjust("50 seconds")
        const exit = yield* Fiber.join(fiber)
        expect(yield* Effect.flip(exit)).toMatchObject({ _tag: "LeaseLost" })
      }).pipe(Effect.provide(rich()))
    )

    it.effect("draws on the outer guard with a reservation by hand", () =>
      Effect.gen(function* () {
        const byHand = Effect.scoped(
          Effect.gen(function* () {
            const reservation = yield* Cycles.reserve({ action, estimate: tokens(100), nested: "join" })
            yield* reservation.record({ actual: tokens(25) })
          })
        )
        yield* outer(byHand)
        expect(yield* rows).toEqual(["reserve", "commit 25"])
        const server = yield* CyclesServer.CyclesServer
        expect(Number((yield* server.books("TOKENS")).reserved)).toBe(0)
      }).pipe(Effect.provide(rich()))
    )
  })
})
