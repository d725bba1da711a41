/**
 * A call ends once, by its deadline, with a result or a typed error, and releases its slot, even if the transport, the
 * tracer, the metrics or the logger fail.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import { CyclesError, CyclesTransport } from "effect-cycles"
import type { Call } from "../src/internal/transport/call.ts"
import type { Connection } from "../src/internal/transport/connection.ts"
import * as Sender from "../src/internal/transport/send.ts"

type Start = CyclesTransport.CyclesTransport["start"]

type Done = Parameters<Start>[2]

const secret = "cyc_live_hush-hush-hush"

const call: Call<{ readonly ok: boolean }> = {
  operation: "decide",
  method: "POST",
  path: "/v1/decide?page=2",
  body: "{}",
  status: 200,
  read: (text) => (text === "{}" ? Result.succeed({ ok: true }) : Result.fail("the body isn't JSON")),
  auth: "apiKey",
  priority: "caller"
}

const good = { status: 200, headers: {}, body: "{}", attempts: 1 }

const respond: Start = (_request, _context, done) => {
  done(Exit.succeed(good))
  return () => {}
}

/** A sender with one slot for callers, over a transport that a test can replace. */
const make = (start: Start, options?: Partial<Connection>) =>
  Effect.gen(function* () {
    const state = { start }
    const sender = yield* Effect.provideService(
      Sender.make({
        baseUrl: "http://cycles.local",
        apiKey: Redacted.make(secret),
        adminKey: undefined,
        timeoutMs: 1_000,
        maxConcurrency: 3,
        idleProbeAfterMs: 50_000,
        ...options
      }),
      CyclesTransport.CyclesTransport,
      CyclesTransport.fromStart((request, context, done) => state.start(request, context, done))
    )
    return { sender, state }
  })

/** Calls back with a value that the types don't allow, as a program without types may do. */
const untyped = (done: Done, value: unknown): void => void Reflect.apply(done, undefined, [value])

/** Calls back with a value and returns nothing. */
const callsBack =
  (value: () => unknown): Start =>
  (_request, _context, done) => {
    untyped(done, value())
    return () => {}
  }

const throwing = (): never => {
  throw new Error(`bug with ${secret}`)
}

/** An object whose fields all throw. */
const hostile = new Proxy({}, { get: throwing, has: throwing, ownKeys: throwing, getPrototypeOf: throwing })

const unknown = { _tag: "TransportError", kind: "unknown", mayHaveArrived: true, url: "http://cycles.local/v1/decide" }

