import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Amount, Cycles, Pool, Reservation, Run, SettlementJournal } from "effect-cycles"
import { noJournal } from "./support/journal.ts"
import { action, books, live, operations, tokens } from "./support/live.ts"
import { amounts, rich, settle, spend, spendAfter, spendIn } from "./support/runs.ts"

const poolAction = { kind: "tool.pool", name: "tools" }

const bodiesOf = (operation: "reserve" | "commit" | "event") =>
  Effect.map(CyclesTest.requests(operation), (sent) => sent.map(({ body }): unknown => JSON.parse(body)))

/** Runs an effect within a new pool that closes with it. */
const pooled = <A, E, R>(self: Effect.Effect<A, E, R>, options: Partial<Pool.Options<"TOKENS">> = {}) =>
  Effect.scoped(
    Effect.flatMap(Cycles.pool({ action: poolAction, size: tokens(100), ...options }), (pool) =>
      Pool.within(self, pool)
    )
  )

const times = (count: number) => Array.from({ length: count }, (_, i) => i)

const pauseOf = (ms: number) => Effect.andThen(settle, Effect.andThen(TestClock.adjust(ms), settle))

describe("Pool", () => {
  describe("draws", () => {
    it.effect("sends two requests for 20 calls, and commits their sum with the calls by action", () =>
      Effect.gen(function* () {
        const other = Cycles.withCycles(Effect.void, { action: { kind: "tool.call", name: "x" }, estimate: tokens(1) })
        yield* pooled(Effect.forEach(times(20), (i) => (i % 2 === 0 ? spend(5, 3) : other), { concurrency: 8 }))
        expect(yield* operations).toEqual(["reserve", "commit"])
        expect(yield* bodiesOf("reserve")).toMatchObject([
          { action: poolAction, estimate: { unit: "TOKENS", amount: 100 } }
        ])
        expect(yield* bodiesOf("commit")).toMatchObject([
          {
            actual: { unit: "TOKENS", amount: 40 },
            metadata: {
              joined_calls: {
                "llm.completion openai:gpt-5": { calls: 10, actual: 30 },
                "tool.call x": { calls: 10, actual: 10 }
              }
            }
          }
        ])
        expect(yield* books).toEqual({ spent: 40, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("settles a call as joined, with the id of the block", () =>
      Effect.gen(function* () {
        const seen: Array<unknown> = []
        yield* pooled(
          Effect.gen(function* () {
            const { id } = yield* Reservation.Reservation
            seen.push(id)
          }).pipe(
            Cycles.withCycles({
              action,
              estimate: tokens(5),
              onSettled: (settlement) => Effect.sync(() => void seen.push(settlement))
            })
          )
        )
        expect(seen).toMatchObject([expect.any(String), { _tag: "Joined", reservationId: seen[0], isEstimated: true }])
      }).pipe(Effect.provide(live()))
    )

    it.effect("serves reserve and streams", () =>
      Effect.gen(function* () {
        const pool = yield* Cycles.pool({ action: poolAction, size: tokens(100) })
        const reserved = Effect.scoped(
          Effect.flatMap(Cycles.reserve({ action, estimate: tokens(10) }), (active) =>
            active.commit({ actual: tokens(7) })
          )
        )
        expect(yield* Pool.within(reserved, pool)).toMatchObject({ _tag: "Joined" })
        yield* Stream.make(1, 2, 3).pipe(
          Cycles.withCyclesStream({ action, estimate: tokens(10), usage: (n) => tokens(n) }),
          Pool.withinStream(pool),
          Stream.runDrain
        )
        expect(yield* operations).toEqual(["reserve"])
        expect(yield* pool.status).toMatchObject({ calls: 2, blocks: 1, reserved: tokens(100), spent: tokens(13) })
      }).pipe(Effect.scoped, Effect.provide(live()))
    )

    it.effect("returns the part of a failed call by its onFailure, and keeps recorded spend", () =>
      Effect.gen(function* () {
        const failing = (onFailure: "partial" | "estimate" | "release", recorded?: number) =>
          Effect.exit(
            Cycles.withCycles(
              Effect.andThen(
                recorded === undefined ? Effect.void : Reservation.record({ actual: tokens(recorded) }),
                Effect.fail("no")
              ),
              { action, estimate: tokens(60), onFailure }
            )
          )
        yield* pooled(
          Effect.andThen(
            Effect.forEach(times(5), () => failing("partial"), { discard: true }),
            Effect.andThen(failing("partial", 7), failing("release", 9))
          )
        )
        yield* pooled(failing("estimate"))
        expect(yield* operations).toEqual(["reserve", "commit", "reserve", "commit"])
        expect(yield* books).toEqual({ spent: 67, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("returns the part of an interrupted call", () =>
      Effect.gen(function* () {
        const hanging = Cycles.withCycles(Effect.andThen(Reservation.record({ actual: tokens(20) }), Effect.never), {
          action,
          estimate: tokens(90)
        })
        yield* pooled(
          Effect.gen(function* () {
            const fiber = yield* Effect.forkChild(hanging)
            yield* settle
            yield* Fiber.interrupt(fiber)
            yield* spend(80, 10)
          }),
          { lowMark: tokens(0) }
        )
        expect(yield* operations).toEqual(["reserve", "commit"])
        expect(yield* books).toEqual({ spent: 30, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("releases a block that nothing was spent from", () =>
      Effect.gen(function* () {
        yield* pooled(Effect.void)
        expect(yield* operations).toEqual(["reserve", "release"])
      }).pipe(Effect.provide(live()))
    )
  })

  describe("serves only", () => {
    it.effect("calls with its unit and subject, without a caller-supplied key, that fit into a block", () =>
      Effect.gen(function* () {
        yield* pooled(
          Effect.all([
            spendIn(Amount.credits(5)),
            spend(101, 1),
            Cycles.withSubject(spend(5), { agent: "other" }),
            Cycles.withCycles(Effect.void, { action, estimate: tokens(5), subject: { workflow: "w" } }),
            Cycles.withCycles(Effect.void, { action, estimate: tokens(5), idempotencyKey: "mail 1" }),
            Cycles.withCycles(Effect.void, { action, estimate: tokens(5), dryRun: true }),
            Pool.outside(spend(5))
          ])
        )
        const sent = yield* operations
        expect(sent.filter((one) => one === "reserve")).toHaveLength(8)
        expect(sent.at(-1)).toBe("release")
      }).pipe(Effect.provide(rich()))
    )

    it.effect("calls with the subject of the pool, from withSubject or from an option", () =>
      Effect.gen(function* () {
        yield* pooled(
          Effect.all([
            Cycles.withSubject(spend(5), { agent: "a" }),
            Cycles.withCycles(Effect.void, { action, estimate: tokens(5), subject: { agent: "a" } })
          ]),
          { subject: { agent: "a" } }
        )
        expect(yield* operations).toEqual(["reserve", "commit"])
      }).pipe(Effect.provide(rich()))
    )

    it.effect("calls of its client", () =>
      Effect.gen(function* () {
        const pool = yield* Cycles.pool({ action: poolAction, size: tokens(100) })
        const there = Effect.gen(function* () {
          yield* Pool.within(spend(5), pool)
          return yield* operations
        }).pipe(Effect.provide(Layer.fresh(live())))
        expect(yield* there).toEqual(["reserve", "commit"])
        expect(yield* pool.status).toMatchObject({ calls: 0 })
      }).pipe(Effect.scoped, Effect.provide(live()))
    )

    it.effect("calls of the nearest pool first, and of the next one after it has closed", () =>
      Effect.gen(function* () {
        const outer = yield* Cycles.pool({ action: poolAction, size: tokens(100) })
        yield* Effect.gen(function* () {
          const scope = yield* Scope.make()
          const inner = yield* Scope.provide(Cycles.pool({ action: poolAction, size: tokens(50) }), scope)
          const calls = (estimate: number) => Pool.within(spend(estimate), inner)
          yield* calls(5)
          expect([yield* inner.status, yield* outer.status]).toMatchObject([{ calls: 1 }, { calls: 0 }])
          yield* Scope.close(scope, Exit.void)
          yield* calls(6)
          expect(yield* outer.status).toMatchObject({ calls: 1, spent: tokens(6) })
        }).pipe(Pool.within(outer))
      }).pipe(Effect.scoped, Effect.provide(live()))
    )

    it.effect("nothing in shadow mode", () =>
      Effect.gen(function* () {
        yield* pooled(spend(5))
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(live({ mode: "shadow" })))
    )

    it.effect("every guard below its layer", () =>
      Effect.gen(function* () {
        yield* Effect.provide(Effect.all([spend(5), spend(6)]), Pool.layer({ action: poolAction, size: tokens(100) }))
        expect(yield* operations).toEqual(["reserve", "commit"])
      }).pipe(Effect.provide(live()))
    )
  })

  describe("blocks", () => {
    it.effect("reserves the next block early at the low mark, without making a call wait", () =>
      Effect.gen(function* () {
        const latch = yield* Deferred.make<void>()
        const pool = yield* Cycles.pool({ action: poolAction, size: tokens(100), lowMark: tokens(30) })
        yield* Effect.gen(function* () {
          const fibers = yield* Effect.forEach(times(7), () => Effect.forkChild(spendAfter(latch, 10)))
          yield* settle
          expect(yield* pool.status).toMatchObject({ blocks: 2, calls: 7 })
          yield* Deferred.succeed(latch, undefined)
          yield* Fiber.awaitAll(fibers)
          // The rest of the first block is used first.
          yield* Effect.forEach(times(4), () => spend(10))
          yield* settle
          expect(yield* operations).toEqual(["reserve", "reserve", "commit"])
          expect(yield* pool.status).toMatchObject({ spent: tokens(10) })
        }).pipe(Pool.within(pool))
      }).pipe(Effect.scoped, Effect.provide(live()))
    )

    it.effect("makes one reserve for many waiting calls, also if one of them is interrupted", () =>
      Effect.gen(function* () {
        const pool = yield* Cycles.pool({ action: poolAction, size: tokens(100), lowMark: tokens(0) })
        yield* CyclesTest.inject("reserve", Fault.late("1 second"))
        yield* Effect.gen(function* () {
          yield* spend(90)
          const fibers = yield* Effect.forEach(times(5), () => Effect.forkChild(spend(20)))
          yield* pauseOf(100)
          yield* Fiber.interrupt(fibers[0]!)
          yield* pauseOf(2_000)
          const exits = yield* Effect.forEach(fibers, (fiber) => Fiber.await(fiber))
          expect(exits.filter(Exit.isSuccess)).toHaveLength(4)
        }).pipe(Pool.within(pool))
        expect((yield* operations).filter((one) => one === "reserve")).toHaveLength(2)
      }).pipe(Effect.scoped, Effect.provide(live()))
    )

    it.effect("denies calls if the server refuses the next block, and lets smaller ones use the rest", () =>
      Effect.gen(function* () {
        const results = yield* pooled(
          Effect.forEach([400, 300, 200, 100], (estimate) => Effect.result(spend(estimate))),
          { size: tokens(600), lowMark: tokens(0) }
        )
        expect(results.map(Result.isSuccess)).toEqual([true, false, true, false])
        const { failure } = results[1]!.pipe((result) => (Result.isFailure(result) ? result : expect.fail()))
        expect(failure).toMatchObject({
          _tag: "BudgetExceeded",
          code: "BUDGET_EXCEEDED",
          action,
          requested: tokens(600)
        })
        expect(yield* books).toEqual({ spent: 600, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("commits a block after maxAge, and holds nothing while it isn't used", () =>
      Effect.gen(function* () {
        const pool = yield* Cycles.pool({ action: poolAction, size: tokens(100), maxAge: "2 minutes" })
        yield* Pool.within(spend(10), pool)
        yield* pauseOf(120_000)
        expect(yield* books).toEqual({ spent: 10, reserved: 100 })
        yield* pauseOf(120_000)
        expect(yield* books).toEqual({ spent: 10, reserved: 0 })
        yield* Pool.within(spend(10), pool)
        expect(yield* pool.status).toMatchObject({ blocks: 3, calls: 2 })
      }).pipe(Effect.scoped, Effect.provide(live()))
    )

    it.effect("commits a block of maxAge when its open call has ended", () =>
      Effect.gen(function* () {
        const latch = yield* Deferred.make<void>()
        const pool = yield* Cycles.pool({ action: poolAction, size: tokens(100), maxAge: "1 minute" })
        const fiber = yield* Effect.forkChild(Pool.within(spendAfter(latch, 50, 40), pool))
        yield* pauseOf(60_000)
        expect(yield* books).toEqual({ spent: 0, reserved: 200 })
        yield* Deferred.succeed(latch, undefined)
        yield* Fiber.join(fiber)
        yield* settle
        expect(yield* books).toEqual({ spent: 40, reserved: 100 })
      }).pipe(Effect.scoped, Effect.provide(live()))
    )

    it.effect("doesn't draw on a block whose lease is lost, and charges the open calls", () =>
      Effect.gen(function* () {
        const latch = yield* Deferred.make<void>()
        const pool = yield* Cycles.pool({ action: poolAction, size: tokens(100), maxAge: "1 hour" })
        yield* Effect.gen(function* () {
          yield* spend(10)
          const fiber = yield* Effect.forkChild(spendAfter(latch, 30, 20))
          yield* CyclesTest.inject("extend", Fault.error(410, "RESERVATION_EXPIRED"))
          yield* pauseOf(50_000)
          yield* pauseOf(50_000)
          yield* spend(5)
          expect(yield* pool.status).toMatchObject({ blocks: 2, calls: 3 })
          yield* Deferred.succeed(latch, undefined)
          yield* Fiber.join(fiber)
          yield* settle
        }).pipe(Pool.within(pool))
      }).pipe(
        Effect.scoped,
        Effect.andThen(Effect.map(books, (after) => expect(after).toEqual({ spent: 35, reserved: 0 }))),
        Effect.provide(live())
      )
    )

    it.effect("charges a call that outlives the pool as an event", () =>
      Effect.gen(function* () {
        const latch = yield* Deferred.make<void>()
        const fiber = yield* pooled(
          Effect.gen(function* () {
            yield* spend(10)
            const fiber = yield* Effect.forkDetach(spendAfter(latch, 30, 20))
            yield* settle
            return fiber
          })
        )
        expect(yield* books).toEqual({ spent: 10, reserved: 0 })
        yield* Deferred.succeed(latch, undefined)
        yield* Fiber.join(fiber)
        expect(yield* operations).toEqual(["reserve", "commit", "event"])
        expect(yield* books).toEqual({ spent: 30, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("settles a replaced block when the pool closes, even if a call is open", () =>
      Effect.gen(function* () {
        const latch = yield* Deferred.make<void>()
        const fiber = yield* pooled(
          Effect.gen(function* () {
            const fiber = yield* Effect.forkDetach(spendAfter(latch, 60, 50))
            yield* settle
            yield* spend(90)
            return fiber
          }),
          { lowMark: tokens(0) }
        )
        expect(yield* books).toEqual({ spent: 90, reserved: 0 })
        yield* Deferred.succeed(latch, undefined)
        yield* Fiber.join(fiber)
        expect(yield* books).toEqual({ spent: 140, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("waits for a write in progress when the pool closes, and leaves no open record in the journal", () => {
      const open = new Set<string>()
      const journal = Layer.succeed(SettlementJournal.SettlementJournal, {
        [SettlementJournal.TypeId]: SettlementJournal.TypeId,
        isDurable: true,
        open: () =>
          Effect.succeed({
            ...noJournal,
            put: ({ reservationId }: SettlementJournal.JournalRecord) =>
              Effect.sync(() => void open.delete(reservationId)),
            putOpen: ({ reservationId }: SettlementJournal.JournalRecord) =>
              Effect.delay(
                Effect.sync(() => void open.add(reservationId)),
                1_000
              ),
            removeOpen: (id: string) => Effect.sync(() => void open.delete(id))
          })
      })
      return Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(pooled(Effect.andThen(Effect.forkDetach(spend(10)), Effect.sleep(500))))
        yield* pauseOf(1_000)
        yield* pauseOf(500)
        expect(yield* operations).toEqual(["reserve"])
        yield* pauseOf(500)
        yield* Fiber.join(fiber)
        expect(yield* operations).toEqual(["reserve", "commit"])
        expect([...open]).toEqual([])
      }).pipe(Effect.provide(live(undefined, { journal })))
    })

    it.effect("lets a call that waits for a block make its own reservation if the pool closes", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const pool = yield* Scope.provide(Cycles.pool({ action: poolAction, size: tokens(100) }), scope)
        yield* CyclesTest.inject("reserve", Fault.noResponse)
        const fiber = yield* Pool.within(Effect.andThen(spend(90), spend(50)), pool).pipe(Effect.forkChild)
        yield* pauseOf(100)
        yield* Scope.close(scope, Exit.void)
        yield* Fiber.join(fiber)
        yield* pauseOf(60_000)
        yield* Cycles.flush()
        expect(yield* books).toEqual({ spent: 140, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("fails like a reserve if the first block is denied", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(pooled(Effect.void, { size: tokens(1_001) }))
        expect(error).toMatchObject({ _tag: "BudgetExceeded", action: poolAction })
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("dies with a RangeError if an option is out of range", () =>
      Effect.gen(function* () {
        const options: ReadonlyArray<Partial<Pool.Options<"TOKENS">>> = [
          { size: tokens(0) },
          { lowMark: tokens(100) },
          { maxAge: 999 }
        ]
        for (const one of options) {
          const exit = yield* Effect.exit(pooled(Effect.void, one))
          expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toBeInstanceOf(RangeError)
        }
      }).pipe(Effect.provide(live()))
    )
  })

  describe("with runs and nested guards", () => {
    it.effect("checks the run first", () =>
      Effect.gen(function* () {
        const run = yield* Run.make({ budget: tokens(30) })
        const results = yield* Effect.forEach(times(4), () => Effect.result(spend(10, 9))).pipe(Run.within(run), pooled)
        expect(results.map(Result.isSuccess)).toEqual([true, true, true, false])
        expect(results[3]).toMatchObject({ failure: { code: "RUN_BUDGET_EXCEEDED" } })
        expect(yield* amounts(run)).toEqual({ spent: 27, held: 0 })
        expect(yield* books).toEqual({ spent: 27, reserved: 0 })
      }).pipe(Effect.scoped, Effect.provide(live()))
    )

    it.effect("draws on the nearer one of the pool and a run that holds its budget", () =>
      Effect.gen(function* () {
        const pool = yield* Cycles.pool({ action: poolAction, size: tokens(100) })
        yield* spend(10).pipe(Cycles.withBudget(tokens(100), { hold: true }), Pool.within(pool))
        expect(yield* pool.status).toMatchObject({ calls: 0 })
        yield* spend(10).pipe(Pool.within(pool), Cycles.withBudget(tokens(100), { hold: true }))
        expect(yield* pool.status).toMatchObject({ calls: 1 })
      }).pipe(Effect.scoped, Effect.provide(live()))
    )

    for (const nested of ["independent", "join"] as const) {
      it.effect(`draws for nested guards with nested: "${nested}"`, () =>
        Effect.gen(function* () {
          const inner = Cycles.withCycles(Effect.void, { action, estimate: tokens(20), actual: tokens(15), nested })
          yield* pooled(Cycles.withCycles(inner, { action, estimate: tokens(50), actual: tokens(40) }))
          expect(yield* operations).toEqual(["reserve", "commit"])
          expect(yield* books).toEqual({ spent: nested === "join" ? 40 : 55, reserved: 0 })
        }).pipe(Effect.provide(live()))
      )

      it.effect(`draws on a pool inside a guard with nested: "${nested}", and charges the spend once`, () =>
        Effect.gen(function* () {
          const inner = Cycles.withCycles(Effect.void, { action, estimate: tokens(20), actual: tokens(15), nested })
          yield* Cycles.withCycles(pooled(inner), { action, estimate: tokens(50), actual: tokens(40) })
          expect(yield* operations).toEqual(["reserve", "reserve", "commit", "commit"])
          expect(yield* books).toEqual({ spent: nested === "join" ? 40 : 55, reserved: 0 })
        }).pipe(Effect.provide(live()))
      )
    }

    it.effect("isn't a guard around a call with nested: reject", () =>
      Effect.gen(function* () {
        yield* pooled(Cycles.withCycles(Effect.void, { action, estimate: tokens(20), nested: "reject" }))
        expect(yield* operations).toEqual(["reserve", "commit"])
      }).pipe(Effect.provide(live()))
    )
  })
})
