/**
 * Settling a reservation, exactly once: what is to be done with its spend, the first attempt, and what the caller hears.
 *
 * The first attempt runs in the caller's fiber, bounded by its time limit; further ones go on in the background. The
 * heartbeat goes on until the end is known.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import type { Metrics } from "@effect-cycles/protocol/Metrics"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { InvalidRequest } from "../../CyclesError.ts"
import type { Metadata } from "../../GuardOptions.ts"
import type { CommitOptions } from "../../Reservation.ts"
import type { Settlement } from "../../Settlement.ts"
import * as Counts from "../runtime/metrics.ts"
import * as Charge from "./commit.ts"
import * as Claims from "../reservation/claims.ts"
import * as Encode from "../protocol/requests.ts"
import type { Engine } from "../runtime/runtime.ts"
import { endCharge } from "../runtime/runtime.ts"
import type { Held } from "../reservation/handle.ts"
import * as Lifecycle from "../reservation/lifecycle.ts"
import * as Release from "./release.ts"
import type * as Retry from "../runtime/retry.ts"
import { nowMs } from "../config/time.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** What is to be done with the spend of a reservation. */
export type Plan = Commit | { readonly _tag: "Release"; readonly reason: string }

/** Charge this much. */
export interface Commit {
  readonly _tag: "Commit"
  readonly actual: Amount.Amount
  /** Whether the amount is the estimate, since none was told. */
  readonly isEstimated: boolean
  readonly metrics?: Metrics | undefined
  readonly metadata?: Metadata | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// plans
// ---------------------------------------------------------------------------------------------------------------------

/** The plan for a body that succeeded and told no amount by its result: what was recorded, or else the estimate. */
export const planSuccess = (held: Held): Commit =>
  held.isSpendUnknown || held.recorded === undefined ? planEstimate(held) : planRecorded(held, held.recorded)

/** The plan for a body that did not succeed, by the user's policy. */
export const planFailure = <E>(held: Held, cause: Cause.Cause<E>): Plan => {
  const policy = held.prepared.onFailure
  if (policy === "release") return { _tag: "Release", reason: reasonOf(cause) }
  if (held.isSpendUnknown) return planEstimate(held)
  if (held.recorded !== undefined) return planRecorded(held, held.recorded)
  return policy === "estimate" ? planEstimate(held) : { _tag: "Release", reason: reasonOf(cause) }
}

/** The plan for a scope that closed without a word: a reservation that nobody settled and that spent nothing is released. */
export const planClosed = (held: Held, exit: Exit.Exit<unknown, unknown>): Plan => {
  if (Exit.isFailure(exit)) return planFailure(held, exit.cause)
  if (held.isSpendUnknown) return planEstimate(held)
  return held.recorded === undefined ? { _tag: "Release", reason: "scope_closed" } : planRecorded(held, held.recorded)
}

/** The plan where something was spent and nobody can tell how much: the estimate, or what was recorded if that is more. */
export const planEstimate = (held: Held): Commit => {
  const { estimate } = held.prepared.request
  const recorded = held.recorded
  return {
    _tag: "Commit",
    actual: recorded !== undefined && recorded.amount > estimate.amount ? recorded : estimate,
    isEstimated: true,
    metrics: held.metrics
  }
}

const planRecorded = (held: Held, actual: Amount.Amount): Commit => ({
  _tag: "Commit",
  actual,
  isEstimated: held.isRecordedEstimated,
  metrics: held.metrics
})

/** A word for the release, with nothing of the user's error in it. */
const reasonOf = <E>(cause: Cause.Cause<E>): string => {
  if (Cause.hasFails(cause)) return "body_failed"
  return Cause.hasDies(cause) ? "body_died" : "body_interrupted"
}

// ---------------------------------------------------------------------------------------------------------------------
// settle
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Settles a reservation by a plan. It is run uninterruptible, and moves the reservation on at once, so that a second
 * settlement sees that it comes too late.
 */
export const settle = (engine: Engine, held: Held, plan: Plan): Effect.Effect<Settlement> =>
  Effect.suspend(() => {
    const id = held.id
    Claims.settled(engine, held)
    if (id === undefined) return Effect.succeed({ _tag: "Unreserved", reason: "dry run" } satisfies Settlement)
    held.state = Lifecycle.advance(held.state, plan._tag === "Commit" ? "commitDecided" : "releaseDecided")
    return plan._tag === "Commit"
      ? settleByCommit(engine, held, id, plan)
      : settleByRelease(engine, held, id, plan.reason)
  })

const settleByCommit = (engine: Engine, held: Held, id: ReservationId, plan: Commit): Effect.Effect<Settlement> =>
  Effect.withFiber((fiber) => {
    const clock = fiber.getRef(Clock.Clock)
    const bodies = Encode.settlementBodies(held.prepared, id, plan, nowMs(clock) - held.startedAtMs)
    const charge: Charge.Charge = {
      record: {
        reservationId: id,
        baseUrl: engine.config.baseUrl,
        mode: "commit",
        commitBody: bodies.commit,
        eventBody: engine.isDurable ? bodies.event() : undefined,
        recordedAtMs: clock.currentTimeMillisUnsafe(),
        notBeforeMs: 0
      },
      state: held.state,
      actual: plan.actual,
      isEstimated: plan.isEstimated,
      estimate: held.prepared.request.estimate,
      eventBody: bodies.event,
      isJournaled: false,
      holds: 0
    }
    engine.charges.set(id, charge)
    return waitAsAsked(
      engine,
      held,
      Charge.begin(engine, charge),
      (first) => Charge.goOn(engine, charge, first),
      (because) => Charge.pending(charge, because)
    )
  })

const settleByRelease = (engine: Engine, held: Held, id: ReservationId, reason: string): Effect.Effect<Settlement> =>
  waitAsAsked(
    engine,
    held,
    Release.attempt(engine, id, held.prepared, reason),
    (first) => Release.goOn(engine, id, held.prepared, reason, first),
    () => Release.unconfirmed(id, reason)
  )

/** Waits for the settlement as the user asked, and goes on with the rest in the background. */
const waitAsAsked = <A extends Settlement>(
  engine: Engine,
  held: Held,
  begin: Effect.Effect<Retry.Attempt<A>>,
  goOn: (first: Retry.Attempt<A>) => Effect.Effect<A>,
  open: (because: string) => Settlement
): Effect.Effect<Settlement> => {
  const toTheEnd = (first: Retry.Attempt<A>) =>
    Effect.tap(goOn(first), (settlement) => finish(engine, held, settlement))
  switch (held.prepared.settle) {
    case "wait":
      return Effect.flatMap(begin, toTheEnd)
    case "background":
      return Effect.as(
        engine.background(Effect.flatMap(begin, toTheEnd)),
        open("the settlement goes on in the background")
      )
    case "attempt":
      return Effect.flatMap(begin, (first) =>
        first._tag === "Ended"
          ? Effect.as(finish(engine, held, first.value), first.value)
          : Effect.as(engine.background(toTheEnd(first)), open(first.because))
      )
  }
}

/** The end is known: no more heartbeat, and whoever watches settlements hears of it. */
const finish = (engine: Engine, held: Held, settlement: Settlement): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    Counts.active(-1, fiber.context)
    if (held.beat !== undefined) engine.heartbeat.stop(held.beat)
    if (held.id !== undefined) endCharge(engine, held.id)
    const { action, subject } = held.prepared.request
    return engine.announce({ settlement, subject, action })
  })

// ---------------------------------------------------------------------------------------------------------------------
// checks
// ---------------------------------------------------------------------------------------------------------------------

/** Makes a commit from what the user told, with every limit of the protocol checked. What was told is recorded first. */
export const checkCommit = (
  held: Held,
  options: CommitOptions
): Effect.Effect<Commit, InvalidRequest | Amount.UnitMismatch> =>
  Effect.flatMap(held.handle.record(options), () => {
    const commit: Commit = {
      _tag: "Commit",
      actual: held.recorded ?? options.actual,
      isEstimated: options.isEstimated === true,
      metrics: held.metrics,
      metadata: options.metadata
    }
    const problem = Encode.problemOfCommit(held.prepared, commit)
    return problem === undefined ? Effect.succeed(commit) : Effect.fail(problem)
  })
