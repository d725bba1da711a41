/** The guarded calls of a world, in every form of the client. */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { Metrics } from "@effect-cycles/protocol/Metrics"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import * as Cycles from "effect-cycles/Cycles"
import * as Pool from "effect-cycles/Pool"
import * as Reservation from "effect-cycles/Reservation"
import * as Run from "effect-cycles/Run"
import type { Settlement } from "effect-cycles/Settlement"
import { lateAmount } from "./expected.ts"
import type { Observation } from "./observation.ts"
import * as Observations from "./observation.ts"
import type { Call } from "./plan.ts"
import type { Program } from "./program.ts"
import { CurrentCall, fork } from "./program.ts"
import type { World } from "./world.ts"

/** The name of a call: the key of its reserve. */
export const nameOf = ({ id, key }: Call): string => (key === undefined ? `L${id}` : `K${key}`)

/** The calls of a world. */
export interface Book {
  readonly world: World
  readonly calls: ReadonlyArray<Call>
  readonly observations: Array<Observation>
  /** Whether a dead process has left a record of a reservation in the journal of a program, at a time. */
  readonly isLeft: (program: Program, reservationId: string, atMs: number) => boolean
}

/** Starts a call, and interrupts it if the plan says so. */
export const start = (book: Book, program: Program, call: Call): void => {
  const { world } = book
  const observation = begin(book, program, call)
  const { process } = program
  const run = call.run === undefined ? undefined : program.runs[call.run]
  const form = effectOf(observation, book)
  const inRun = run === undefined ? form : Run.within(form, run)
  const pool = call.isInPool ? program.pool : undefined
  const inPool = pool === undefined ? inRun : Pool.within(inRun, pool)
  const fiber = fork(program, Effect.provideService(inPool, CurrentCall, { name: `L${call.id}`, keys: 0 }))
  fiber.addObserver((exit) => returned(book, observation, exit))
  if (call.interruptAfterMs !== undefined) {
    process.after(call.interruptAfterMs, () => {
      if (observation.exit !== undefined) return
      observation.wasInterrupted = true
      world.trace.add(world.nowMs, process.name, `call ${call.id} is interrupted`)
      fiber.interruptUnsafe()
    })
  }
}

const begin = ({ isLeft, observations, world }: Book, program: Program, call: Call): Observation => {
  const startedAtMs = world.nowMs
  const observation = Observations.make(call, program, nameOf(call), (id) => isLeft(program, id, startedAtMs))
  observations.push(observation)
  world.trace.add(world.nowMs, program.process.name, `starts call ${call.id}`, () => describe(call))
  return observation
}

const returned = ({ world }: Book, observation: Observation, exit: Exit.Exit<unknown, unknown>): void => {
  const { call, program, settlements } = observation
  const { process } = program
  if (process.isDead) return
  observation.exit = exit
  observation.returnedAtMs = process.monotonicMs
  observation.returnedAtWorldMs = process.worldMs
  world.trace.add(world.nowMs, process.name, `call ${call.id} returns ${exit._tag}`, () =>
    exit._tag === "Failure" ? String(exit.cause).slice(0, 160) : settlements.map(({ _tag }) => _tag).join(", ")
  )
}

/** The calls in the body of another one. Their results don't change its result. */
const innerCalls = (book: Book, { call, program }: Observation): Effect.Effect<void, never, Cycles.Cycles> =>
  Effect.forEach(
    book.calls.filter(({ inside }) => inside === call.id),
    (inner) =>
      Effect.suspend(() => {
        const observation = begin(book, program, inner)
        const effect = effectOf(observation, book).pipe(
          Effect.onExit((exit) =>
            Effect.sync(() => {
              // The call around it has ended, or its lease is lost.
              if (exit._tag === "Failure" && Cause.hasInterrupts(exit.cause)) observation.wasInterrupted = true
              returned(book, observation, exit)
            })
          ),
          Effect.provideService(CurrentCall, { name: `L${inner.id}`, keys: 0 }),
          Effect.exit
        )
        return inner.isDetached ? Effect.asVoid(Effect.forkDetach(effect)) : Effect.asVoid(effect)
      }),
    { discard: true }
  )

