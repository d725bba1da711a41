/**
 * Guards whose caller-supplied key has been used by an earlier run of the job: what `onRepeat` reserves, and that no
 * spend is lost or charged twice.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, Reservation, Run } from "effect-cycles"
import { action, books, live, operations, tokens } from "./support/live.ts"

const options = { action, estimate: tokens(100), idempotencyKey: "job" } as const

/** A run of the job that is charged. */
const charged = (onRepeat?: Cycles.OnRepeat, key: string = "job") =>
  Effect.void.pipe(Cycles.withCycles({ ...options, idempotencyKey: key, onRepeat, actual: tokens(40) }))

/** A run of the job that is interrupted before it spends. */
const interrupted = (onRepeat?: Cycles.OnRepeat, key: string = "job") =>
  Effect.gen(function* () {
    const started = Deferred.makeUnsafe<void>()
    const fiber = yield* Effect.andThen(Deferred.succeed(started, undefined), Effect.never).pipe(
      Cycles.withCycles({ ...options, idempotencyKey: key, onRepeat }),
      Effect.forkChild({ startImmediately: true })
    )
    yield* Deferred.await(started)
    yield* Fiber.interrupt(fiber)
  })

/** The key and the status of every reservation, in order. */
const rows = Effect.gen(function* () {
  const server = yield* CyclesServer.CyclesServer
  const all = yield* server.reservations
  return all.map(({ idempotencyKey, status }) => `${idempotencyKey} ${status}`).toSorted()
})

