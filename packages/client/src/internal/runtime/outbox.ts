/**
 * The outbox: all spend of this client that isn't settled yet. It is being settled, or pending in the journal, or not
 * journaled. No other module keeps such collections.
 *
 * If the journal fails, the spend isn't journaled, and each scan writes it again.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount } from "@effect-cycles/protocol/Amount"
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import type { Subject } from "@effect-cycles/protocol/Subject"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type {
  DeadLetter,
  JournalError,
  JournalOwner,
  JournalRecord,
  SettlementJournal
} from "../../SettlementJournal.ts"
import type { Timer, TimerQueue } from "../transport/timerQueue.ts"
import { pulledWithin } from "./bounded.ts"
import * as JournalAccess from "./journalAccess.ts"
import { journalWriteMs } from "./journalAccess.ts"
import * as Log from "./log.ts"
import * as Metrics from "./metrics.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The part of a reservation's lifecycle that a settlement changes. */
export interface SettlementLife {
  readonly fire: (event: "confirmed" | "expired" | "unknown" | "rejected" | "exhausted" | "replayed") => void
}

/** The part of a call's share in its run that a settlement changes. */
export interface SettlementTicket {
  readonly markCertain: (isCertain: boolean) => void
}

/** Unsettled spend. */
export interface Spend {
  record: JournalRecord
  readonly life: SettlementLife
  /** Absent without a run, for late spend, and for a record of the journal. */
  readonly ticket: SettlementTicket | undefined
  readonly actual: Amount
  readonly isEstimated: boolean
  /** The reserved amount, if this process made the reservation. */
  readonly estimate: Amount | undefined
  readonly subject: Subject | undefined
  readonly action: Action | undefined
  /**
   * Makes the body of the event that charges the spend after the lease has ended; only if `record` doesn't contain it.
   */
  readonly makeEventBody: (() => string) | undefined
  /** Whether `record` is durable. */
  isJournaled: boolean
  /** Whether a fiber of this process is settling it. */
  isActive: boolean
  /** The number of responses so far with the next step `hold`. */
  holds: number
}

/** All unsettled spend of a client. */
export interface Outbox {
  /** Whether the journal keeps records. If not, the body of the event is made only when it is sent. */
  readonly isDurable: boolean
  /** Adds spend, until `settled` or `bury` removes it. */
  readonly add: (spend: Spend) => void
  /** Writes the record to the journal, waiting up to `limitMs`, and updates `isJournaled`. */
  readonly write: (spend: Spend, limitMs: number) => Effect.Effect<void>
  /** Removes settled spend, and waits up to `limitMs` for the journal. */
  readonly settled: (spend: Spend, limitMs: number) => Effect.Effect<void>
  /** Removes a record that another one has replaced. */
  readonly forget: (record: JournalRecord, limitMs: number) => Effect.Effect<void>
  /** Moves the spend to the dead letters. */
  readonly bury: (spend: Spend, reason: string, limitMs: number) => Effect.Effect<void>
  /** Moves a record without a readable amount to the dead letters. */
  readonly buryRecord: (record: JournalRecord, reason: string) => Effect.Effect<void>
  /** Leaves spend to the next scan, because the attempts of this run are used up. */
  readonly park: (spend: Spend) => void
  /** Marks the reservation as being released, until `releaseEnded`. */
  readonly releaseDecided: (reservationId: ReservationId) => void
  readonly releaseEnded: (reservationId: ReservationId) => void
  /** Whether this process is releasing the reservation. */
  readonly isReleasing: (reservationId: ReservationId) => boolean
  /** Whether this process, or another one with the same journal, has decided a settlement of the reservation. */
  readonly isDecided: (reservationId: ReservationId) => Effect.Effect<boolean>
  /** Writes the open record: the record to commit if this process crashes. Returns whether it is durable. */
  readonly writeOpen: (record: JournalRecord) => Effect.Effect<boolean>
  /** Removes the open record. */
  readonly forgetOpen: (reservationId: ReservationId) => Effect.Effect<void>
  /**
   * Scans all spend that no fiber is settling: adopts the open records of dead processes, writes unjournaled spend, and
   * passes each record to a handler. A handler that fails doesn't affect the others. Returns whether the whole journal
   * could be read.
   */
  readonly scan: (handlers: {
    readonly parked: (spend: Spend) => Effect.Effect<void>
    readonly found: (record: JournalRecord) => Effect.Effect<void>
  }) => Effect.Effect<boolean>
  /** Counts unsettled spend. `isKnown` is false if the journal can't be read. */
  readonly count: (limitMs: number) => Effect.Effect<{ readonly pending: number; readonly isKnown: boolean }>
  readonly deadLetters: Stream.Stream<DeadLetter, JournalError>
}

/** The time limit for the next record of a scan, in milliseconds. */
const journalReadMs = 10_000

const scanConcurrency = 4

