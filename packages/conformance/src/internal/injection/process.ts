/**
 * One process of a story: a client with its collaborators, all on virtual time.
 */
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
import { boom, Injector } from "./faults.ts"
import type { Fault } from "./faults.ts"
import * as Journal from "./journal.ts"
import type { Telemetry } from "./telemetry.ts"
import * as TelemetryModule from "./telemetry.ts"
import * as Transport from "./transport.ts"

/** A process. */
export interface Process {
  readonly injector: Injector
  readonly telemetry: Telemetry
  /** Runs an effect in the process: with its client, tracer, logger and metrics. */
  readonly run: <A, E>(effect: Effect.Effect<A, E, Cycles.Cycles>) => Effect.Effect<A, E>
  /** Closes the layer. Returns the virtual milliseconds that it took, or nothing if it didn't end. */
  readonly close: Effect.Effect<number | undefined>
}

/** The time limit of one call, in milliseconds. */
export const timeoutMs = 10_000

/** How long closing waits for open settlements, in milliseconds. */
export const flushTimeoutMs = 10_000

const scanIntervalMs = 20_000

/** Starts a process; nothing if its layer can't be built in time. */
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

/** A schedule of the user's that dies when the injector says so. */
const retry = (injector: Injector): Schedule.Schedule<unknown> =>
  retryPolicy({ jitter: false }).pipe(
    Schedule.modifyDelay(({ duration }) =>
      injector.next("retry") === "die" ? Effect.die(boom("retry")) : Effect.succeed(duration)
    )
  )

// ---------------------------------------------------------------------------------------------------------------------
// time
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Runs an effect while virtual time passes, at most so long. Nothing if it hasn't ended by then. Time stands still until it
 * `hasBegun`: a digest takes turns of the event loop, and no virtual time.
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

/** Lets virtual time pass until a condition holds, at most so long. Returns the time that passed. */
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

/** How many guarded calls run at once to see that all places of the client were given back. */
export const controlCalls = 4

/** What each of them costs, in credits. */
export const controlCost = 5

/** Guarded calls that work if the client is as good as new. */
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