describe("onRepeat", () => {
  it.effect.each([
    ["COMMITTED", charged()],
    ["RELEASED", interrupted()]
  ] as const)("refuse fails with the status %s, and the body doesn't run", ([status, earlier]) =>
    Effect.gen(function* () {
      yield* earlier
      expect(yield* Effect.flip(charged())).toMatchObject({ _tag: "AlreadySettled", by: "earlier run", status })
      expect(yield* Effect.flip(charged("refuse"))).toMatchObject({ _tag: "AlreadySettled", status })
      expect(yield* rows).toEqual([`job ${status}`])
    }).pipe(Effect.provide(live()))
  )

  it.effect("ifReleased reserves under key#2 and key#3 until a reservation is committed, and then refuses", () =>
    Effect.gen(function* () {
      yield* interrupted("ifReleased")
      yield* interrupted("ifReleased")
      yield* charged("ifReleased")
      expect(yield* Effect.flip(charged("ifReleased"))).toMatchObject({ _tag: "AlreadySettled", status: "COMMITTED" })
      expect(yield* rows).toEqual(["job RELEASED", "job#2 RELEASED", "job#3 COMMITTED"])
      expect(yield* books).toEqual({ spent: 40, reserved: 0 })
    }).pipe(Effect.provide(live()))
  )

  it.effect("again also reserves after a commit, and charges each run", () =>
    Effect.gen(function* () {
      yield* charged("again")
      yield* interrupted("again")
      yield* charged("again")
      expect(yield* rows).toEqual(["job COMMITTED", "job#2 RELEASED", "job#3 COMMITTED"])
      expect(yield* books).toEqual({ spent: 80, reserved: 0 })
    }).pipe(Effect.provide(live()))
  )

  it.effect("ifReleased refuses after an expired lease, whose body may have spent; again runs", () =>
    Effect.gen(function* () {
      const server = yield* CyclesServer.CyclesServer
      // Another process, which is killed.
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Cycles.reserve({ ...options, ttl: "1 second", gracePeriod: 0 })
          yield* CyclesTest.always("extend", Fault.noResponse)
          yield* CyclesTest.always("release", Fault.noResponse)
        })
      ).pipe(Effect.forkChild({ startImmediately: true }))
      yield* TestClock.adjust("5 minutes")
      yield* CyclesTest.clearFaults()
      expect((yield* server.reservations).map(({ status }) => status)).toEqual(["EXPIRED"])
      const job = (onRepeat: Cycles.OnRepeat) =>
        Effect.void.pipe(
          Cycles.withCycles({ ...options, ttl: "1 second", gracePeriod: 0, onRepeat, actual: tokens(40) })
        )
      expect(yield* Effect.flip(job("ifReleased"))).toMatchObject({ _tag: "AlreadySettled", status: "EXPIRED" })
      yield* job("again")
      expect(yield* rows).toEqual(["job EXPIRED", "job#2 COMMITTED"])
    }).pipe(Effect.provide(live()))
  )

  it.effect("continues under an open reservation with any onRepeat", () =>
    Effect.scoped(
      Effect.gen(function* () {
        yield* interrupted("ifReleased")
        const first = yield* Cycles.reserve({ ...options, onRepeat: "ifReleased" })
        const second = yield* Cycles.reserve({ ...options, onRepeat: "again" })
        expect([first.idempotencyKey, second.idempotencyKey, second.id]).toEqual(["job#2", "job#2", first.id])
        yield* first.commit({ actual: tokens(7) })
        expect(yield* books).toEqual({ spent: 7, reserved: 0 })
      })
    ).pipe(Effect.provide(live()))
  )

  it.effect("applies to streams", () =>
    Effect.gen(function* () {
      const stream = (onRepeat: Cycles.OnRepeat, usage: number | undefined) =>
        Stream.runDrain(
          Cycles.withCyclesStream(Stream.make(1), {
            ...options,
            onRepeat,
            usage: () => (usage === undefined ? undefined : tokens(usage))
          })
        )
      yield* stream("ifReleased", undefined)
      yield* stream("ifReleased", 5)
      expect(yield* Effect.flip(stream("ifReleased", 5))).toMatchObject({ _tag: "AlreadySettled" })
      yield* stream("again", 6)
      expect(yield* rows).toEqual(["job RELEASED", "job#2 COMMITTED", "job#3 COMMITTED"])
      expect(yield* books).toEqual({ spent: 11, reserved: 0 })
    }).pipe(Effect.provide(live()))
  )

  it.effect("holds the estimate once in a run, and charges each run of the job to it", () =>
    Effect.gen(function* () {
      yield* interrupted("again")
      yield* charged("again")
      const run = yield* Run.make({ budget: tokens(120) })
      const left = yield* Effect.gen(function* () {
        const left = yield* run.remaining("TOKENS").pipe(Cycles.withCycles({ ...options, onRepeat: "again" }))
        return left
      }).pipe(Run.within(run))
      expect([`${left}`, `${yield* run.spent("TOKENS")}`, `${yield* run.held("TOKENS")}`]).toEqual([
        `${yield* Effect.succeedSome(tokens(20))}`,
        `${tokens(100)}`,
        `${tokens(0)}`
      ])
    }).pipe(Effect.scoped, Effect.provide(live()))
  )

  it.effect("applies to calls that join the guard around them", () =>
    Effect.gen(function* () {
      const inner = (onRepeat: Cycles.OnRepeat, body: Effect.Effect<void>) =>
        Cycles.withCycles(body, { ...options, nested: "join", onRepeat, actual: tokens(40) })
      yield* Effect.gen(function* () {
        yield* Effect.exit(inner("ifReleased", Effect.die("nothing was spent")))
        yield* inner("ifReleased", Effect.void)
        expect(yield* Effect.flip(inner("ifReleased", Effect.void))).toMatchObject({ status: "COMMITTED" })
        yield* inner("again", Effect.void)
      }).pipe(Cycles.withCycles({ action, estimate: tokens(500) }))
      expect(yield* operations).toEqual(["reserve", "commit"])
      expect(yield* books).toEqual({ spent: 80, reserved: 0 })
    }).pipe(Effect.provide(live()))
  )

  it.effect("refuses an unknown value before a request is sent", () =>
    Effect.gen(function* () {
      const onRepeat: Cycles.OnRepeat = JSON.parse('"always"')
      expect(yield* Effect.flip(charged(onRepeat))).toMatchObject({
        _tag: "InvalidRequest",
        fields: [{ field: "onRepeat", expected: "one of refuse, ifReleased, again", actual: "always" }]
      })
      expect(yield* operations).toEqual([])
    }).pipe(Effect.provide(live()))
  )
})

