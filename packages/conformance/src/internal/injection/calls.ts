/** The guarded calls of a scenario, and observations of what they did, recorded independently of the client. */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { Metrics } from "@effect-cycles/protocol/Metrics"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Cycles from "effect-cycles/Cycles"
import * as Reservation from "effect-cycles/Reservation"
import type { Settlement } from "effect-cycles/Settlement"
import type { Injector, Site } from "./faults.ts"
import { injectedDefect } from "./faults.ts"
import type { Scenario } from "./scenario.ts"
import { actual, estimate, lateTotal, perElement, recorded } from "./scenario.ts"

// ---------------------------------------------------------------------------------------------------------------------
// observation
// ---------------------------------------------------------------------------------------------------------------------

/** What one call did until its process ended. Times are virtual milliseconds. */
export interface Observation {
  startedAtMs: number
  /** When the body began; `undefined` if it didn't. */
  beganAtMs: number | undefined
  /** When the body ended. */
  workEndedAtMs: number | undefined
  /** When the caller got the result. */
  returnedAtMs: number | undefined
  exit: Exit.Exit<unknown, unknown> | undefined
  /** The exit of the body. */
  work: Exit.Exit<unknown, unknown> | undefined
  /** The recorded total. */
  recorded: number
  /** The recorded total for which `record` has returned. */
  durable: number
  /** The spend of a stream's elements so far. */
  streamed: number
  lateRecorded: boolean
  /** Whether the late `record` has returned. */
  lateDurable: boolean
  /** Whether a callback failed to report an amount that the caller had. */
  isUnknown: boolean
  /** The amount that the caller passed to `commit`. */
  committed: number | undefined
  isReleasedByHand: boolean
  readonly settlements: Array<Settlement>
  /** The longest duration of `record`. */
  recordMs: number
  wasInterrupted: boolean
}

const makeObservation = (): Observation => ({
  startedAtMs: 0,
  beganAtMs: undefined,
  workEndedAtMs: undefined,
  returnedAtMs: undefined,
  exit: undefined,
  work: undefined,
  recorded: 0,
  durable: 0,
  streamed: 0,
  lateRecorded: false,
  lateDurable: false,
  isUnknown: false,
  committed: undefined,
  isReleasedByHand: false,
  settlements: [],
  recordMs: 0,
  wasInterrupted: false
})

/** The error of a body that fails. */
export const workFailed = "the work failed"

/** The defect of a body that dies. */
export const workDied = new Error("the work died")

/** The context of a call. */
interface Stage {
  readonly scenario: Scenario
  readonly injector: Injector
  readonly observation: Observation
}

// ---------------------------------------------------------------------------------------------------------------------
// run
// ---------------------------------------------------------------------------------------------------------------------

/** Starts the call of a scenario in its own fiber. Returns its observation, which is updated as the call proceeds. */
export const start = (scenario: Scenario, injector: Injector): Effect.Effect<Observation, never, Cycles.Cycles> =>
  Effect.gen(function* () {
    const observation = makeObservation()
    observation.startedAtMs = yield* Clock.currentTimeMillis
    const stage: Stage = { scenario, injector, observation }
    const fiber = yield* Effect.forkDetach(
      Effect.onExit(call(stage), (exit) =>
        alive(
          stage,
          () => (observation.exit = exit),
          (now) => (observation.returnedAtMs = now)
        )
      ),
      { startImmediately: true }
    )
    const giveUpAfter =
      scenario.ending === "interrupt" || scenario.ending === "uninterruptible" ? interruptAfterMs : undefined
    if (giveUpAfter !== undefined) {
      yield* Effect.forkDetach(
        Effect.andThen(Effect.sleep(giveUpAfter), () => {
          observation.wasInterrupted = true
          return Fiber.interrupt(fiber)
        })
      )
    }
    return observation
  })

const interruptAfterMs = 1_500

