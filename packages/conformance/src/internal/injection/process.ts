/** One process of a scenario: a client with its collaborators, on virtual time. */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { CyclesServer } from "@effect-cycles/server/CyclesServer"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Cycles from "effect-cycles/Cycles"
import { retryPolicy } from "effect-cycles/CyclesConfig"
import { injectedDefect, Injector } from "./faults.ts"
import type { Fault } from "./faults.ts"
import * as Journal from "./journal.ts"
import type { Telemetry } from "./telemetry.ts"
import * as TelemetryModule from "./telemetry.ts"
import * as Transport from "./transport.ts"

/** A process. */
export interface Process {
  readonly injector: Injector
  readonly telemetry: Telemetry
  /** Runs an effect with the process's client, tracer, logger and metrics. */
  readonly run: <A, E>(effect: Effect.Effect<A, E, Cycles.Cycles>) => Effect.Effect<A, E>
  /** Closes the layer. Returns how long that took in virtual milliseconds, or `undefined` if it didn't end. */
  readonly close: Effect.Effect<number | undefined>
}

/** The timeout of one request, in milliseconds. */
export const timeoutMs = 10_000

/** The limit for open settlements when the layer closes, in milliseconds. */
export const flushTimeoutMs = 10_000

const scanIntervalMs = 20_000

/** Starts a process. Returns `undefined` if its layer can't be built in time. */
export const start = (
  server: CyclesServer,
  store: Journal.Store,
  faults: ReadonlyArray<Fault>
): Effect.Effect<Process | undefined> =>
  Effect.gen(function* () {
    const injector = new Injector(faults)
    const telemetry = TelemetryModule.make(injector)
    const scope = yield* Scope.make()
    const client = Cycles.layer({
      baseUrl: server.baseUrl,
      apiKey: server.apiKey,
      subject: { tenant: server.tenant },
      timeout: timeoutMs,
      flushTimeout: flushTimeoutMs,
      scanInterval: scanIntervalMs,
      maxConcurrency: 3,
      retry: retry(injector)
    }).pipe(Layer.provide([Transport.layer(server, injector), Journal.layer(store, injector)]))
    const build = telemetry.provide(Layer.buildWithScope(client, scope))
    const built = yield* until(60_000, build, () => injector.calls.has("journal.open"))
    if (built === undefined || Exit.isFailure(built.exit)) return undefined
    const context = built.exit.value
    return {
      injector,
      telemetry,
      run: (effect) => telemetry.provide(Effect.provideContext(effect, context)),
      close: Effect.map(until(120_000, telemetry.provide(Scope.close(scope, Exit.void))), (closed) => closed?.tookMs)
    }
  })

/** A retry policy that dies if the injector selects it. */
const retry = (injector: Injector): Schedule.Schedule<unknown> =>
  retryPolicy({ jitter: false }).pipe(
    Schedule.modifyDelay(({ duration }) =>
      injector.next("retry") === "die" ? Effect.die(injectedDefect("retry")) : Effect.succeed(duration)
    )
  )

// ---------------------------------------------------------------------------------------------------------------------
// time
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Runs an effect while virtual time passes, up to a limit. Returns `undefined` if it hasn't ended by then. Time doesn't pass
 * until `hasBegun` returns true: computing a digest takes turns of the event loop but no virtual time.
 */
export const until = <A, E, R>(limitMs: number, effect: Effect.Effect<A, E, R>, hasBegun = () => true) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkDetach(effect, { startImmediately: true })
    while (!hasBegun() && fiber.pollUnsafe() === undefined) yield* turn
    const tookMs = yield* passUntil(limitMs, () => fiber.pollUnsafe() !== undefined)
    const exit = fiber.pollUnsafe()
    return exit === undefined ? undefined : { exit, tookMs }
  })

const turn = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

/** Lets virtual time pass until a condition holds, up to a limit. Returns the time that passed. */
export const passUntil = (limitMs: number, isDone: () => boolean): Effect.Effect<number> =>
  Effect.gen(function* () {
    const startedAtMs = yield* Clock.currentTimeMillis
    // Work that needs no time, but turns of the event loop.
    for (let i = 0; i < 3 && !isDone(); i += 1) yield* TestClock.adjust(0)
    let passedMs = 0
    while (passedMs < limitMs && !isDone()) {
      yield* TestClock.adjust(stepMs)
      passedMs = (yield* Clock.currentTimeMillis) - startedAtMs
    }
    return passedMs
  })

const stepMs = 250

// ---------------------------------------------------------------------------------------------------------------------
// control
// ---------------------------------------------------------------------------------------------------------------------

/** The number of concurrent guarded calls that check that the client has released all of its concurrency slots. */
export const controlCalls = 4

/** The cost of each control call, in credits. */
export const controlCost = 5

/** Guarded calls that succeed only if the client still works. */
export const control: Effect.Effect<void, unknown, Cycles.Cycles> = Effect.forEach(
  Array.from({ length: controlCalls }),
  () =>
    Cycles.withCycles(Effect.sleep(100), {
      action: { kind: "llm.completion", name: "test:control" },
      estimate: Amount.credits(10),
      actual: () => Amount.credits(controlCost),
      onUnsettled: "fail"
    }),
  { concurrency: "unbounded", discard: true }
)
