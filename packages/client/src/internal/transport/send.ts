/**
 * One call of the protocol: request text in, checked response or typed error out.
 *
 * No lifecycles: no retry, no journal. A call is bounded in time and number, has a span, and no error of it holds what was
 * sent. Whatever a transport, a tracer or a metric does, a call ends once, in time, and gives its place back.
 */
import { CyclesTransport } from "@effect-cycles/protocol/CyclesTransport"
import * as ProtocolHeaders from "@effect-cycles/protocol/Headers"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { CyclesError } from "../../CyclesError.ts"
import * as BaseUrl from "../config/baseUrl.ts"
import * as Bulkhead from "./bulkhead.ts"
import type { Call, WithMeta } from "./call.ts"
import * as Metrics from "./metrics.ts"
import * as Redact from "./redact.ts"
import * as Requests from "./request.ts"
import * as Response from "./response.ts"
import * as Span from "./span.ts"
import * as TimerQueue from "./timerQueue.ts"
import * as Transport from "./transport.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Sends calls to one server. */
export interface Sender {
  /** Sends a call; interrupting it abandons it. */
  readonly send: <A extends object>(call: Call<A>) => Effect.Effect<WithMeta<A>, CyclesError>
  /**
   * The same without a fiber: `done` is called once, unless the function that is returned abandons the call before. `context`
   * decides about tracer and metrics.
   */
  readonly start: <A extends object>(
    call: Call<A>,
    context: Context.Context<never>,
    clock: Clock.Clock,
    done: (exit: Exit.Exit<WithMeta<A>, CyclesError>) => void
  ) => () => void
  /** Sends no settlement for so long: the server throttles. Leases and callers go on. */
  readonly pauseSettlements: (forMs: number) => void
  /** The server's time at a moment of the local wall clock, by the `Date` header of the last success; the same without one. */
  readonly serverTime: (localMs: number) => number
}

/** Sends a call. */
export type Send = Sender["send"]

/** What a sender is made of. */
export interface Options {
  readonly baseUrl: string
  readonly apiKey: Redacted.Redacted | undefined
  readonly adminKey: Redacted.Redacted | undefined
  readonly timeoutMs: number
  readonly maxConcurrency: number
  readonly idleProbeAfterMs: number
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Makes the sender for one server and one pair of keys. Calls may outlive the scope; they still have their time limits. */
export const make = (options: Options): Effect.Effect<Sender, never, CyclesTransport | Scope.Scope> =>
  Effect.gen(function* () {
    const transport = yield* CyclesTransport
    const timers = yield* TimerQueue.make<TimerQueue.Timer>((timer) => timer.expire(), { outlivesScope: true })
    const bulkhead = Bulkhead.make({ ...options, timers })
    if (BaseUrl.isPlainPublic(options.baseUrl)) {
      yield* Effect.ignoreCause(Effect.logWarning(`The key goes unencrypted to ${options.baseUrl}: use https`))
    }
    return over({ transport, bulkhead, timers }, options)
  })

const over = (shared: Transport.Shared, options: Options): Sender => {
  const requests = Requests.make(options)
  const redactor = Redact.make([options.apiKey, options.adminKey])
  let date: string | undefined
  let offsetMs = 0

  /** A date counts whole seconds and changes once in each: only the first response with a new one is looked at. */
  const observe = (end: Transport.End, clock: Clock.Clock): void => {
    try {
      if (end._tag !== "Done" || !Exit.isSuccess(end.exit)) return
      const value = end.exit.value.headers[ProtocolHeaders.DATE]
      if (value === undefined || value === date) return
      const serverMs = ProtocolHeaders.dateMs(value)
      if (serverMs === undefined) return
      date = value
      offsetMs = clock.currentTimeMillisUnsafe() - serverMs
    } catch {
      // A getter of a transport's response threw.
    }
  }

  const start: Sender["start"] = (call, context, clock, done) => {
    if (call.invalid !== undefined) {
      done(Exit.fail(call.invalid))
      return () => {}
    }
    const span = Span.open(call, context)
    const limitMs = limitOf(call.timeoutMs ?? options.timeoutMs)
    const origin: Response.Origin = {
      url: () => requests.urlOf(call),
      redactor,
      limitMs,
      nowMs: () => clock.currentTimeMillisUnsafe()
    }
    return Transport.start(shared, {
      priority: call.priority,
      limitMs,
      clock,
      context: () => context,
      request: () => {
        if (call.progress !== undefined) call.progress.hasLeft = true
        return requests.build(call, span)
      },
      ended: (end) => {
        const exit = Response.resultOf(call, end, origin)
        if (Exit.isSuccess(exit)) observe(end, clock)
        Metrics.call(call.operation, exit, context)
        if (span !== undefined) Span.end(span, call, exit, context, clock)
        if (end._tag === "Abandoned") return
        try {
          done(exit)
        } catch (defect) {
          Effect.runForkWith(context)(Effect.ignoreCause(Effect.logError("The callback of a call threw", defect)))
        }
      }
    })
  }

  return {
    send: (call) =>
      Effect.withFiber((fiber) =>
        Effect.callback((resume) => Effect.sync(start(call, fiber.context, fiber.getRef(Clock.Clock), resume)))
      ),
    start,
    pauseSettlements: shared.bulkhead.pauseSettlements,
    serverTime: (localMs) => localMs - offsetMs
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** A limit that can't be one ends the call at once, so that it never hangs. */
const limitOf = (ms: number): number => (ms > 0 ? Math.min(ms, maxLimitMs) : 0)

const maxLimitMs = 3_600_000
