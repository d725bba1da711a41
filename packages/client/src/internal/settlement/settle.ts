/**
 * Settles a reservation exactly once: first writes the journal, then makes the first attempt while the caller waits,
 * then retries in the background. The heartbeat runs until the settlement has ended.
 */
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { AlreadySettled } from "../../CyclesError.ts"
import type { Settlement } from "../../Settlement.ts"
import { isSettled, Joined, Unreserved } from "../../Settlement.ts"
import type { Engine } from "../reservation/engine.ts"
import type { Handle } from "../reservation/handle.ts"
import type { Late } from "../reservation/source.ts"
import type { SpendHooks } from "../reservation/view.ts"
import { isJournaled } from "../reservation/view.ts"
import * as Log from "../runtime/log.ts"
import * as Metrics from "../runtime/metrics.ts"
import type { Spend } from "../runtime/outbox.ts"
import { journalWriteMs } from "../runtime/journalAccess.ts"
import type * as Retry from "../runtime/retry.ts"
import * as Commit from "./commit.ts"
import * as Plan from "./plan.ts"
import * as Release from "./release.ts"
import type { Charged } from "./spend.ts"
import { lateSpendOf, spendOf } from "./spend.ts"
import { trusted } from "./trusted.ts"

// ---------------------------------------------------------------------------------------------------------------------
// settle
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Settles a reservation by a plan, or fails with `AlreadySettled`. The check and the decision are one step, so that
 * only one of two fibers settles. The caller makes it uninterruptible.
 */
export const settle = (engine: Engine, handle: Handle, given: Plan.Plan): Effect.Effect<Settlement, AlreadySettled> =>
  Effect.suspend((): Effect.Effect<Settlement, AlreadySettled> => {
    const { call, source } = handle
    const plan = Plan.withDrawn(handle, given)
    const isCommit = plan._tag === "Commit"
    const isDecided = isCommit
      ? handle.decide("commitDecided", plan.actual.amount, plan.isEstimated)
      : handle.decide("releaseDecided", 0n, false)
    if (!isDecided) {
      return Effect.fail(handle.alreadySettled)
    }
    if (call.isCallerSupplied && source._tag !== "Unreachable") engine.keys.release(call.key)
    switch (source._tag) {
      case "Reservation":
        return isCommit ? byCommit(engine, handle, source, plan) : byRelease(engine, handle, source.id, plan.reason)
      case "Joined":
        return byDraw(engine, handle, source, isCommit ? plan : Plan.nothing(handle))
      case "Unreachable":
        return isCommit && plan.actual.amount > 0n
          ? byCommit(engine, handle, source, plan)
          : unspent(engine, handle, source.id)
      case "Unreserved":
        return Effect.as(source.atEnd ?? Effect.void, new Unreserved({ reason: source.reason }))
    }
  })

/** Charges spend: by a commit, or by an event if the server could not be reached. */
const byCommit = (engine: Engine, handle: Handle, source: Charged, plan: Plan.Commit): Effect.Effect<Settlement> =>
  Effect.clockWith((clock) => {
    const spend = spendOf(engine, handle, source, plan, clock)
    engine.outbox.add(spend)
    return Effect.andThen(
      engine.outbox.write(spend, journalWriteMs),
      waitByPolicy(engine, handle, {
        attempt: Commit.attempt(engine, spend, engine.config.timeoutMs),
        continueAfter: (first) => Commit.continueAfter(engine, spend, first),
        pending: (because) => Commit.pending(spend, because)
      })
    )
  })

const byRelease = (engine: Engine, handle: Handle, id: ReservationId, reason: string): Effect.Effect<Settlement> => {
  const { life, policies, stem } = handle.call
  const target: Release.Target = { id, stem, reason, life }
  engine.outbox.releaseDecided(id)
  const settlement = waitByPolicy(engine, handle, {
    attempt: Release.attempt(engine, target, engine.config.timeoutMs),
    continueAfter: (first) => Release.continueAfter(engine, target, first),
    pending: () => Release.withoutAmounts(id, reason, false)
  })
  return policies.onCrash === "expire" ? settlement : Effect.andThen(engine.outbox.forgetOpen(id), settlement)
}

/** Nothing was spent while the server could not be reached. */
const unspent = (engine: Engine, { call }: Handle, id: ReservationId): Effect.Effect<Settlement> =>
  Effect.as(
    call.policies.onCrash === "expire" ? Effect.void : engine.outbox.forgetOpen(id),
    new Unreserved({ reason: "unreachable" })
  )

/**
 * The spend of a joined call went into the reservation around it. If that one is settled already, the spend is charged
 * as an event.
 */
const byDraw = (engine: Engine, handle: Handle, source: Charged, plan: Plan.Commit): Effect.Effect<Settlement> => {
  const { actual, isEstimated } = plan
  if (!handle.isDrawn && actual.amount > 0n) return byCommit(engine, handle, source, plan)
  const { action, subject } = handle.call
  const settlement = trusted(Joined, { _tag: "Joined", reservationId: source.id, actual, isEstimated })
  return Effect.as(
    Effect.andThen(afterDrawing(engine, handle), engine.announce({ settlement, subject, action })),
    settlement
  )
}

