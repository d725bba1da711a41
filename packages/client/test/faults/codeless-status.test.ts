/**
 * Error pages of proxies: a status without an error code proves nothing about the request. The outcome stays ambiguous
 * until a response has a code.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, CyclesConfig } from "effect-cycles"
import { faultyJournal } from "../support/collaborators.ts"
import { action, books, live, operations, tokens } from "../support/live.ts"
import { outcomeOf, outcomeWithin } from "../support/outcomes.ts"
import { leaveRecord } from "../support/journal.ts"

/** Leases of 24 h: a reservation that isn't released stays reserved. */
const stage = live({ retry: CyclesConfig.retryPolicy({ jitter: false }), ttl: "24 hours" })

const options = { action, estimate: tokens(100) }

const forms = [
  ["withCycles", Cycles.withCycles(Effect.void, { ...options, actual: () => tokens(42) })],
  [
    "withCyclesStream",
    Stream.make(1).pipe(Cycles.withCyclesStream({ ...options, usage: () => tokens(42) }), Stream.runDrain)
  ],
  [
    "reserve",
    Effect.scoped(Effect.flatMap(Cycles.reserve(options), (reservation) => reservation.commit({ actual: tokens(42) })))
  ]
] as const

describe("commit", () => {
  for (const [form, run] of forms) {
    it.effect(`that arrived isn't charged again as an event after a 410 page (${form})`, () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("commit", Fault.replaced({ status: 410 }))
        yield* run
        yield* TestClock.adjust("5 minutes")
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
        expect(yield* operations).not.toContain("event")
      }).pipe(Effect.provide(stage))
    )
  }

  it.effect("that did not arrive is committed after a 410 page, not charged as an event", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("commit", Fault.status(410))
      yield* Cycles.withCycles(Effect.void, { ...options, actual: tokens(42) })
      yield* TestClock.adjust("5 minutes")
      expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      expect(yield* operations).not.toContain("event")
    }).pipe(Effect.provide(stage))
  )

  it.effect("that arrived isn't charged again when reading the reservation returns a 410 page", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("commit", Fault.responseLost, Fault.error(409, "RESERVATION_FINALIZED"))
      yield* CyclesTest.inject("getReservation", Fault.status(410))
      yield* Cycles.withCycles(Effect.void, { ...options, actual: tokens(42) })
      yield* TestClock.adjust("5 minutes")
      expect(yield* books).toEqual({ spent: 42, reserved: 0 })
    }).pipe(Effect.provide(stage))
  )

  it.effect("of an earlier process that arrived isn't charged again after a 410 page", () => {
    const journal = faultyJournal()
    return Effect.gen(function* () {
      yield* TestClock.adjust(0)
      yield* CyclesTest.inject("commit", Fault.replaced({ status: 410 }))
      yield* journal.leave(yield* leaveRecord())
      yield* TestClock.adjust("5 minutes")
      expect(yield* books).toEqual({ spent: 42, reserved: 0 })
    }).pipe(Effect.provide(live({}, { journal: journal.layer })))
  })
})

describe("event that replaces a commit", () => {
  const extras = { ...options, actual: tokens(42), metrics: { modelVersion: "1" } }

  for (const status of [400, 413]) {
    it.effect(`that arrived isn't a dead letter after a ${status} page`, () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("commit", Fault.error(410, "RESERVATION_EXPIRED"))
        yield* CyclesTest.inject("event", Fault.replaced({ status }))
        yield* Cycles.withCycles(Effect.void, extras)
        yield* TestClock.adjust("5 minutes")
        expect((yield* books).spent).toBe(42)
        expect(yield* Stream.runCount(Cycles.deadLetters)).toBe(0)
        const bodies = (yield* CyclesTest.requests("event")).map(({ body }) => body)
        expect(bodies.length).toBe(2)
        expect(new Set(bodies).size).toBe(1)
      }).pipe(Effect.provide(stage))
    )

    it.effect(`keeps its bytes after a ${status} page to the commit, since another process may send them too`, () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("commit", Fault.status(status), Fault.error(410, "RESERVATION_EXPIRED"))
        yield* Cycles.withCycles(Effect.void, extras)
        yield* TestClock.adjust("5 minutes")
        const [event] = yield* CyclesTest.requests("event")
        expect(event?.body).toContain("model_version")
      }).pipe(Effect.provide(live({}, { journal: faultyJournal().layer })))
    )
  }
})