describe("suffix", () => {
  it.effect.each([252, 253, 254, 255, 256])(
    "keeps keys of %i characters within 256 characters, and different",
    (length) =>
      Effect.gen(function* () {
        const keys = ["a", "b"].map((last) => "k".repeat(length - 1) + last)
        for (const key of keys) {
          yield* interrupted("ifReleased", key)
          yield* interrupted("ifReleased", key)
          yield* charged("ifReleased", key)
          expect(yield* Effect.flip(charged("ifReleased", key))).toMatchObject({ status: "COMMITTED" })
        }
        const server = yield* CyclesServer.CyclesServer
        const used = (yield* server.reservations).map(({ idempotencyKey }) => idempotencyKey)
        expect(new Set(used).size).toBe(6)
        expect(Math.max(...used.map((key) => key.length))).toBeLessThanOrEqual(256)
        expect(yield* books).toEqual({ spent: 80, reserved: 0 })
      }).pipe(Effect.provide(live()))
  )

  it.effect("stops at key#100", () =>
    Effect.gen(function* () {
      yield* charged()
      const [sent] = yield* CyclesTest.requests("commit")
      const id = /reservations\/([^/]+)\//.exec(sent?.path ?? "")?.[1] ?? ""
      yield* CyclesTest.always(
        "reserve",
        Fault.response({
          status: 200,
          body: { decision: "ALLOW", affected_scopes: [], reservation_id: id, remaining_ttl_ms: 0 }
        })
      )
      expect(yield* Effect.flip(charged("again"))).toMatchObject({ _tag: "AlreadySettled", reservationId: id })
      const keys = (yield* CyclesTest.requests("reserve")).map(({ body }) => JSON.parse(body ?? "").idempotency_key)
      expect([keys.length, keys[1], keys[2], keys[100]]).toEqual([101, "job", "job#2", "job#100"])
    }).pipe(Effect.provide(live()))
  )
})

describe("settlement that is decided but not confirmed", () => {
  it.effect("counts a commit that still has to arrive as COMMITTED", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("commit", Fault.requestLost)
      yield* charged()
      expect(yield* Effect.flip(charged("ifReleased"))).toMatchObject({ _tag: "AlreadySettled", status: "COMMITTED" })
      yield* charged("again")
      yield* Effect.forkChild(Cycles.flush("1 minute"), { startImmediately: true })
      yield* TestClock.adjust("2 minutes")
      expect(yield* rows).toEqual(["job COMMITTED", "job#2 COMMITTED"])
      expect(yield* books).toEqual({ spent: 80, reserved: 0 })
    }).pipe(Effect.provide(live()))
  )

  it.effect("counts a release that still has to arrive as RELEASED", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("release", Fault.requestLost)
      yield* interrupted("ifReleased")
      expect(yield* Effect.flip(charged())).toMatchObject({ _tag: "AlreadySettled", status: "RELEASED" })
      yield* charged("ifReleased")
      yield* TestClock.adjust("2 minutes")
      expect(yield* rows).toEqual(["job RELEASED", "job#2 COMMITTED"])
      expect(yield* books).toEqual({ spent: 40, reserved: 0 })
    }).pipe(Effect.provide(live()))
  )
})