/** Journals the new total of the reservation that the spend goes to. Only with `onCrash`. */
const afterDrawing = (engine: Engine, { root }: Handle): Effect.Effect<void> => {
  if (root === undefined || !isJournaled(root)) return Effect.void
  const write = writeOpen(engine, root)
  return root.grouped === undefined ? write : root.grouped(write)
}

/** The attempts of a settlement. */
interface Attempts<A extends Settlement> {
  readonly attempt: Effect.Effect<Retry.Attempt<A>>
  readonly continueAfter: (first: Retry.Attempt<A>) => Effect.Effect<A>
  /** The settlement of a caller that doesn't wait for the final one. */
  readonly pending: (because: string) => Settlement
}

/** Waits for the settlement as the option `settle` requires, and continues with the rest in the background. */
const waitByPolicy = <A extends Settlement>(
  engine: Engine,
  handle: Handle,
  { attempt, continueAfter, pending }: Attempts<A>
): Effect.Effect<Settlement> => {
  const toTheEnd = (first: Retry.Attempt<A>) =>
    Effect.tap(continueAfter(first), (settlement) => finish(engine, handle, settlement))
  const { ticket } = handle
  const pendingFor = (because: string): Settlement => {
    const settlement = pending(because)
    ticket?.markCertain(isSettled(settlement))
    return settlement
  }
  const { settle } = handle.call.policies
  // The first attempt would wait for the same server again.
  switch (handle.source._tag === "Unreachable" && settle === "attempt" ? "background" : settle) {
    case "wait":
      return Effect.flatMap(attempt, toTheEnd)
    case "background":
      return Effect.suspend(() => {
        const settlement = pendingFor("the settlement continues in the background")
        return Effect.as(engine.background.run(Effect.flatMap(attempt, toTheEnd)), settlement)
      })
    case "attempt":
      return Effect.flatMap(attempt, (first) => {
        if (first._tag === "Ended") return Effect.as(finish(engine, handle, first.value), first.value)
        const settlement = pendingFor(first.because)
        return Effect.as(engine.background.run(toTheEnd(first)), settlement)
      })
  }
}

/** The settlement has ended, or a later scan continues it: stops the heartbeat and publishes the settlement. */
const finish = (engine: Engine, handle: Handle, settlement: Settlement): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    if (handle.id !== undefined) {
      Metrics.active(-1, fiber.context)
      engine.outbox.releaseEnded(handle.id)
    }
    if (handle.beat !== undefined) engine.heartbeat.stop(handle.beat)
    handle.ticket?.markCertain(isSettled(settlement))
    const { action, subject } = handle.call
    return engine.announce({ settlement, subject, action })
  })

// ---------------------------------------------------------------------------------------------------------------------
// onCrash
// ---------------------------------------------------------------------------------------------------------------------

/** Journals the record to commit if this process crashes now. Only with `onCrash`. */
export const writeOpen = (engine: Engine, handle: Handle): Effect.Effect<void> =>
  Effect.clockWith((clock) => {
    const { call, source } = handle
    // A run works without a journal: its spend then doesn't survive a crash.
    if (source._tag === "Unreserved" || (call.isRunHold && !engine.outbox.isDurable)) return Effect.void
    const { id } = source
    const plan = Plan.forCrash(handle)
    // A commit of 0 returns the budget. An event of 0 would charge nothing.
    if (source._tag === "Unreachable" && plan.actual.amount === 0n) return engine.outbox.forgetOpen(id)
    const { record } = spendOf(engine, handle, source, plan, clock)
    return Effect.flatMap(engine.outbox.writeOpen(record), (isDurable) =>
      isDurable
        ? Effect.void
        : Log.warning(
            `Reservation ${id}: its spend would not survive a crash, because the journal could not be written`
          )
    )
  })

// ---------------------------------------------------------------------------------------------------------------------
// late spend
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Charges spend that was recorded after the settlement was decided, as an event with the id of the reservation. Returns
 * when the record is journaled; the charge continues in the background.
 */
const chargeLate = (engine: Engine, handle: Handle, late: Late): Effect.Effect<void> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const { account } = handle
      if (account === undefined) return
      const { id } = account
      const spend = lateSpendOf(engine, handle, account, late, yield* Clock.Clock)
      engine.outbox.add(spend)
      yield* engine.outbox.write(spend, journalWriteMs)
      yield* Log.warning(
        `Reservation ${id}: ${late.amount} was recorded after the settlement was decided, and is charged as an event`
      )
      yield* engine.background.run(chargeSpend(engine, spend))
    })
  )

/** Charges spend, with all attempts of this run, and publishes the settlement. */
const chargeSpend = (engine: Engine, spend: Spend): Effect.Effect<void> =>
  Effect.gen(function* () {
    const first = yield* Commit.attempt(engine, spend, engine.config.timeoutMs)
    const settlement = yield* Commit.continueAfter(engine, spend, first)
    yield* engine.announce({ settlement, subject: spend.subject, action: spend.action })
  })

/** The effects of recording spend. `engine` isn't called before they run. */
export const hooksOf = (engine: () => Engine): SpendHooks => ({
  onRecorded: (handle) => afterDrawing(engine(), handle),
  onLate: (handle, late) => chargeLate(engine(), handle, late)
})
