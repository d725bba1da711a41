/**
 * Tests of each fault: the result of the client, and the spend in the ledger.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { Amount, Cycles, CyclesClient, Identifiers } from "effect-cycles"
import { action, call, outcome, TestLayer } from "./support/program.ts"

/** Charges 42 tokens without a guard: one request, without a retry. */
const charge = Effect.gen(function* () {
  const client = yield* CyclesClient.CyclesClient
  return yield* client.event({
    idempotencyKey: Identifiers.IdempotencyKey.make("key"),
    subject: { tenant: "acme" },
    action,
    actual: Amount.tokens(42)
  })
})

const spent = Effect.gen(function* () {
  const server = yield* CyclesServer.CyclesServer
  return Number((yield* server.books("TOKENS")).spent)
})

/** The outcome of one event that meets a fault, and the tokens that the ledger shows as spent afterwards. */
const met = (fault: Fault.Fault) =>
  Effect.gen(function* () {
    yield* CyclesTest.inject("event", fault)
    const exit = yield* outcome(charge)
    yield* CyclesTest.expectFaultsMet
    return { exit, spent: yield* spent }
  })

describe("lost messages", () => {
  for (const { fault, mayHaveArrived, processed } of [
    { fault: Fault.connectionRefused, mayHaveArrived: false, processed: 0 },
    { fault: Fault.requestLost, mayHaveArrived: true, processed: 0 },
    { fault: Fault.responseLost, mayHaveArrived: true, processed: 42 },
    { fault: Fault.noResponse, mayHaveArrived: true, processed: 0 }
  ]) {
    it.effect(`${fault.name} fails the exchange with mayHaveArrived: ${mayHaveArrived} and charges ${processed}`, () =>
      Effect.gen(function* () {
        const { exit, spent } = yield* met(fault)
        expect(spent).toBe(processed)
        expect(yield* Effect.flip(exit)).toMatchObject({ _tag: "TransportError", mayHaveArrived })
      }).pipe(Effect.provide(TestLayer))
    )
  }
})