/** The maximum number of reservations whose journaled spend is also kept in memory. */
const maxParked = 10_000

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Makes the outbox of a client. If the journal can't be opened, each operation tries to open it again. */
export const make = (options: {
  readonly store: SettlementJournal
  readonly owner: JournalOwner
  readonly timers: TimerQueue<Timer>
}): Effect.Effect<Outbox, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { owner, store, timers } = options
    const scope = yield* Effect.scope
    const { isDurable } = store
    /** Unsettled spend that this process knows, by reservation. */
    const known = new Map<ReservationId, Set<Spend>>()
    /** Reservations that are being released. */
    const releasing = new Set<ReservationId>()
    /** Records that were settled during a scan. The scan must ignore what it has read of them. */
    const stale = new Set<string>()
    /** Reservations whose open records the journal still has to remove. */
    const pendingRemovals = new Set<ReservationId>()
    /** Dead letters that aren't in the journal yet, by the identity of their records. */
    const pendingDeadLetters = new Map<string, DeadLetter>()
    const adopting = Semaphore.makeUnsafe(1)
    let scans = 0
    const { attempt, failed, opened } = JournalAccess.make(options, scope)

    const reportUnjournaled = (): Effect.Effect<void> =>
      Effect.withFiber((fiber) => {
        let count = 0
        for (const spends of known.values()) for (const spend of spends) if (!spend.isJournaled) count += 1
        Metrics.unjournaled(count, fiber.context)
        return Effect.void
      })

    const forget = (spend: Spend): void => {
      const { reservationId } = spend.record
      const spends = known.get(reservationId)
      spends?.delete(spend)
      if (spends?.size === 0) known.delete(reservationId)
      if (scans > 0) stale.add(identity(spend.record))
    }

    const isKnown = (record: JournalRecord): boolean => {
      const spends = known.get(record.reservationId)
      if (spends !== undefined) {
        for (const spend of spends) if (spend.record.commitBody === record.commitBody) return true
      }
      const id = identity(record)
      return stale.has(id) || pendingDeadLetters.has(id)
    }

    const bury = (record: JournalRecord, reason: string, limitMs: number): Effect.Effect<void> =>
      Effect.gen(function* () {
        if (!isDurable) return
        const diedAtMs = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        const letter: DeadLetter = { record, reason, diedAtMs }
        pendingDeadLetters.set(identity(record), letter)
        yield* writeLetter(letter, limitMs)
      })

    const writeLetter = (letter: DeadLetter, limitMs: number): Effect.Effect<void> =>
      Effect.map(
        attempt("bury", limitMs, (journal) => journal.bury(letter)),
        (done) => {
          if (done !== undefined) pendingDeadLetters.delete(identity(letter.record))
        }
      )

    /** Removes an open record. Each scan retries a failed removal, because a later process would commit the record. */
    const forgetOpen = (reservationId: ReservationId, limitMs: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        pendingRemovals.add(reservationId)
        return Effect.map(
          attempt("remove", limitMs, (journal) => journal.removeOpen(reservationId)),
          (done) => {
            if (done !== undefined) pendingRemovals.delete(reservationId)
          }
        )
      })

    const write = (spend: Spend, limitMs: number): Effect.Effect<void> => {
      if (!isDurable) return Effect.void
      const { record } = spend
      return Effect.map(
        attempt("put", limitMs, (journal) => journal.put(record)),
        (done) => {
          // Another record may have replaced this one in the meantime.
          if (spend.record === record) spend.isJournaled = done !== undefined
        }
      )
    }

    const all = (): ReadonlyArray<Spend> => Array.from(known.values(), (spends) => Array.from(spends)).flat()

    const parked = (): ReadonlyArray<Spend> => all().filter(({ isActive }) => !isActive)

    /** Writes everything that isn't in the journal yet. */
    const catchUp = (spends: ReadonlyArray<Spend>): Effect.Effect<void> =>
      Effect.forEach(
        [
          ...spends.filter(({ isJournaled }) => !isJournaled).map((spend) => write(spend, journalWriteMs)),
          ...Array.from(pendingDeadLetters.values(), (letter) => writeLetter(letter, journalWriteMs)),
          ...Array.from(pendingRemovals, (reservationId) => forgetOpen(reservationId, journalWriteMs))
        ],
        (write) => write,
        { concurrency: "unbounded", discard: true }
      )

    /**
     * Adopts the records of dead processes, and returns whether it could. A second caller waits for the first
     * one, because the journal doesn't return these records as pending before they are adopted.
     */
    const adopt = (limitMs: number): Effect.Effect<boolean> =>
      Semaphore.withPermit(
        adopting,
        Effect.map(
          attempt("adopt", limitMs, (journal) => journal.adoptOpen),
          (exit) => exit !== undefined
        )
      )

    const guarded = (handle: Effect.Effect<void>): Effect.Effect<void> =>
      Effect.catchCause(handle, (cause) => Log.error("A record of the settlement journal could not be retried", cause))

    /** Passes the pending records to a handler, and returns whether the journal could be read to its end. */
    const scanJournal = (found: (record: JournalRecord) => Effect.Effect<void>): Effect.Effect<boolean> =>
      Effect.gen(function* () {
        let count = 0
        const pending = Stream.unwrap(Effect.map(opened, ({ pending }) => pending))
        const records = pulledWithin(timers, journalReadMs, pending).pipe(
          Stream.tap(() => Effect.sync(() => void (count += 1))),
          Stream.filter((record) => record.baseUrl === owner.baseUrl && !isKnown(record))
        )
        const exit = yield* Effect.exit(
          Stream.runForEach(
            Stream.mapEffect(records, (record) => guarded(Effect.suspend(() => found(record))), {
              concurrency: scanConcurrency,
              unordered: true
            }),
            () => Effect.void
          )
        )
        if (Exit.isFailure(exit)) yield* failed("read", exit.cause, journalReadMs)
        else yield* Effect.withFiber((fiber) => Effect.sync(() => Metrics.journalPending(count, fiber.context)))
        return Exit.isSuccess(exit)
      })

    // The last attempt to write the spend that is in memory only.
    if (isDurable)
      yield* Scope.addFinalizer(
        scope,
        Effect.suspend(() => catchUp(all()))
      )
    // Open the journal early, so that an unusable one is reported at once.
    if (isDurable) yield* attempt("open", journalWriteMs, () => Effect.void)

    return {
      isDurable,
      add: (spend) => {
        const spends = known.get(spend.record.reservationId)
        if (spends === undefined) known.set(spend.record.reservationId, new Set([spend]))
        else spends.add(spend)
      },
      write,
      settled: (spend, limitMs) =>
        Effect.suspend(() => {
          forget(spend)
          if (!isDurable) return Effect.void
          const removed = Effect.asVoid(attempt("remove", limitMs, (journal) => journal.remove(spend.record)))
          // Without a `put`, the journal still has the open record.
          return spend.isJournaled
            ? removed
            : Effect.all([removed, forgetOpen(spend.record.reservationId, limitMs)], {
                concurrency: "unbounded",
                discard: true
              })
        }),
      forget: (record, limitMs) =>
        isDurable ? Effect.asVoid(attempt("remove", limitMs, (journal) => journal.remove(record))) : Effect.void,
      bury: (spend, reason, limitMs) =>
        Effect.suspend(() => {
          forget(spend)
          return bury(spend.record, reason, limitMs)
        }),
      buryRecord: (record, reason) => bury(record, reason, journalWriteMs),
      park: (spend) => {
        spend.isActive = false
        // Journaled spend also stays in memory, because a journal can be deleted. In a long outage, the bound limits
        // the memory, and the scan reads the rest from the journal.
        if (spend.isJournaled && known.size > maxParked) forget(spend)
      },
      releaseDecided: (reservationId) => void releasing.add(reservationId),
      releaseEnded: (reservationId) => void releasing.delete(reservationId),
      isReleasing: (reservationId) => releasing.has(reservationId),
      isDecided: (reservationId) =>
        Effect.suspend(() => {
          if (known.has(reservationId) || releasing.has(reservationId)) return Effect.succeed(true)
          if (!isDurable) return Effect.succeed(false)
          // Adopt first: the open record of a dead process then counts as a decided settlement.
          return Effect.andThen(
            adopt(journalWriteMs),
            Effect.map(
              attempt("read", journalWriteMs, (journal) => journal.isDecided(reservationId)),
              (exit) => exit?.value ?? false
            )
          )
        }),
      writeOpen: (record) =>
        isDurable
          ? Effect.map(
              attempt("put", journalWriteMs, (journal) => journal.putOpen(record)),
              (done) => done !== undefined
            )
          : Effect.succeed(false),
      forgetOpen: (reservationId) => (isDurable ? forgetOpen(reservationId, journalWriteMs) : Effect.void),
      scan: (handlers) =>
        Effect.ensuring(
          Effect.gen(function* () {
            scans += 1
            yield* catchUp(parked())
            yield* reportUnjournaled()
            yield* Effect.forEach(parked(), (spend) => guarded(Effect.suspend(() => handlers.parked(spend))), {
              concurrency: scanConcurrency,
              discard: true
            })
            if (!isDurable) return true
            const hasAdopted = yield* adopt(journalReadMs)
            const hasRead = yield* scanJournal(handlers.found)
            return hasAdopted && hasRead
          }),
          Effect.sync(() => {
            scans -= 1
            if (scans === 0) stale.clear()
          })
        ),
      count: (limitMs) =>
        Effect.gen(function* () {
          const inMemory = all()
          if (!isDurable) return { pending: inMemory.length, isKnown: true }
          const inJournal = yield* attempt("read", limitMs, ({ pending }) => Stream.runCount(pending))
          const unjournaled = inMemory.filter(({ isJournaled }) => !isJournaled).length
          return {
            pending: Math.max(inMemory.length, (inJournal?.value ?? 0) + unjournaled),
            isKnown: inJournal !== undefined
          }
        }),
      deadLetters: Stream.unwrap(Effect.map(opened, ({ deadLetters }) => deadLetters))
    }
  })

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const identity = (record: JournalRecord): string => `${record.reservationId}\n${record.commitBody}`