describe("responses", () => {
  it.effect.each([
    ["404", Fault.error(404, "NOT_FOUND")],
    ["503", Fault.status(503)]
  ] as const)("treats a reservation that can't be read (%s) as unknown: ifReleased refuses, again runs", ([, fault]) =>
    Effect.gen(function* () {
      yield* interrupted()
      yield* CyclesTest.always("getReservation", fault)
      expect(yield* Effect.flip(charged("ifReleased"))).toMatchObject({ _tag: "AlreadySettled", status: "unknown" })
      yield* charged("again")
      expect(yield* rows).toEqual(["job RELEASED", "job#2 COMMITTED"])
    }).pipe(Effect.provide(live()))
  )

  it.effect("fails with KeyReused if the job differs, also under a suffix", () =>
    Effect.gen(function* () {
      const other = Effect.void.pipe(Cycles.withCycles({ ...options, estimate: tokens(5), onRepeat: "again" }))
      yield* charged()
      expect(yield* Effect.flip(other)).toMatchObject({ _tag: "ApiError", reason: { _tag: "KeyReused" } })
      expect(yield* books).toEqual({ spent: 40, reserved: 0 })
    }).pipe(Effect.provide(live()))
  )

  it.effect("denies the next reservation if the budget has no room for it", () =>
    Effect.gen(function* () {
      const job = Effect.void.pipe(
        Cycles.withCycles({ ...options, estimate: tokens(600), actual: tokens(600), onRepeat: "again" })
      )
      yield* job
      expect(yield* Effect.flip(job)).toMatchObject({ _tag: "BudgetExceeded" })
      expect(yield* books).toEqual({ spent: 600, reserved: 0 })
    }).pipe(Effect.provide(live()))
  )

  it.effect("releases key#2 in the background if its reserve is interrupted, and the next run takes key#3", () =>
    Effect.gen(function* () {
      yield* interrupted()
      yield* CyclesTest.inject("reserve", Fault.none, Fault.late("1 second"))
      const fiber = yield* Effect.forkChild(charged("ifReleased"), { startImmediately: true })
      yield* TestClock.adjust(500)
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 minute")
      expect(yield* rows).toEqual(["job RELEASED", "job#2 RELEASED"])
      yield* charged("ifReleased")
      expect(yield* rows).toEqual(["job RELEASED", "job#2 RELEASED", "job#3 COMMITTED"])
    }).pipe(Effect.provide(live()))
  )

  it.effect("keeps the abandoned reservation of key#2 for a run that starts before it is released", () =>
    Effect.gen(function* () {
      yield* interrupted()
      yield* CyclesTest.inject("reserve", Fault.none, Fault.responseLost, Fault.responseLost)
      expect(yield* Effect.flip(charged("ifReleased"))).toMatchObject({ _tag: "TransportError" })
      const again = yield* Effect.sleep("30 seconds").pipe(
        Cycles.withCycles({ ...options, actual: tokens(40), onRepeat: "ifReleased" }),
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust("30 seconds")
      yield* Fiber.join(again)
      expect(yield* rows).toEqual(["job RELEASED", "job#2 COMMITTED"])
      expect(yield* books).toEqual({ spent: 40, reserved: 0 })
    }).pipe(Effect.provide(live()))
  )
})

describe("reserve whose caller was interrupted", () => {
  it.effect("is not released if the job starts again while its cleanup waits for a response", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("reserve", Fault.noResponse, Fault.late("2 seconds"))
      const first = yield* Effect.forkChild(charged(), { startImmediately: true })
      yield* Fiber.interrupt(first)
      // The cleanup repeats the reserve after the timeout of a call.
      yield* TestClock.adjust("11 seconds")
      const again = yield* Effect.sleep("30 seconds").pipe(
        Cycles.withCycles({ ...options, actual: tokens(40) }),
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust("30 seconds")
      yield* Fiber.join(again)
      expect(yield* rows).toEqual(["job COMMITTED"])
      expect(yield* operations).not.toContain("release")
    }).pipe(Effect.provide(live()))
  )

  it.effect("is released although an earlier call with its key, which has ended, joined a guard", () =>
    Effect.gen(function* () {
      const joined = Effect.void.pipe(Cycles.withCycles({ ...options, nested: "join", actual: tokens(40) }))
      yield* joined.pipe(Cycles.withCycles({ action, estimate: tokens(200), idempotencyKey: "outer" }))
      yield* CyclesTest.inject("reserve", Fault.late("1 second"))
      const call = yield* Effect.forkChild(charged(), { startImmediately: true })
      yield* TestClock.adjust(500)
      yield* Fiber.interrupt(call)
      yield* TestClock.adjust("30 seconds")
      expect(yield* rows).toEqual(["job RELEASED", "outer COMMITTED"])
    }).pipe(Effect.provide(live()))
  )
})

// ---------------------------------------------------------------------------------------------------------------------
// law
// ---------------------------------------------------------------------------------------------------------------------