describe("late messages", () => {
  it.effect("late processes the request at once and returns the response after the delay", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("event", Fault.late("5 seconds"))
      const fiber = yield* Effect.forkChild(charge)
      yield* TestClock.adjust("4 seconds")
      expect(yield* spent).toBe(42)
      expect(fiber.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust("1 second")
      expect(Exit.isSuccess(yield* Fiber.await(fiber))).toBe(true)
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("late beyond the client's timeout fails with a TransportError although the spend is charged", () =>
    Effect.gen(function* () {
      const { exit, spent } = yield* met(Fault.late("1 minute"))
      expect(spent).toBe(42)
      expect(yield* Effect.flip(exit)).toMatchObject({ _tag: "TransportError", mayHaveArrived: true })
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("requestLate processes the request after the delay", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("event", Fault.requestLate("5 seconds"))
      const fiber = yield* Effect.forkChild(charge)
      yield* TestClock.adjust("4 seconds")
      expect(yield* spent).toBe(0)
      yield* TestClock.adjust("1 second")
      expect(Exit.isSuccess(yield* Fiber.await(fiber))).toBe(true)
      expect(yield* spent).toBe(42)
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("requestLate drops the request if the client times out first", () =>
    Effect.gen(function* () {
      const { exit, spent } = yield* met(Fault.requestLate("1 minute"))
      expect(spent).toBe(0)
      expect(yield* Effect.flip(exit)).toMatchObject({ _tag: "TransportError" })
    }).pipe(Effect.provide(TestLayer))
  )
})

describe("responses", () => {
  it.effect("denied fails a guarded call with BudgetExceeded", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("reserve", Fault.denied)
      expect(yield* Effect.flip(call)).toMatchObject({ _tag: "BudgetExceeded", code: "BUDGET_EXCEEDED" })
      yield* CyclesTest.expectCommitted(Amount.tokens(0))
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("denied makes decide return DENY", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("decide", Fault.denied)
      const options = { action, estimate: Amount.tokens(1) }
      expect(yield* Cycles.decide(options)).toMatchObject({ decision: "DENY", reasonCode: "BUDGET_EXCEEDED" })
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("denied denies a dry run", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("reserve", Fault.denied)
      const dryRun = Cycles.withCycles(Effect.void, { action, estimate: Amount.tokens(1), dryRun: true })
      expect(yield* Effect.flip(dryRun)).toMatchObject({ _tag: "BudgetExceeded", code: "BUDGET_EXCEEDED" })
      expect((yield* CyclesTest.requests("reserve")).map((sent) => sent.fault)).toEqual(["denied"])
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("error returns an error of the protocol, with its headers", () =>
    Effect.gen(function* () {
      const { exit, spent } = yield* met(Fault.error(429, "LIMIT_EXCEEDED", { "retry-after": "7" }))
      expect(spent).toBe(0)
      const error = yield* Effect.flip(exit)
      expect(error).toMatchObject({
        _tag: "ApiError",
        status: 429,
        code: "LIMIT_EXCEEDED",
        retryAfter: Duration.seconds(7)
      })
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("status returns an error without a code, and the request is not processed", () =>
    Effect.gen(function* () {
      const { exit, spent } = yield* met(Fault.status(503))
      expect(spent).toBe(0)
      expect(yield* Effect.flip(exit)).toMatchObject({ _tag: "ApiError", status: 503, code: undefined })
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("garbage makes the client fail with ProtocolError although the request is processed", () =>
    Effect.gen(function* () {
      const { exit, spent } = yield* met(Fault.garbage)
      expect(spent).toBe(42)
      expect(yield* Effect.flip(exit)).toMatchObject({ _tag: "ProtocolError" })
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("response replaces the exchange, and replaced only the response", () =>
    Effect.gen(function* () {
      const body = { status: "APPLIED", event_id: "evt-1" }
      const first = yield* met(Fault.response({ status: 201, body }))
      expect(first.spent).toBe(0)
      expect(yield* first.exit).toMatchObject({ eventId: "evt-1" })
      const second = yield* met(Fault.replaced({ status: 201, body }))
      expect(second.spent).toBe(42)
      expect(yield* second.exit).toMatchObject({ eventId: "evt-1" })
    }).pipe(Effect.provide(TestLayer))
  )

  it.effect("duplicated sends the request twice, and it is charged once", () =>
    Effect.gen(function* () {
      const { exit, spent } = yield* met(Fault.duplicated)
      expect(spent).toBe(42)
      expect(Exit.isSuccess(exit)).toBe(true)
    }).pipe(Effect.provide(TestLayer))
  )
})

describe("make", () => {
  it.effect("runs a custom fault with the operation and the exchange", () =>
    Effect.gen(function* () {
      const operations: Array<string | undefined> = []
      const fault = Fault.make("noted", ({ operation, send }) => {
        operations.push(operation)
        return send
      })
      const { exit } = yield* met(fault)
      expect(Exit.isSuccess(exit)).toBe(true)
      expect(operations).toEqual(["event"])
    }).pipe(Effect.provide(TestLayer))
  )
})

describe("bad input", () => {
  it("throws a RangeError that names the function, the range and the value", () => {
    expect(() => Fault.times(Fault.garbage, 0)).toThrow("Fault.times expects a whole number from 1, and received 0")
    expect(() => Fault.times(1.5)(Fault.garbage)).toThrow(RangeError)
    expect(() => Fault.late("-1 seconds")).toThrow("Fault.late expects a finite duration from 0")
    expect(() => Fault.requestLate("Infinity")).toThrow("Fault.requestLate expects a finite duration from 0")
    expect(() => Fault.status(99)).toThrow("Fault.status expects a status from 100 to 599, and received 99")
    expect(() => Fault.error(200, "OK")).toThrow("Fault.error expects a status from 400 to 599, and received 200")
    expect(() => Fault.response({ status: 600 })).toThrow(RangeError)
    expect(() => Fault.replaced({ status: 600 })).toThrow(RangeError)
  })
})
