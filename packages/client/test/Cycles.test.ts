import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Scheduler from "effect/Scheduler"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Amount, Cycles, CyclesError, Reservation, Settlement } from "effect-cycles"
import { action, books, live, operations, tokens } from "./support/live.ts"
import { withSettlement } from "./support/settled.ts"

const guard = Cycles.withCycles({ action, estimate: tokens(100) })

describe("Cycles", () => {
  describe("withCycles", () => {
    it.effect("commits the actual amount", () =>
      Effect.gen(function* () {
        const reply = yield* Effect.succeed({ used: 42 }).pipe(
          Cycles.withCycles({ action, estimate: tokens(100), actual: (reply) => tokens(reply.used) })
        )
        expect(reply).toEqual({ used: 42 })
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("commits the estimate, marked as estimated, if no actual amount is given", () =>
      Effect.gen(function* () {
        const [settlement] = yield* Effect.void.pipe(withSettlement({ action, estimate: tokens(100) }))
        expect(settlement).toMatchObject({ _tag: "Committed", isEstimated: true })
        const commit = (yield* CyclesTest.requests()).find((sent) => sent.operation === "commit")
        expect(JSON.parse(commit?.body ?? "")).toMatchObject({ metadata: { actual_source: "estimate" } })
      }).pipe(Effect.provide(live()))
    )

    it.effect("marks a recorded amount as estimated if the body does", () =>
      Effect.gen(function* () {
        const body = Effect.andThen(Reservation.record({ actual: tokens(7), isEstimated: true }), Effect.fail("boom"))
        yield* Effect.flip(guard(body))
        const commit = (yield* CyclesTest.requests()).find((sent) => sent.operation === "commit")
        expect(JSON.parse(commit?.body ?? "")).toMatchObject({
          actual: { amount: 7 },
          metadata: { actual_source: "estimate" }
        })
      }).pipe(Effect.provide(live()))
    )

    it.effect("doesn't start the body if the budget is exceeded", () =>
      Effect.gen(function* () {
        let started = false
        const error = yield* Effect.sync(() => (started = true)).pipe(
          Cycles.withCycles({ action, estimate: tokens(5_000) }),
          Effect.flip
        )
        expect(started).toBe(false)
        expect(error).toBeInstanceOf(CyclesError.BudgetExceeded)
        expect(error).toMatchObject({ code: "BUDGET_EXCEEDED", scopes: ["tenant:acme"], isRetryable: false })
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("keeps the body's failure and releases the reservation", () =>
      Effect.gen(function* () {
        expect(yield* Effect.fail("boom").pipe(guard, Effect.flip)).toBe("boom")
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("keeps the body's defect and releases the reservation", () =>
      Effect.gen(function* () {
        const exit = yield* Effect.die("bug").pipe(guard, Effect.exit)
        expect(Exit.isFailure(exit) && Cause.hasDies(exit.cause)).toBe(true)
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("stays interrupted and releases the reservation when the body is interrupted", () =>
      Effect.gen(function* () {
        const started = yield* Deferred.make<void>()
        const fiber = yield* Deferred.succeed(started, undefined).pipe(
          Effect.andThen(Effect.never),
          guard,
          Effect.forkChild
        )
        yield* Deferred.await(started)
        expect(yield* books).toEqual({ spent: 0, reserved: 100 })
        yield* Fiber.interrupt(fiber)
        const exit = yield* Fiber.await(fiber)
        expect(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)).toBe(true)
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("commits the recorded amount of a failing body and returns the rest", () =>
      Effect.gen(function* () {
        const exit = yield* Reservation.record({ actual: tokens(30) }).pipe(
          Effect.andThen(Reservation.add(tokens(3))),
          Effect.andThen(Effect.fail("boom")),
          guard,
          Effect.exit
        )
        expect(exit).toEqual(Exit.fail("boom"))
        expect(yield* books).toEqual({ spent: 33, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("charges the estimate for a failed body with onFailure: estimate, and nothing with release", () =>
      Effect.gen(function* () {
        yield* Effect.fail("x").pipe(
          Cycles.withCycles({ action, estimate: tokens(10), onFailure: "estimate" }),
          Effect.exit
        )
        expect(yield* books).toEqual({ spent: 10, reserved: 0 })
        yield* Reservation.record({ actual: tokens(5) }).pipe(
          Effect.andThen(Effect.fail("x")),
          Cycles.withCycles({ action, estimate: tokens(10), onFailure: "release" }),
          Effect.exit
        )
        expect(yield* books).toEqual({ spent: 10, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("commits the estimate and then dies with the defect if actual throws", () =>
      Effect.gen(function* () {
        const exit = yield* Effect.succeed(1).pipe(
          Cycles.withCycles({
            action,
            estimate: tokens(50),
            actual: () => {
              throw new Error("user bug")
            }
          }),
          Effect.exit
        )
        expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toEqual(new Error("user bug"))
        expect(yield* books).toEqual({ spent: 50, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("commits the estimate and then dies if actual returns another unit or no amount", () =>
      Effect.gen(function* () {
        // The compiler refuses another unit; a program without types can still pass it.
        const credits: Amount.Amount<"TOKENS"> = Object.assign(tokens(1), { unit: "CREDITS" })
        for (const actual of [() => credits, () => tokens(-1.5), () => tokens(Number.NaN)]) {
          const exit = yield* Effect.void.pipe(Cycles.withCycles({ action, estimate: tokens(10), actual }), Effect.exit)
          expect(Exit.isFailure(exit) && Cause.hasDies(exit.cause)).toBe(true)
        }
        expect(yield* books).toEqual({ spent: 30, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("sends nothing and dies if estimate throws", () =>
      Effect.gen(function* () {
        const ask = Effect.fn("ask")(
          function* (_n: number) {
            return yield* Effect.succeed("never")
          },
          Cycles.withCycles({
            action,
            estimate: (n: number) => tokens(n)
          })
        )
        const exit = yield* Effect.exit(ask(-1))
        expect(Exit.isFailure(exit) && Cause.hasDies(exit.cause)).toBe(true)
        expect(yield* CyclesTest.requests()).toEqual([])
      }).pipe(Effect.provide(live()))
    )

    it.effect("passes the arguments of Effect.fn to the estimate", () =>
      Effect.gen(function* () {
        const ask = Effect.fn("ask")(
          function* (prompt: string, n: number) {
            const reservation = yield* Reservation.Reservation
            return { prompt, n, held: reservation.estimate.amount }
          },
          Cycles.withCycles({ action, estimate: (_prompt: string, n: number) => tokens(n) })
        )
        expect(yield* ask("hi", 7)).toEqual({ prompt: "hi", n: 7, held: 7n })
      }).pipe(Effect.provide(live()))
    )

    it.effect("fails with InvalidRequest before sending, naming field, limit and value", () =>
      Effect.gen(function* () {
        const error = yield* Effect.void.pipe(
          Cycles.withCycles({ action: { kind: "", name: "x" }, estimate: tokens(1) }),
          Effect.flip
        )
        expect(error.message).toBe('The reserve was not sent: action.kind must be a text that is not blank, got ""')
        expect(yield* CyclesTest.requests()).toEqual([])
      }).pipe(Effect.provide(live()))
    )

    it.effect("settles a reservation for each nested guard", () =>
      Effect.gen(function* () {
        yield* Effect.void.pipe(
          Cycles.withCycles({ action, estimate: tokens(10), actual: () => tokens(3) }),
          Cycles.withCycles({ action, estimate: tokens(100), actual: () => tokens(50) })
        )
        expect(yield* books).toEqual({ spent: 53, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("runs many concurrent guards with a low maxConcurrency without a deadlock", () =>
      Effect.gen(function* () {
        yield* Effect.forEach(
          Array.from({ length: 50 }, (_, i) => i),
          () =>
            Effect.yieldNow.pipe(
              Cycles.withCycles({ action, estimate: tokens(1) }),
              Cycles.withCycles({ action, estimate: tokens(5) })
            ),
          { concurrency: 20, discard: true }
        )
        expect(yield* books).toEqual({ spent: 300, reserved: 0 })
      }).pipe(Effect.provide(live({ maxConcurrency: 3 })))
    )

    it.effect("merges the subjects of the client, the context and the call, with precedence for the nearest", () =>
      Effect.gen(function* () {
        const scopes = yield* Effect.map(Reservation.Reservation, (reservation) => reservation.scopes).pipe(
          Cycles.withCycles({ action, estimate: tokens(1), subject: { toolset: "t" } }),
          Cycles.withSubject({ agent: "inner", workspace: "w" }),
          Cycles.withSubject({ agent: "outer" })
        )
        expect(scopes[scopes.length - 1]).toBe("tenant:acme/workspace:w/agent:inner/toolset:t")
      }).pipe(Effect.provide(live()))
    )

    it.effect("reserves and charges nothing in a dry run, and still denies", () =>
      Effect.gen(function* () {
        const [settlement, value] = yield* Effect.succeed(1).pipe(
          withSettlement({ action, estimate: tokens(10), dryRun: true })
        )
        expect([settlement, value]).toEqual([{ _tag: "Unreserved", reason: "dry run" }, 1])
        const denied = yield* Effect.void.pipe(
          Cycles.withCycles({ action, estimate: tokens(10_000), dryRun: true }),
          Effect.flip
        )
        expect(denied).toMatchObject({ _tag: "BudgetExceeded", code: "BUDGET_EXCEEDED" })
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("provides the caps, and whether a tool is allowed", () =>
      Effect.gen(function* () {
        const server = yield* CyclesServer.CyclesServer
        yield* server.setCaps("TOKENS", { max_tokens: 5, tool_denylist: ["shell"] })
        const seen = yield* Effect.map(Reservation.Reservation, (reservation) => [
          reservation.decision,
          reservation.caps?.maxTokens,
          reservation.isToolAllowed("shell"),
          reservation.isToolAllowed("search")
        ]).pipe(guard)
        expect(seen).toEqual(["ALLOW_WITH_CAPS", 5, false, true])
      }).pipe(Effect.provide(live()))
    )

    it.effect("reports a reduced charge", () =>
      Effect.gen(function* () {
        const [settlement] = yield* Effect.void.pipe(
          withSettlement({ action, estimate: tokens(900), actual: () => tokens(1_200) })
        )
        expect(settlement).toMatchObject({
          _tag: "Committed",
          charged: tokens(1_000),
          actual: tokens(1_200),
          shortfall: tokens(200)
        })
      }).pipe(Effect.provide(live()))
    )

    it.effect("runs the body again under a caller-supplied key only until it is settled", () =>
      Effect.gen(function* () {
        const job = (actual: number) =>
          Effect.void.pipe(
            Cycles.withCycles({
              action,
              estimate: tokens(10),
              actual: () => tokens(actual),
              idempotencyKey: "job-1"
            })
          )
        yield* job(4)
        expect(yield* Effect.flip(job(4))).toMatchObject({ _tag: "AlreadySettled", by: "earlier run" })
        expect(yield* books).toEqual({ spent: 4, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )
  })

  describe("reserve", () => {
    it.effect("releases a reservation with no settlement and no recorded spend when the scope closes", () =>
      Effect.gen(function* () {
        yield* Effect.scoped(Cycles.reserve({ action, estimate: tokens(100) }))
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("commits the recorded amount when the scope closes", () =>
      Effect.gen(function* () {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const reservation = yield* Cycles.reserve({ action, estimate: tokens(100) })
            yield* reservation.record({ actual: tokens(8) })
          })
        )
        expect(yield* books).toEqual({ spent: 8, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect.each([3, 4, 5, 6, 7, 8, 9])("settles once if two fibers commit and take turns after %i steps", (steps) =>
      Effect.scoped(
        Effect.gen(function* () {
          const reservation = yield* Cycles.reserve({ action, estimate: tokens(100) })
          const commits = [3, 4].map((spent) => Effect.exit(reservation.commit({ actual: tokens(spent) })))
          const exits = yield* Effect.provideService(
            Effect.all(commits, { concurrency: "unbounded" }),
            Scheduler.MaxOpsBeforeYield,
            steps
          )
          expect(exits.map((exit) => Exit.isSuccess(exit)).toSorted()).toEqual([false, true])
          expect(yield* CyclesTest.requests("commit")).toHaveLength(1)
        })
      ).pipe(Effect.provide(live()))
    )

    it.effect("fails a second settlement with AlreadySettled and sends nothing", () =>
      Effect.gen(function* () {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const reservation = yield* Cycles.reserve({ action, estimate: tokens(100) })
            const settlement = yield* reservation.commit({ actual: tokens(8) })
            expect(Settlement.format(settlement)).toBe("committed 8 TOKENS")
            expect(yield* Effect.flip(reservation.commit({ actual: tokens(9) }))).toMatchObject({
              _tag: "AlreadySettled",
              by: "commit"
            })
            expect(yield* Effect.flip(reservation.release())).toMatchObject({ _tag: "AlreadySettled" })
            expect(yield* Effect.flip(reservation.extend("1 second"))).toMatchObject({ _tag: "AlreadySettled" })
          })
        )
        expect(yield* operations).toEqual(["reserve", "commit"])
      }).pipe(Effect.provide(live()))
    )

    it.effect("settles the reservations of one scope concurrently", () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.scoped(
          Effect.gen(function* () {
            for (let i = 0; i < 3; i++) yield* Cycles.reserve({ action, estimate: tokens(10) })
            yield* CyclesTest.always("release", Fault.requestLate(20))
          })
        ).pipe(Effect.timed, Effect.forkChild)
        yield* Effect.yieldNow
        yield* TestClock.adjust(20)
        const [elapsed] = yield* Fiber.join(fiber)
        expect(Duration.toMillis(elapsed)).toBe(20)
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(live()))
    )

    it.effect("charges the actual amount of a commit that was invalid before it was sent", () =>
      Effect.gen(function* () {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const reservation = yield* Cycles.reserve({ action, estimate: tokens(100) })
            const error = yield* Effect.flip(
              reservation.commit({ actual: tokens(8), metrics: { modelVersion: "x".repeat(129) } })
            )
            expect(error).toMatchObject({ _tag: "InvalidRequest" })
          })
        )
        expect(yield* books).toEqual({ spent: 8, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )
  })

  describe("withCyclesStream", () => {
    const words = Stream.fromIterable([1, 2, 3, 4]).pipe(Stream.rechunk(1))
    const options = { action, estimate: tokens(100), usage: (n: number) => tokens(n) }

    it.effect("commits the sum of usage at the end", () =>
      Effect.gen(function* () {
        expect(yield* words.pipe(Cycles.withCyclesStream(options), Stream.runCollect)).toEqual([1, 2, 3, 4])
        expect(yield* books).toEqual({ spent: 10, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("commits the usage before an early take", () =>
      Effect.gen(function* () {
        yield* words.pipe(Cycles.withCyclesStream(options), Stream.take(2), Stream.runDrain)
        expect(yield* books).toEqual({ spent: 3, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("commits the usage before a failure", () =>
      Effect.gen(function* () {
        const exit = yield* Stream.concat(words, Stream.fail("gone")).pipe(
          Cycles.withCyclesStream(options),
          Stream.runDrain,
          Effect.exit
        )
        expect(exit).toEqual(Exit.fail("gone"))
        expect(yield* books).toEqual({ spent: 10, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("commits the usage before an interrupt", () =>
      Effect.gen(function* () {
        const seen = yield* Deferred.make<void>()
        const fiber = yield* Stream.concat(words, Stream.never).pipe(
          Cycles.withCyclesStream(options),
          Stream.runForEach((n) => (n === 4 ? Deferred.succeed(seen, undefined) : Effect.void)),
          Effect.forkChild
        )
        yield* Deferred.await(seen)
        yield* Fiber.interrupt(fiber)
        expect(yield* books).toEqual({ spent: 10, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("replaces the sum by finalUsage, and converts usage by cost", () =>
      Effect.gen(function* () {
        yield* words.pipe(
          Cycles.withCyclesStream({
            ...options,
            finalUsage: (n) => (n === 4 ? tokens(40) : undefined),
            cost: (used) => tokens(used.amount / 2n)
          }),
          Stream.runDrain
        )
        expect(yield* books).toEqual({ spent: 20, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("keeps chunk boundaries and pulls nothing early", () =>
      Effect.gen(function* () {
        let pulled = 0
        const source = Stream.fromIterable(
          (function* () {
            while (true) {
              pulled += 1
              yield pulled
            }
          })(),
          { chunkSize: 1 }
        )
        yield* source.pipe(
          Cycles.withCyclesStream({ action, estimate: tokens(100), usage: () => tokens(1) }),
          Stream.take(5),
          Stream.runDrain
        )
        expect(pulled).toBe(5)
        expect(yield* books).toEqual({ spent: 5, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("provides the reservation to the stream, and reserves only when it runs", () =>
      Effect.gen(function* () {
        const stream = Stream.fromEffect(Effect.map(Reservation.Reservation, (_) => _.estimate.amount)).pipe(
          Cycles.withCyclesStream({ action, estimate: tokens(9) })
        )
        expect(yield* CyclesTest.requests()).toEqual([])
        expect(yield* Stream.runCollect(stream)).toEqual([9n])
      }).pipe(Effect.provide(live()))
    )

    it.effect("charges the estimate, then dies, when usage throws", () =>
      Effect.gen(function* () {
        const exit = yield* words.pipe(
          Cycles.withCyclesStream({
            action,
            estimate: tokens(60),
            usage: () => {
              throw new Error("user bug")
            }
          }),
          Stream.runDrain,
          Effect.exit
        )
        expect(Exit.isFailure(exit) && Cause.hasDies(exit.cause)).toBe(true)
        expect(yield* books).toEqual({ spent: 60, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    const bug = new Error("user bug")
    const thrower = () => {
      throw bug
    }
    const committed = Effect.map(CyclesTest.requests("commit"), (sent) =>
      sent.map(({ body }): unknown => JSON.parse(body))
    )
    // The compiler refuses another unit; a program without types can still pass it.
    const credits: Amount.Amount<"TOKENS"> = Object.assign(tokens(1), { unit: "CREDITS" })
    const theEstimate = { actual: { amount: 100 }, metadata: { actual_source: "estimate" } }

    it.effect.each([
      { name: "cost throws", with: { cost: thrower }, defect: bug },
      { name: "finalUsage throws", with: { finalUsage: thrower }, defect: bug },
      {
        name: "usage gives another unit without cost",
        with: { usage: () => credits },
        defect: new Amount.UnitMismatch({ expected: "TOKENS", actual: "CREDITS" })
      },
      {
        name: "cost gives another unit",
        with: { cost: () => credits },
        defect: new Amount.UnitMismatch({ expected: "TOKENS", actual: "CREDITS" })
      }
    ])("charges the estimate, then dies, when $name", (given) =>
      Effect.gen(function* () {
        const guarded = words.pipe(Cycles.withCyclesStream({ ...options, ...given.with }))
        expect(yield* Effect.exit(Stream.runDrain(guarded))).toEqual(Exit.die(given.defect))
        expect(yield* Effect.exit(Stream.runDrain(Stream.take(guarded, 2)))).toEqual(Exit.die(given.defect))
        expect(yield* Effect.exit(Stream.runDrain(Stream.concat(guarded, words)))).toEqual(Exit.die(given.defect))
        expect(yield* committed).toMatchObject([theEstimate, theEstimate, theEstimate])
        expect(yield* books).toEqual({ spent: 300, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("keeps the stream's failure, and logs the defect of cost", () =>
      Effect.gen(function* () {
        const logged: Array<unknown> = []
        const logger = Logger.make(({ cause, logLevel, message }) => logged.push([logLevel, message, cause]))
        const exit = yield* Stream.concat(words, Stream.fail("gone")).pipe(
          Cycles.withCyclesStream({ ...options, cost: thrower }),
          Stream.runDrain,
          Effect.exit,
          Effect.provide(Logger.layer([logger]))
        )
        expect(exit).toEqual(Exit.fail("gone"))
        expect(logged).toEqual([["Error", ["The usage of a guarded stream could not be computed"], Cause.die(bug)]])
        expect(yield* committed).toMatchObject([theEstimate])
      }).pipe(Effect.provide(live()))
    )

    it.effect.each([
      { name: "is empty", stream: Stream.empty, takes: 9 },
      { name: "used nothing", stream: words, takes: 9 },
      { name: "used nothing and is cut short", stream: words, takes: 1 }
    ])("releases the reservation if the stream $name", ({ stream, takes }) =>
      Effect.gen(function* () {
        yield* stream.pipe(
          Cycles.withCyclesStream({ ...options, usage: () => undefined }),
          Stream.take(takes),
          Stream.runDrain
        )
        expect(yield* operations).toEqual(["reserve", "release"])
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("commits the recorded amount if usage counts nothing", () =>
      Effect.gen(function* () {
        yield* Stream.fromEffect(Reservation.record({ actual: tokens(7) })).pipe(
          Cycles.withCyclesStream({ action, estimate: tokens(100), usage: () => undefined }),
          Stream.runDrain
        )
        expect(yield* books).toEqual({ spent: 7, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("commits the sum, or else the estimate, if finalUsage returns undefined", () =>
      Effect.gen(function* () {
        const withoutFinalUsage = { ...options, finalUsage: () => undefined }
        yield* words.pipe(Cycles.withCyclesStream(withoutFinalUsage), Stream.runDrain)
        expect(yield* books).toEqual({ spent: 10, reserved: 0 })
        yield* words.pipe(Cycles.withCyclesStream({ ...withoutFinalUsage, usage: () => undefined }), Stream.runDrain)
        expect(yield* books).toEqual({ spent: 110, reserved: 0 })
        expect((yield* committed).at(-1)).toMatchObject(theEstimate)
      }).pipe(Effect.provide(live()))
    )

    it.effect("commits the estimate if usage isn't counted", () =>
      Effect.gen(function* () {
        yield* Stream.concat(words.pipe(Cycles.withCyclesStream({ action, estimate: tokens(100) })), words).pipe(
          Stream.runDrain
        )
        expect(yield* committed).toMatchObject([theEstimate])
      }).pipe(Effect.provide(live()))
    )

    it.effect("never marks counted usage as estimated, whatever the body recorded", () =>
      Effect.gen(function* () {
        yield* Stream.fromEffect(Reservation.record({ actual: tokens(3), isEstimated: true })).pipe(
          Cycles.withCyclesStream({ action, estimate: tokens(100), usage: () => tokens(7) }),
          Stream.runDrain
        )
        const [commit] = yield* committed
        expect(commit).toMatchObject({ actual: { amount: 7 } })
        expect(commit).not.toHaveProperty("metadata")
      }).pipe(Effect.provide(live()))
    )
  })

  describe("decide, event, balances", () => {
    it.effect("decide returns a denial as a value", () =>
      Effect.gen(function* () {
        const response = yield* Cycles.decide({ action, estimate: tokens(5_000) })
        expect(response).toMatchObject({ decision: "DENY", reasonCode: "BUDGET_EXCEEDED" })
        expect(response.meta.tenant).toBe("acme")
      }).pipe(Effect.provide(live()))
    )

    it.effect("event charges immediately", () =>
      Effect.gen(function* () {
        yield* Cycles.event({ action, actual: tokens(5) })
        expect(yield* books).toEqual({ spent: 5, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )

    it.effect("balances returns the balances of the subject across all pages", () =>
      Effect.gen(function* () {
        const rows = yield* Stream.runCollect(Cycles.balances({ limit: 1 }))
        expect(rows.map((row) => row.scopePath)).toEqual(["tenant:acme", "tenant:acme/agent:a", "tenant:acme/agent:b"])
      }).pipe(
        Effect.provide(
          live(undefined, {
            server: {
              budgets: [
                { unit: "TOKENS", allocated: 1 },
                { unit: "TOKENS", allocated: 2, scope: "agent:a" },
                { unit: "TOKENS", allocated: 3, scope: "agent:b" }
              ]
            }
          })
        )
      )
    )
  })

  describe("orElseDenied", () => {
    it.effect("runs the fallback only for a denial", () =>
      Effect.gen(function* () {
        const cheap = Cycles.orElseDenied(() => Effect.succeed("cheap"))
        const expensive = Effect.succeed("expensive").pipe(Cycles.withCycles({ action, estimate: tokens(5_000) }))
        expect(yield* cheap(expensive)).toBe("cheap")
        yield* CyclesTest.always("reserve", Fault.error(401, "UNAUTHORIZED"))
        expect(yield* Effect.flip(cheap(expensive))).toMatchObject({ _tag: "ApiError", status: 401 })
      }).pipe(Effect.provide(live()))
    )
  })
})
