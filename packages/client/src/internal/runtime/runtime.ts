/**
 * What the parts of a client share: the sender, the journal, the heartbeat, and the fibers in which settlements go on
 * after their callers have left.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Scope from "effect/Scope"
import type * as Take from "effect/Take"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type { Action } from "@effect-cycles/protocol/Action"
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import type { Settlement } from "../../Settlement.ts"
import type { Journal, JournalError, JournalRecord } from "../../SettlementJournal.ts"
import * as Counts from "./metrics.ts"
import type { Charge } from "../settlement/commit.ts"
import * as Claims from "../reservation/claims.ts"
import * as Heartbeat from "../lease/heartbeat.ts"
import type { Resolved } from "../reservation/resolved.ts"
import type { Send } from "../transport/send.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A settlement, with what it was for. */
export interface SettlementEvent {
  readonly settlement: Settlement
  readonly subject: Subject | undefined
  readonly action: Action | undefined
}

/** What the parts of a client share. */
export interface Engine {
  readonly config: Resolved
  readonly send: Send
  readonly journal: Journal
  readonly claims: Claims.Claims
  /** Whether the journal keeps anything at all. */
  readonly isDurable: boolean
  readonly heartbeat: Heartbeat.Heartbeat
  readonly makeKey: () => string
  /** Charges of this process, so that a look through the journal leaves them alone. */
  readonly charges: Map<string, Charge>
  /** Reservations whose charge ended while the journal was being looked through: what the look has read is out of date. */
  readonly ended: Set<string>
  /** Spend whose attempts are used up and that the journal could not keep. */
  readonly unkept: Map<ReservationId, JournalRecord>
  /** How many looks through the journal are under way. */
  readonly looks: { count: number }
  /** Runs what must go on when the caller has left; with the caller's context, in the life of the layer. */
  readonly background: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<void, never, R>
  /** Tells that a reservation has ended, or is pending for good in this run. */
  readonly announce: (event: SettlementEvent) => Effect.Effect<void>
  /** An operation of the journal whose failure is logged and counted and stops nothing; true when it succeeded. */
  readonly journaling: (operation: Effect.Effect<void, JournalError>) => Effect.Effect<boolean>
  /**
   * Waits between attempts: as long as the schedule says, shorter when somebody flushes, never shorter than the server
   * asked. True when there is no time left for another attempt, since the layer is closing.
   */
  readonly pause: (delayMs: number, floorMs: number) => Effect.Effect<boolean>
  /** Wakes all pauses that the server did not ask for. */
  readonly hurry: Effect.Effect<void>
  /** Waits until nothing goes on in the background, at most as long as given; true when nothing does. */
  readonly idle: (limitMs: number) => Effect.Effect<boolean>
  /** How many settlements, releases and abandoned reserves go on in the background. */
  readonly busy: Effect.Effect<number>
  readonly settlements: PubSub.PubSub<Take.Take<SettlementEvent>>
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Makes the engine in the scope of the layer. Closing the scope hurries what is open, and waits for it, in bounds. */
export const make = (options: {
  readonly config: Resolved
  readonly send: Send
  readonly journal: Journal
  readonly isDurable: boolean
  readonly makeKey: () => string
}): Effect.Effect<Engine, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const settlements = yield* PubSub.sliding<Take.Take<SettlementEvent>>(1_024)
    yield* Scope.addFinalizer(scope, PubSub.end(settlements, Exit.void))
    const fibers = yield* FiberSet.make<unknown, unknown>()
    let isClosed = false
    yield* Scope.addFinalizer(
      scope,
      Effect.sync(() => {
        isClosed = true
      })
    )
    const heartbeat = yield* Heartbeat.make(options.makeKey)
    const closing = Deferred.makeUnsafe<void>()
    let isClosing = false
    let hurried = Deferred.makeUnsafe<void>()

    const hurry = Effect.suspend(() => {
      const waiting = hurried
      hurried = Deferred.makeUnsafe<void>()
      return Effect.asVoid(Deferred.succeed(waiting, undefined))
    })

    const idle = (limitMs: number): Effect.Effect<boolean> =>
      Effect.map(Effect.timeoutOption(FiberSet.awaitEmpty(fibers), limitMs), Option.isSome)

    // Added last, so that it runs first: the fibers, the heartbeat and the transport are all still there.
    yield* Scope.addFinalizer(
      scope,
      Effect.suspend(() => {
        isClosing = true
        return Effect.andThen(
          Effect.andThen(Deferred.succeed(closing, undefined), hurry),
          idle(options.config.flushTimeoutMs)
        )
      })
    )

    return {
      ...options,
      claims: Claims.make(),
      heartbeat,
      settlements,
      charges: new Map(),
      ended: new Set(),
      unkept: new Map(),
      looks: { count: 0 },
      // A scope may outlive the layer: then there is no background any more, and it is done while its closing waits.
      background: (effect) =>
        Effect.suspend(() =>
          isClosed
            ? Effect.asVoid(Effect.exit(effect))
            : Effect.asVoid(FiberSet.run(fibers, effect, { startImmediately: true }))
        ),
      announce: (event) =>
        Effect.withFiber((fiber) => {
          Counts.settlement(event.settlement, fiber.context)
          return PubSub.publish(settlements, [event])
        }),
      journaling: (operation) =>
        Effect.matchEffect(operation, {
          onSuccess: () => Effect.succeed(true),
          onFailure: (error) =>
            Effect.withFiber((fiber) => {
              Counts.journalError(fiber.context)
              return Effect.as(
                Effect.logError("The settlement journal failed; the charge goes on without it", error),
                false
              )
            })
        }),
      pause: (delayMs, floorMs) =>
        Effect.suspend(() => {
          if (isClosing) return Effect.succeed(true)
          return floorMs > 0
            ? Effect.map(Effect.timeoutOption(Deferred.await(closing), Math.max(delayMs, floorMs)), Option.isSome)
            : Effect.as(Effect.timeoutOption(Deferred.await(hurried), delayMs), false)
        }),
      hurry,
      idle,
      busy: FiberSet.size(fibers)
    }
  })

/** A charge has ended, or goes on no more in this run. */
export const endCharge = (engine: Engine, id: string): void => {
  engine.charges.delete(id)
  if (engine.looks.count > 0) engine.ended.add(id)
}