/** A call in one line. */
export const describe = (call: Call): string => {
  const {
    agent,
    bodyMs,
    broken,
    ending,
    estimate,
    actual,
    form,
    heartbeat,
    key,
    onCrash,
    onFailure,
    overage,
    records,
    run,
    settle,
    ttlMs
  } = call
  const options = [
    `estimate ${estimate}`,
    `actual ${actual}`,
    `body ${bodyMs} ms`,
    `lease ${ttlMs} ms`,
    ...(records ? ["records"] : []),
    ...(settle === "attempt" ? [] : [`settle ${settle}`]),
    ...(onFailure === "partial" ? [] : [`onFailure ${onFailure}`]),
    ...(onCrash === "expire" ? [] : [`onCrash ${onCrash}`]),
    ...(heartbeat === "warn" ? [] : [`heartbeat ${heartbeat}`]),
    ...(agent === "big" ? [] : [`agent ${agent}`]),
    ...(overage === "ALLOW_IF_AVAILABLE" ? [] : [overage]),
    ...(key === undefined ? [] : [`key K${key}`]),
    ...(run === undefined ? [] : [`run ${run}`]),
    ...(broken === undefined ? [] : [`broken: ${broken}`]),
    ...(call.isInPool ? ["in the pool"] : []),
    ...(call.inside === undefined ? [] : [`inside call ${call.inside}${call.isDetached ? ", detached" : ""}`]),
    ...(call.onUnreachable === "fail" ? [] : ["onUnreachable allow"]),
    ...(call.onRepeat === "refuse" ? [] : [`onRepeat ${call.onRepeat}`])
  ]
  return `(${form}, ends by ${ending}: ${options.join(", ")})`
}

// ---------------------------------------------------------------------------------------------------------------------
// forms
// ---------------------------------------------------------------------------------------------------------------------

const effectOf = (observation: Observation, book: Book): Effect.Effect<unknown, unknown, Cycles.Cycles> => {
  switch (observation.call.form) {
    case "effect":
      return Cycles.withCycles(work(observation, innerCalls(book, observation)), {
        ...common(observation),
        onUnsettled: observation.call.onUnsettled,
        actual: (result) => {
          if (observation.call.broken === "actual") {
            observation.isUnknown = true
            throw new Error("injected: actual")
          }
          return Amount.tokens(result)
        },
        metrics: () => metricsOf(observation)
      })
    case "stream":
      return stream(observation)
    case "byHand":
      return byHand(observation)
    case "event":
      return Cycles.event({
        action,
        actual: Amount.tokens(observation.call.actual),
        subject: { agent: observation.call.agent },
        overagePolicy: observation.call.overage
      })
  }
}

const action = { kind: "llm.completion", name: "test:model" }

/** The defect of a body that dies, and the error of one that fails. */
export const workDied = new Error("the work died")
export const workFailed = "the work failed"

const common = (observation: Observation) => {
  const { agent, broken, estimate, heartbeat, inside, key, onCrash, onFailure, onRepeat, onUnreachable, overage } =
    observation.call
  const { settle, ttlMs } = observation.call
  return {
    // Its name attributes events, if the call runs without a reservation.
    action: key === undefined ? action : { ...action, name: `test:K${key}` },
    estimate: Amount.tokens(estimate),
    subject: { agent },
    ttl: ttlMs,
    heartbeat,
    settle,
    onFailure,
    onCrash,
    overagePolicy: overage,
    onSettled: (settlement: Settlement) => {
      if (!observation.program.process.isDead) observation.settlements.push(settlement)
      if (broken === "onSettled throws") throw new Error("injected: onSettled")
      return broken === "onSettled hangs" ? Effect.never : Effect.void
    },
    onUnreachable,
    nested: inside === undefined ? ("independent" as const) : ("join" as const),
    ...(key === undefined ? undefined : { idempotencyKey: `K${key}`, onRepeat })
  }
}

const metricsOf = ({ call }: Observation): Metrics => {
  if (call.broken === "metrics") throw new Error("injected: metrics")
  return { tokensInput: 1 }
}

const elementCount = 4