describe("release", () => {
  const ended = <A, E, R>(run: Effect.Effect<A, E, R>) => Effect.asVoid(Effect.exit(run))
  const fails = [
    ["withCycles", ended(Effect.fail("the body fails").pipe(Cycles.withCycles(options)))],
    ["withCyclesStream", ended(Stream.fail("it fails").pipe(Cycles.withCyclesStream(options), Stream.runDrain))],
    ["reserve", ended(Effect.scoped(Cycles.reserve(options)))],
    [
      "release by hand",
      ended(Effect.scoped(Effect.flatMap(Cycles.reserve(options), (reservation) => reservation.release())))
    ]
  ] as const

  for (const [form, run] of fails) {
    for (const status of [401, 403, 404, 410]) {
      it.effect(`is retried after a ${status} page (${form})`, () =>
        Effect.gen(function* () {
          yield* CyclesTest.inject("release", Fault.status(status))
          yield* run
          yield* TestClock.adjust("5 minutes")
          expect(yield* books).toEqual({ spent: 0, reserved: 0 })
        }).pipe(Effect.provide(stage))
      )
    }
  }

  for (const status of [400, 407, 409, 413, 418]) {
    it.effect(`is retried after a ${status} page`, () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("release", Fault.status(status))
        yield* Effect.exit(Effect.fail("the body fails").pipe(Cycles.withCycles(options)))
        yield* TestClock.adjust("5 minutes")
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(stage))
    )
  }

  for (const [status, code] of [
    [401, "UNAUTHORIZED"],
    [403, "FORBIDDEN"]
  ] as const) {
    it.effect(`is retried after one ${status} ${code}, which proves nothing about the reservation`, () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("release", Fault.error(status, code))
        yield* Effect.exit(Effect.fail("the body fails").pipe(Cycles.withCycles(options)))
        yield* TestClock.adjust("5 minutes")
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(stage))
    )
  }

  it.effect("isn't reported as confirmed after a 410 page", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("release", Fault.status(410))
      const settlement = yield* Effect.scoped(
        Effect.flatMap(Cycles.reserve(options), (reservation) => reservation.release())
      )
      expect(settlement).toMatchObject({ _tag: "Released", isConfirmed: false })
    }).pipe(Effect.provide(stage))
  )
})

describe("reserve", () => {
  for (const status of [401, 403, 404, 409]) {
    it.effect(`that arrived leaves nothing reserved after a ${status} page`, () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", Fault.replaced({ status: status }))
        yield* Effect.exit(Cycles.withCycles(Effect.void, { ...options, actual: tokens(0) }))
        yield* TestClock.adjust("5 minutes")
        expect((yield* books).reserved).toBe(0)
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(stage))
    )
  }

  it.effect("under a caller-supplied key isn't AlreadySettled because of a 410 page", () =>
    Effect.gen(function* () {
      const record = yield* leaveRecord()
      yield* CyclesTest.inject(
        "reserve",
        Fault.response({
          status: 200,
          body: { decision: "ALLOW", affected_scopes: [], reservation_id: record.reservationId }
        })
      )
      yield* CyclesTest.inject("getReservation", Fault.status(410))
      const exit = yield* Cycles.withCycles(Effect.void, { ...options, idempotencyKey: "job-1" }).pipe(Effect.exit)
      expect(outcomeOf(exit)).not.toBe("AlreadySettled")
    }).pipe(Effect.provide(stage))
  )
})

describe("extend", () => {
  for (const status of [401, 403, 404, 410]) {
    it.effect(`is retried after a ${status} page`, () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("extend", Fault.status(status))
        const run = Cycles.withCycles(Effect.sleep("2 minutes"), {
          ...options,
          actual: tokens(42),
          heartbeat: "cancel"
        })
        expect(yield* outcomeWithin("3 minutes", run)).toBe("success")
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(live()))
    )
  }
})

describe("event", () => {
  it.effect("that wasn't sent again fails as one that may have been charged", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("event", Fault.responseLost, Fault.connectionRefused)
      const error = yield* Effect.flip(Cycles.event({ action, actual: tokens(42) }))
      expect(error).toMatchObject({ _tag: "TransportError", mayHaveArrived: true })
      expect(yield* books).toEqual({ spent: 42, reserved: 0 })
    }).pipe(Effect.provide(stage))
  )

  for (const status of [400, 401, 404, 410]) {
    it.effect(`that arrived isn't reported as refused after a ${status} page`, () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("event", Fault.replaced({ status: status }))
        const exit = yield* Cycles.event({ action, actual: tokens(42) }).pipe(Effect.exit)
        expect(["success", "TransportError", "ProtocolError"]).toContain(outcomeOf(exit))
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
      }).pipe(Effect.provide(stage))
    )
  }

  it.effect.each<readonly [string, Fault.Fault]>([
    ["429 page", Fault.replaced({ status: 429 })],
    ["429 of the server", Fault.error(429, "LIMIT_EXCEEDED")],
    ["401 of the server", Fault.error(401, "UNAUTHORIZED")]
  ])("that arrived isn't reported as refused if its response is lost and the retry gets a %s", ([, second]) =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("event", Fault.responseLost, second)
      const error = yield* Effect.flip(Cycles.event({ action, actual: tokens(42) }))
      expect(error).toMatchObject({ _tag: "TransportError", mayHaveArrived: true })
      expect(yield* books).toEqual({ spent: 42, reserved: 0 })
    }).pipe(Effect.provide(stage))
  )
})