describe("send", () => {
  describe("over a transport that", () => {
    it.effect.each<readonly [what: string, start: Start, expected: object]>([
      ["throws", throwing, { ...unknown, cause: [{ name: "Error", message: "bug with <redacted>" }] }],
      ["calls back with undefined", callsBack(() => undefined), unknown],
      ["calls back with a plain object", callsBack(() => ({ _tag: "Success" })), unknown],
      ["calls back with a hostile object", callsBack(() => hostile), unknown],
      ["succeeds with nothing", callsBack(() => Exit.succeed(undefined)), unknown],
      ["succeeds with a hostile object", callsBack(() => Exit.succeed(hostile)), unknown],
      ["responds without a status", callsBack(() => Exit.succeed({ ...good, status: "200" })), unknown],
      ["responds with a status of NaN", callsBack(() => Exit.succeed({ ...good, status: Number.NaN })), unknown],
      ["responds without a body", callsBack(() => Exit.succeed({ ...good, body: undefined })), unknown],
      ["responds with bytes", callsBack(() => Exit.succeed({ ...good, body: new Uint8Array(2) })), unknown],
      ["responds without headers", callsBack(() => Exit.succeed({ ...good, headers: null })), unknown],
      ["responds with hostile headers", callsBack(() => Exit.succeed({ ...good, headers: hostile })), unknown],
      ["fails with nothing", callsBack(() => Exit.fail(undefined)), unknown],
      [
        "fails with a string",
        callsBack(() => Exit.fail("no")),
        { ...unknown, cause: [{ name: "string", message: "no" }] }
      ],
      ["fails with an empty object", callsBack(() => Exit.fail({})), unknown],
      ["fails with a hostile object", callsBack(() => Exit.fail(hostile)), unknown],
      ["fails with an unknown kind", callsBack(() => Exit.fail({ kind: "odd", mayHaveArrived: 0 })), unknown],
      [
        "fails with a hostile cause",
        callsBack(() => Exit.fail({ kind: "refused", mayHaveArrived: false, problem: "p", cause: hostile })),
        { _tag: "TransportError", kind: "refused", mayHaveArrived: false, problem: "p" }
      ],
      ["dies", callsBack(() => Exit.die(new Error("bug"))), { ...unknown, cause: [{ name: "Error", message: "bug" }] }],
      ["interrupts itself", callsBack(() => Exit.interrupt()), unknown],
      [
        "never calls back",
        () => () => {},
        { _tag: "TransportError", kind: "timeout", mayHaveArrived: true, problem: "no response within 1s" }
      ],
      [
        "can't be abandoned",
        () => throwing,
        { _tag: "TransportError", kind: "timeout", mayHaveArrived: true, problem: "no response within 1s" }
      ]
    ])("%s: fails with a typed error and frees its slot", ([, start, expected]) =>
      Effect.gen(function* () {
        const { sender, state } = yield* make(start)
        for (let i = 0; i < 5; i += 1) {
          const fiber = yield* Effect.forkChild(Effect.flip(sender.send(call)), { startImmediately: true })
          yield* TestClock.adjust(1_000)
          const error = yield* Fiber.join(fiber)
          expect(error).toMatchObject(expected)
          expect(JSON.stringify(error) + error.message).not.toContain(secret)
        }
        state.start = respond
        expect(yield* sender.send(call)).toMatchObject({ ok: true })
      })
    )

    it.effect.each<readonly [what: string, start: Start]>([
      ["calls back synchronously", respond],
      [
        "calls back twice",
        (_request, _context, done) => {
          done(Exit.succeed(good))
          done(Exit.die("again"))
          return () => {}
        }
      ],
      [
        "returns nothing",
        (request, context, done) => {
          respond(request, context, done)
          return Reflect.get({}, "nothing")
        }
      ],
      [
        "throws after it has called back",
        (request, context, done) => {
          respond(request, context, done)
          return throwing()
        }
      ],
      ["has odd headers", callsBack(() => Exit.succeed({ ...good, headers: { "x-request-id": 5, date: {} } }))]
    ])("%s: succeeds once, and so do the next calls", ([, start]) =>
      Effect.gen(function* () {
        const { sender } = yield* make(start)
        for (let i = 0; i < 5; i += 1) expect(yield* sender.send(call)).toMatchObject({ ok: true })
      })
    )

    it.effect("calls back after the timeout or an interrupt: ignores it", () =>
      Effect.gen(function* () {
        const late: Array<Done> = []
        const { sender, state } = yield* make((_request, _context, done) => {
          late.push(done)
          return () => done(Exit.succeed(good))
        })
        const first = yield* Effect.forkChild(Effect.flip(sender.send(call)), { startImmediately: true })
        yield* TestClock.adjust(1_000)
        expect(yield* Fiber.join(first)).toMatchObject({ kind: "timeout" })
        const second = yield* Effect.forkChild(sender.send(call), { startImmediately: true })
        yield* Fiber.interrupt(second)
        for (const done of late) done(Exit.succeed(good))
        state.start = respond
        for (let i = 0; i < 5; i += 1) expect(yield* sender.send(call)).toMatchObject({ ok: true })
        expect(late).toHaveLength(2)
      })
    )
  })

  it.effect("fails with a ProtocolError if parsing the body throws", () =>
    Effect.gen(function* () {
      const { sender } = yield* make(respond)
      expect(yield* Effect.flip(sender.send({ ...call, read: throwing }))).toMatchObject({
        _tag: "ProtocolError",
        status: 200,
        cause: [{ message: "bug with <redacted>" }]
      })
    })
  )

  it.effect("returns the response if computing its span attributes throws", () =>
    Effect.gen(function* () {
      const { sender } = yield* make(respond)
      expect(yield* sender.send({ ...call, describe: throwing }).pipe(Effect.withSpan("outer"))).toMatchObject({
        ok: true
      })
    })
  )

  describe("with a tracer", () => {
    const tracers: ReadonlyArray<readonly [string, () => Tracer.Tracer]> = [
      ["that throws", () => Tracer.make({ span: throwing })],
      ["whose attributes throw", () => broken({ attribute: throwing })],
      ["whose end throws", () => broken({ end: throwing })],
      ["whose span has no ids", () => broken({ spanId: hostile, traceId: hostile })]
    ]
    const broken = (fields: object): Tracer.Tracer =>
      Tracer.make({ span: (options) => Object.assign(new Tracer.NativeSpan(options), fields) })

    it.effect.each(tracers)("%s: returns the response or the error of the call", ([, tracer]) =>
      Effect.gen(function* () {
        const { sender, state } = yield* make(respond)
        const traced = sender.send(call).pipe(Effect.provideService(Tracer.Tracer, tracer()))
        for (let i = 0; i < 5; i += 1) expect(yield* traced).toMatchObject({ ok: true })
        state.start = callsBack(() => Exit.succeed({ ...good, status: 500 }))
        expect(yield* Effect.flip(traced)).toMatchObject({ _tag: "ApiError", status: 500 })
      })
    )
  })

  it.effect("with metrics that throw: returns the response", () =>
    Effect.gen(function* () {
      const { sender } = yield* make(respond)
      const registry = Object.assign(new Map<string, never>(), { get: throwing, has: throwing, set: throwing })
      for (let i = 0; i < 5; i += 1) {
        const metered = sender.send(call).pipe(Effect.provideService(Metric.MetricRegistry, registry))
        expect(yield* metered).toMatchObject({ ok: true })
      }
    })
  )

  describe("timeout", () => {
    it.effect("includes queueing, and reports that an unsent request didn't arrive", () =>
      Effect.gen(function* () {
        let sent = 0
        const { sender, state } = yield* make(() => {
          sent += 1
          return () => {}
        })
        const progress = { hasLeft: false }
        const first = yield* Effect.forkChild(Effect.flip(sender.send({ ...call, timeoutMs: 5_000 })), {
          startImmediately: true
        })
        const second = yield* Effect.forkChild(Effect.flip(sender.send({ ...call, progress })), {
          startImmediately: true
        })
        yield* TestClock.adjust(1_000)
        expect(yield* Fiber.join(second)).toMatchObject({
          _tag: "TransportError",
          kind: "timeout",
          mayHaveArrived: false,
          problem: "too many other calls were in flight for 1s"
        })
        expect([sent, progress.hasLeft]).toEqual([1, false])
        yield* TestClock.adjust(4_000)
        expect(yield* Fiber.join(first)).toMatchObject({ kind: "timeout", mayHaveArrived: true })
        state.start = respond
        expect(yield* sender.send(call)).toMatchObject({ ok: true })
      })
    )

    it.effect("is shorter for a call that was queued", () =>
      Effect.gen(function* () {
        const { sender } = yield* make(() => () => {})
        yield* Effect.forkChild(Effect.exit(sender.send({ ...call, timeoutMs: 600 })), { startImmediately: true })
        const second = yield* Effect.forkChild(Effect.flip(sender.send(call)), { startImmediately: true })
        yield* TestClock.adjust(999)
        expect(second.pollUnsafe()).toBeUndefined()
        yield* TestClock.adjust(1)
        expect(yield* Fiber.join(second)).toMatchObject({ kind: "timeout", mayHaveArrived: true })
      })
    )

    it.effect.each([0, -1, Number.NaN])("of %s ends a call immediately", (timeoutMs) =>
      Effect.gen(function* () {
        const { sender } = yield* make(() => () => {})
        const fiber = yield* Effect.forkChild(Effect.flip(sender.send({ ...call, timeoutMs })), {
          startImmediately: true
        })
        yield* TestClock.adjust(1)
        expect(yield* Fiber.join(fiber)).toMatchObject({ kind: "timeout" })
      })
    )
  })

  describe("a response to a repeated request", () => {
    const coded = (code: string) => JSON.stringify({ error: code, message: "m", request_id: "r" })

    /** The result of a call whose request was sent twice. */
    const resultOf = (status: number, body: string) =>
      Effect.gen(function* () {
        const { sender } = yield* make(callsBack(() => Exit.succeed({ status, headers: {}, body, attempts: 2 })))
        const exit = yield* Effect.exit(sender.send(call))
        return Exit.isSuccess(exit) ? exit.value : Cause.squash(exit.cause)
      })

    it.effect.each<readonly [status: number, what: string, body: string, expected: object]>([
      [200, "{}", "{}", { ok: true }],
      [200, "a page", "<html>", { _tag: "ProtocolError", status: 200 }],
      [202, "{}", "{}", { _tag: "ProtocolError", status: 202 }],
      [400, "INVALID_REQUEST", coded("INVALID_REQUEST"), { _tag: "ApiError", code: "INVALID_REQUEST" }],
      [404, "NOT_FOUND", coded("NOT_FOUND"), { _tag: "ApiError", code: "NOT_FOUND" }],
      [409, "BUDGET_EXCEEDED", coded("BUDGET_EXCEEDED"), { _tag: "BudgetExceeded" }],
      [410, "RESERVATION_EXPIRED", coded("RESERVATION_EXPIRED"), { _tag: "ApiError", code: "RESERVATION_EXPIRED" }]
    ])("with %i and %s is the result of the call", ([status, , body, expected]) =>
      Effect.gen(function* () {
        expect(yield* resultOf(status, body)).toMatchObject(expected)
      })
    )

    it.effect.each<readonly [status: number, what: string, body: string]>([
      [307, "no body", ""],
      [401, "UNAUTHORIZED", coded("UNAUTHORIZED")],
      [403, "FORBIDDEN", coded("FORBIDDEN")],
      [404, "a page", "<html>"],
      [410, "a page", "<html>"],
      [429, "LIMIT_EXCEEDED", coded("LIMIT_EXCEEDED")],
      [500, "INTERNAL_ERROR", coded("INTERNAL_ERROR")],
      [503, "a page", "<html>"]
    ])("with %i and %s proves nothing about the first request", ([status, , body]) =>
      Effect.gen(function* () {
        expect(yield* resultOf(status, body)).toMatchObject({
          _tag: "TransportError",
          mayHaveArrived: true,
          problem: expect.stringMatching(new RegExp(`proves nothing about it: .*${status}`))
        })
      })
    )
  })

  describe("errors", () => {
    const chain = Array.from({ length: 8 }).reduce<unknown>(
      (cause, _, i) => Object.assign(new Error(`link ${i} ${secret}`), { cause, code: "ECONNRESET", headers: secret }),
      undefined
    )

    it.effect("have at most five links of the cause, redacted", () =>
      Effect.gen(function* () {
        const { sender } = yield* make(callsBack(() => Exit.fail(CyclesTransport.failureOf(chain))))
        const error = yield* Effect.flip(sender.send(call))
        expect(error).toMatchObject({
          _tag: "TransportError",
          kind: "interrupted",
          cause: [7, 6, 5, 4, 3].map((i) => ({ name: "Error", message: `link ${i} <redacted>`, code: "ECONNRESET" }))
        })
        expect(Cause.pretty(Cause.fail(error))).not.toContain(secret)
      })
    )

    const { ApiError, BudgetExceeded, InvalidRequest, ProtocolError, TransportError } = CyclesError
    const origin = {
      url: "http://cycles.local/v1/decide",
      cause: [
        { name: "Error", message: "m", code: "c", syscall: "connect", address: "::1", port: 1 },
        { name: "E", message: "" }
      ]
    }

    it.effect.each([
      new TransportError({ operation: "decide", kind: "tooLarge", mayHaveArrived: true, problem: "p", ...origin }),
      new ProtocolError({ operation: "decide", status: 200, problem: "p", requestId: "r", ...origin }),
      new ApiError({ operation: "commit", status: 404, code: "NOT_FOUND", details: { a: [1, null] }, ...origin }),
      new BudgetExceeded({ operation: "reserve", code: "BUDGET_FROZEN", scopes: ["tenant:acme"] }),
      new InvalidRequest({ operation: "reserve", fields: [{ field: "f", expected: "e", actual: "a" }] })
    ])("round-trip through JSON: $_tag", (error) =>
      Effect.gen(function* () {
        const codec = Schema.toCodecJson(
          Schema.Union([ApiError, BudgetExceeded, InvalidRequest, ProtocolError, TransportError])
        )
        const json: unknown = JSON.parse(JSON.stringify(yield* Schema.encodeEffect(codec)(error)))
        const back = yield* Schema.decodeUnknownEffect(codec)(json)
        expect(back).toEqual(error)
        expect(back.message).toBe(error.message)
      })
    )
  })

  describe("start", () => {
    const context = Effect.context<never>()

    it.effect("calls back once, without a fiber, and abandons", () =>
      Effect.gen(function* () {
        const pending: Array<Done> = []
        let abandoned = 0
        const { sender } = yield* make((_request, _context, done) => {
          pending.push(done)
          return () => void (abandoned += 1)
        })
        const clock = yield* Clock.Clock
        const ends: Array<Exit.Exit<object, unknown>> = []
        const start = () => sender.start(call, Context.empty(), clock, (exit) => void ends.push(exit))
        const abandonFirst = start()
        expect(pending).toHaveLength(1)
        pending[0]?.(Exit.succeed(good))
        abandonFirst()
        expect(ends).toMatchObject([{ _tag: "Success", value: { ok: true } }])
        const abandonSecond = start()
        abandonSecond()
        abandonSecond()
        pending[1]?.(Exit.succeed(good))
        expect([ends.length, abandoned]).toEqual([1, 1])
        start()
        yield* TestClock.adjust(1_000)
        expect(ends[1]).toMatchObject({ _tag: "Failure" })
        expect([ends.length, abandoned]).toEqual([2, 2])
      })
    )

    it.effect("logs a defect of its callback, and continues", () => {
      const messages: Array<unknown> = []
      const logger = Logger.make(({ message }) => {
        messages.push(message)
        throw new Error("logger bug")
      })
      return Effect.gen(function* () {
        const { sender } = yield* make(respond)
        for (let i = 0; i < 5; i += 1) sender.start(call, yield* context, yield* Clock.Clock, throwing)
        expect(messages).toHaveLength(5)
        expect(yield* sender.send(call)).toMatchObject({ ok: true })
      }).pipe(Effect.provide(Logger.layer([logger])))
    })
  })

  it.effect("reads the server's time from the Date header of successes", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_000_000_000_000)
      const date = (value: string, status = 200) =>
        callsBack(() => Exit.succeed({ ...good, status, headers: { date: value } }))
      const { sender, state } = yield* make(respond)
      yield* sender.send(call)
      expect(sender.serverTime(5)).toBe(5)
      for (const start of [date("Sun, 09 Sep 2001 01:46:45 GMT", 500), date("soon")]) {
        state.start = start
        yield* Effect.exit(sender.send(call))
        expect(sender.serverTime(5)).toBe(5)
      }
      state.start = date("Sun, 09 Sep 2001 01:46:45 GMT")
      yield* sender.send(call)
      expect(sender.serverTime(1_000_000_000_000)).toBe(1_000_000_005_000)
    })
  )
})
