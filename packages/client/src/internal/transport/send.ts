/**
 * Sends one call of the protocol: from request text to validated response or typed error.
 *
 * It doesn't retry or journal. A call has a deadline, a slot in the bulkhead and a span, and its errors don't contain
 * the request. Even if a transport, a tracer or a metric throws, or a transport hangs, a call ends once, by its
 * deadline, and releases its slot.
 */
import { CyclesTransport } from "@effect-cycles/protocol/CyclesTransport"
import * as ProtocolHeaders from "@effect-cycles/protocol/Headers"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { CyclesError } from "../../CyclesError.ts"
import * as BaseUrl from "../config/baseUrl.ts"
import * as Bulkhead from "./bulkhead.ts"
import type { Call, WithMeta } from "./call.ts"
import type { Connection } from "./connection.ts"
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
  /** Sends a call. Interrupting the effect abandons the call. */
  readonly send: <A extends object>(call: Call<A>) => Effect.Effect<WithMeta<A>, CyclesError>
  /**
   * Sends a call without a fiber. `done` is called once, unless the returned function abandons the call first.
   * `context` provides the tracer and the metrics.
   */
  readonly start: <A extends object>(
    call: Call<A>,
    context: Context.Context<never>,
    clock: Clock.Clock,
    done: (exit: Exit.Exit<WithMeta<A>, CyclesError>) => void
  ) => () => void
  /** Sends no settlement for some time, because the server throttles. Leases and callers aren't affected. */
  readonly delaySettlements: (forMs: number) => void
  /**
   * Converts a local wall-clock time to the server's, by the `Date` header of the last success. Returns it unchanged if
   * there is none.
   */
  readonly serverTime: (localMs: number) => number
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Makes the sender for one server and its keys. Calls may outlive the scope; their deadlines still apply. */
export const make = (connection: Connection): Effect.Effect<Sender, never, CyclesTransport | Scope.Scope> =>
  Effect.gen(function* () {
    const transport = yield* CyclesTransport
    const timers = yield* TimerQueue.make<TimerQueue.Timer>((timer) => timer.expire(), { outlivesScope: true })
    const bulkhead = Bulkhead.make({ ...connection, timers })
    if (BaseUrl.isPlainPublic(connection.baseUrl)) {
      yield* Effect.ignoreCause(
        Effect.logWarning(`The API key is sent unencrypted to ${connection.baseUrl}: use https`)
      )
    }
    return over({ transport, bulkhead, timers }, connection)
  })

const over = (shared: Transport.Shared, connection: Connection): Sender => {
  const requests = Requests.make(connection)
  const redactor = Redact.make([connection.apiKey, connection.adminKey])
  let date: string | undefined
  let offsetMs = 0

  /**
   * Updates the server's time. A `Date` header has whole seconds, so only the first response with a new value is used.
   */
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
    const limitMs = limitOf(call.timeoutMs ?? connection.timeoutMs)
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
    delaySettlements: shared.bulkhead.delaySettlements,
    serverTime: (localMs) => localMs - offsetMs
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** Limits a timeout to 0 to 1 h. An invalid timeout ends the call at once, so that it can't hang. */
const limitOf = (ms: number): number => (ms > 0 ? Math.min(ms, maxLimitMs) : 0)

const maxLimitMs = 3_600_000