const stream = (observation: Observation) => {
  const { call } = observation
  const usage = Math.floor(call.actual / elementCount)
  const began = Stream.drain(Stream.fromEffect(noteBegin(observation)))
  const elements = Stream.fromEffectRepeat(Effect.as(Effect.sleep(call.bodyMs / elementCount), usage)).pipe(
    Stream.take(elementCount)
  )
  const ended = Stream.drain(Stream.fromEffect(endOf(call)))
  const source = Stream.onExit(Stream.concat(began, Stream.concat(elements, ended)), (exit) =>
    noteEnd(observation, exit)
  )
  const guarded = Cycles.withCyclesStream(source, {
    ...common(observation),
    usage: (used: number) => {
      if (call.broken === "usage" && observation.streamed > 0) {
        observation.isUnknown = true
        throw new Error("injected: usage")
      }
      if (!observation.program.process.isDead) observation.streamed += used
      return Amount.tokens(used)
    }
  })
  return Stream.runForEach(Stream.take(guarded, call.ending === "take" ? 2 : 10), (used) =>
    Effect.sync(() => void (observation.emitted += used))
  )
}

const byHand = (observation: Observation) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { ending } = observation.call
      const reservation = yield* Cycles.reserve(common(observation))
      const used = yield* Effect.provideService(work(observation, Effect.void), Reservation.Reservation, reservation)
      if (ending === "close") return undefined
      if (ending === "release") {
        observation.isReleasedByHand = true
        return yield* reservation.release()
      }
      observation.committed = used
      const settlement = yield* reservation.commit({ actual: Amount.tokens(used) })
      const second = yield* Effect.flip(reservation.release())
      if (second._tag !== "AlreadySettled") return yield* Effect.die(new Error("a second settlement was accepted"))
      return settlement
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// the work
// ---------------------------------------------------------------------------------------------------------------------

const noteBegin = (observation: Observation): Effect.Effect<void, never, Reservation.Reservation> =>
  Effect.map(Reservation.Reservation, ({ id }) => {
    observation.reservationId = id
    observation.ranOverRecord = id !== undefined && observation.isLeft(id)
    observation.beganAtMs = observation.program.process.monotonicMs
  })

const noteEnd = (observation: Observation, exit: Observation["work"]): Effect.Effect<void> =>
  Effect.sync(() => {
    observation.work = exit
    observation.endedAtMs = observation.program.process.monotonicMs
    observation.endedAtWorldMs = observation.program.process.worldMs
  })

/** The body: it records, waits, and ends as the plan says. */
const work = (
  observation: Observation,
  inner: Effect.Effect<void, never, Cycles.Cycles>
): Effect.Effect<number, string, Reservation.Reservation | Cycles.Cycles> => {
  const { call } = observation
  const { process } = observation.program
  const record = Effect.suspend(() => {
    const total = Math.floor(call.actual * call.recordedShare)
    const beforeMs = process.monotonicMs
    observation.recorded = total
    observation.recordedAtMs = beforeMs
    return Effect.map(Effect.orDie(Reservation.record({ actual: Amount.tokens(total) })), () => {
      observation.durable = total
      observation.longestRecordMs = process.monotonicMs - beforeMs
    })
  })
  const late = Effect.gen(function* () {
    const reservation = yield* Reservation.Reservation
    const recordLate = Effect.gen(function* () {
      yield* Effect.sleep(5_000)
      const before = observation.late
      observation.late = Math.max(before, call.actual) + lateAmount
      yield* Effect.orDie(reservation.record({ actual: Amount.tokens(observation.late) }))
      observation.durableLate = observation.late
    })
    yield* Effect.forkDetach(Effect.repeat(recordLate, { times: call.lateRecords - 1 }))
  })
  const recordWrongly = Effect.suspend(() => {
    observation.isUnknown = true
    return Effect.ignore(Reservation.record({ actual: Amount.usd("0.01") }))
  })
  const body = Effect.gen(function* () {
    yield* noteBegin(observation)
    yield* Effect.sleep(call.bodyMs / 2)
    if (call.records) yield* record
    if (call.broken === "record") yield* recordWrongly
    yield* inner
    yield* Effect.sleep(call.bodyMs / 2)
    if (call.ending === "late") yield* late
    yield* endOf(call)
    return call.actual
  })
  return Effect.onExit(call.isUninterruptible ? Effect.uninterruptible(body) : body, (exit) =>
    noteEnd(observation, exit)
  )
}

const endOf = ({ ending }: Call): Effect.Effect<void, string> => {
  if (ending === "failure") return Effect.fail(workFailed)
  return ending === "defect" ? Effect.die(workDied) : Effect.void
}