const below = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const faults = {
  none: Fault.none,
  lost: Fault.responseLost,
  unsent: Fault.requestLost,
  failed: Fault.status(503),
  refused: Fault.connectionRefused,
  late: Fault.late(300)
} as const

const FaultName = Schema.Literals(["none", "none", "none", "lost", "unsent", "failed", "refused", "late"])

/** One run of the job: it records its spend after some time, and then takes some more time. */
const Rerun = Schema.Struct({
  onRepeat: Schema.Literals(["refuse", "ifReleased", "again"]),
  kind: Schema.Literals(["effect", "stream", "reserve"]),
  spend: below(100),
  workMs: Schema.Literals([0, 100, 1_000]),
  restMs: Schema.Literals([0, 100, 1_000]),
  interruptedAfterMs: Schema.Literals([0, 50, 150, 500, 1_500, 60_000]),
  pauseMs: Schema.Literals([0, 100, 15_000])
})

const Story = Schema.Struct({
  reruns: Schema.Array(Rerun).check(Schema.isMinLength(1), Schema.isMaxLength(7)),
  onReserve: Schema.Array(FaultName).check(Schema.isMaxLength(8)),
  onCommit: Schema.Array(FaultName).check(Schema.isMaxLength(5)),
  onRelease: Schema.Array(FaultName).check(Schema.isMaxLength(5)),
  onRead: Schema.Array(FaultName).check(Schema.isMaxLength(5))
})

const rich = live(undefined, { server: { budgets: [{ unit: "TOKENS", allocated: 1_000_000 }] } })

const runs = Number(process.env["CYCLES_PROPERTY_RUNS"] ?? 200)

it.effect.prop(
  "random interrupts and reruns: everything that was spent is charged once, and each key is committed at most once",
  { story: Story },
  ({ story }) =>
    Effect.gen(function* () {
      for (const [operation, names] of [
        ["reserve", story.onReserve],
        ["commit", story.onCommit],
        ["release", story.onRelease],
        ["getReservation", story.onRead]
      ] as const) {
        if (names.length > 0) yield* CyclesTest.inject(operation, ...names.map((name) => faults[name]))
      }
      let spent = 0
      const startedAfterSpend: Array<string> = []
      for (const { interruptedAfterMs, kind, onRepeat, pauseMs, restMs, spend, workMs } of story.reruns) {
        const work = Effect.gen(function* () {
          if (spent > 0) startedAfterSpend.push(onRepeat)
          yield* Effect.sleep(workMs)
          const recorded = Reservation.record({ actual: tokens(spend) })
          yield* Effect.uninterruptible(Effect.tap(recorded, () => Effect.sync(() => void (spent += spend))))
          yield* Effect.sleep(restMs)
        })
        const call = { ...options, onRepeat }
        const guarded: Effect.Effect<unknown, unknown, Cycles.Cycles> =
          kind === "effect"
            ? Cycles.withCycles(work, call)
            : kind === "stream"
              ? Stream.runDrain(Cycles.withCyclesStream(Stream.fromEffect(work), call))
              : Effect.scoped(
                  Effect.gen(function* () {
                    const reservation = yield* Cycles.reserve(call)
                    yield* Effect.provideService(work, Reservation.Reservation, reservation)
                  })
                )
        const fiber = yield* Effect.forkChild(guarded, { startImmediately: true })
        yield* TestClock.adjust(interruptedAfterMs)
        yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
        yield* TestClock.adjust("30 seconds")
        yield* Fiber.await(fiber)
        yield* TestClock.adjust(pauseMs)
      }
      yield* CyclesTest.clearFaults()
      yield* TestClock.adjust("10 minutes")
      const server = yield* CyclesServer.CyclesServer
      const all = yield* server.reservations
      expect(yield* books).toEqual({ spent, reserved: 0 })
      expect(startedAfterSpend.filter((onRepeat) => onRepeat !== "again")).toEqual([])
      expect(new Set(all.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(all.length)
    }).pipe(Effect.provide(rich)),
  { arbitrary: { runs }, timeout: 120_000 }
)