/** Records an observation, unless the process is dead. */
const alive = ({ injector }: Stage, note: () => void, at?: (nowMs: number) => void): Effect.Effect<void> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    if (injector.isCrashed) return
    note()
    at?.(now)
  })

const call = (stage: Stage): Effect.Effect<unknown, unknown, Cycles.Cycles> => {
  switch (stage.scenario.form) {
    case "effect":
      return stage.scenario.ending === "timeout" ? Effect.timeout(effect(stage), interruptAfterMs) : effect(stage)
    case "stream":
      return stage.scenario.ending === "timeout" ? Effect.timeout(stream(stage), interruptAfterMs) : stream(stage)
    case "byHand":
      return stage.scenario.ending === "timeout" ? Effect.timeout(byHand(stage), interruptAfterMs) : byHand(stage)
    case "event":
      return Cycles.event({
        action,
        actual: Amount.tokens(actual),
        idempotencyKey: stage.scenario.hasKey ? "the key of the caller" : undefined
      })
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// forms
// ---------------------------------------------------------------------------------------------------------------------

const action = { kind: "llm.completion", name: "test:model" }

const common = ({ scenario, observation, injector }: Stage) => ({
  action,
  estimate: Amount.tokens(estimate),
  settle: scenario.settle,
  onFailure: scenario.onFailure,
  onCrash: scenario.onCrash,
  onSettled: (settlement: Settlement) => {
    if (!injector.isCrashed) observation.settlements.push(settlement)
    switch (injector.next("callback.onSettled")) {
      case "throw":
        throw injectedDefect("callback.onSettled")
      case "die":
        return Effect.die(injectedDefect("callback.onSettled"))
      case "interrupt":
        return Effect.interrupt
      case "hang":
        return Effect.never
      case "hangUninterruptible":
        return Effect.uninterruptible(Effect.never)
      default:
        return Effect.void
    }
  },
  ...(scenario.hasKey ? { idempotencyKey: "the key of the caller" } : undefined)
})

const effect = (stage: Stage) =>
  Cycles.withCycles(work(stage), {
    ...common(stage),
    actual: (result) => amountOf(stage, "callback.actual", result),
    metrics: () => metricsOf(stage, "callback.metrics")
  })

const stream = (stage: Stage) =>
  Stream.runDrain(
    Stream.take(
      Cycles.withCyclesStream(elements(stage), {
        ...common(stage),
        usage: (used: number) => {
          const amount = amountOf(stage, "callback.usage", used)
          if (!stage.injector.isCrashed) stage.observation.streamed += 2 * used
          return amount
        },
        cost: (used) => amountOf(stage, "callback.cost", 2 * Number(used.amount))
      }),
      stage.scenario.ending === "take" ? 2 : 10
    )
  )

const elements = (stage: Stage): Stream.Stream<number, string> => {
  const { ending } = stage.scenario
  const element = Effect.as(Effect.sleep(400), perElement)
  const three = Stream.fromEffectRepeat(element).pipe(Stream.take(3))
  const began = Stream.drain(Stream.fromEffect(begin(stage)))
  const ended = Stream.drain(Stream.fromEffect(endOf(stage)))
  const all = Stream.concat(began, Stream.concat(three, ended))
  const source = ending === "long" ? Stream.concat(all, Stream.drain(Stream.fromEffect(Effect.sleep(100_000)))) : all
  return Stream.onExit(source, (exit) => Effect.andThen(noteEnd(stage, exit), Effect.void))
}

const byHand = (stage: Stage) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { ending } = stage.scenario
      const reservation = yield* Cycles.reserve(common(stage))
      const used = yield* Effect.provideService(work(stage), Reservation.Reservation, reservation)
      if (ending === "close") return undefined
      if (ending === "release") {
        yield* alive(stage, () => (stage.observation.isReleasedByHand = true))
        return yield* reservation.release()
      }
      yield* alive(stage, () => (stage.observation.committed = used))
      const settlement = yield* reservation.commit({ actual: Amount.tokens(used) })
      // A second settlement is refused, whatever the result of the first one.
      const second = yield* Effect.flip(reservation.release())
      if (second._tag !== "AlreadySettled") return yield* Effect.die(new Error("a second settlement was accepted"))
      return settlement
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// the work
// ---------------------------------------------------------------------------------------------------------------------

const begin = (stage: Stage): Effect.Effect<void> =>
  alive(
    stage,
    () => {},
    (now) => (stage.observation.beganAtMs = now)
  )

const noteEnd = (stage: Stage, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  alive(
    stage,
    () => (stage.observation.work = exit),
    (now) => (stage.observation.workEndedAtMs = now)
  )

/** The body: it records, waits, and ends as the scenario specifies. */
const work = (stage: Stage): Effect.Effect<number, string, Reservation.Reservation> => {
  const { scenario, observation } = stage
  const body = Effect.gen(function* () {
    yield* begin(stage)
    yield* Effect.sleep(500)
    if (scenario.records) {
      const before = yield* Clock.currentTimeMillis
      yield* alive(stage, () => (observation.recorded = recorded))
      yield* Effect.orDie(
        Reservation.record({ actual: Amount.tokens(recorded), metrics: metricsOf(stage, "callback.recordMetrics") })
      )
      yield* alive(
        stage,
        () => (observation.durable = recorded),
        (now) => (observation.recordMs = now - before)
      )
    }
    yield* Effect.sleep(scenario.ending === "long" ? 100_000 : 500)
    if (scenario.ending === "late") {
      const reservation = yield* Reservation.Reservation
      const late = Effect.gen(function* () {
        yield* Effect.sleep(5_000)
        yield* alive(stage, () => (observation.lateRecorded = true))
        yield* Effect.orDie(reservation.record({ actual: Amount.tokens(lateTotal) }))
        yield* alive(stage, () => (observation.lateDurable = true))
      })
      yield* Effect.forkDetach(late)
    }
    yield* endOf(stage)
    return actual
  })
  const isUninterruptible = scenario.ending === "uninterruptible"
  return Effect.onExit(
    isUninterruptible
      ? Effect.uninterruptible(Effect.andThen(body, (used) => Effect.as(Effect.sleep(2_000), used)))
      : body,
    (exit) => noteEnd(stage, exit)
  )
}

const endOf = ({ scenario: { ending } }: Stage): Effect.Effect<void, string> => {
  switch (ending) {
    case "failure":
      return Effect.fail(workFailed)
    case "defect":
      return Effect.die(workDied)
    case "interrupt":
    case "timeout":
      return Effect.never
    default:
      return Effect.void
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// callbacks
// ---------------------------------------------------------------------------------------------------------------------

const amountOf = ({ injector, observation }: Stage, site: Site, amount: number): Amount.Amount<"TOKENS"> => {
  const fault = injector.next(site)
  if (fault !== undefined && !injector.isCrashed) observation.isUnknown = true
  switch (fault) {
    case "throw":
      throw injectedDefect(site)
    case "wrongUnit":
      return unchecked(Amount.credits(amount))
    case "noAmount":
      return unchecked("seven tokens")
    default:
      return Amount.tokens(amount)
  }
}

/** A value that a caller without type checks may return. */
function unchecked<A>(value: unknown): A
function unchecked(value: unknown): unknown {
  return value
}

const metricsOf = ({ injector }: Stage, site: Site): Metrics => {
  switch (injector.next(site)) {
    case "throw":
      if (site === "callback.metrics") throw injectedDefect(site)
      return getter(site)
    case "invalid":
      return { tokensInput: -1 }
    case "getter":
      return getter(site)
    case "deep": {
      let custom: Record<string, unknown> = {}
      for (let level = 0; level < 20_000; level += 1) custom = { custom }
      return unchecked({ custom })
    }
    default:
      return { tokensInput: 1 }
  }
}

const getter = (site: Site): Metrics =>
  Object.defineProperty({}, "tokensInput", {
    enumerable: true,
    get: () => {
      throw injectedDefect(site)
    }
  })
