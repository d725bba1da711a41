/**
 * The outbox: all spend of this client that isn't settled yet, whether a fiber works on it, it waits in the journal, or it
 * could not be journaled. No other module holds such collections.
 *
 * The journal is a collaborator that may fail, die or hang: every operation is bounded in time, any cause means "not
 * journaled", and spend that isn't journaled is written again with each scan.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount } from "@effect-cycles/protocol/Amount"
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type {
  DeadLetter,
  Journal,
  JournalError,
  JournalOwner,
  JournalRecord,
  SettlementJournal
} from "../../SettlementJournal.ts"
import type { Timer, TimerQueue } from "../transport/timerQueue.ts"
import { exitWithin } from "./bounded.ts"
import * as Log from "./log.ts"
import * as Metrics from "./metrics.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The part of a reservation's life that settling its spend drives. */
export interface SettlementLife {
  readonly fire: (event: "confirmed" | "expired" | "unknown" | "rejected" | "exhausted" | "replayed") => void
}

/** Spend that isn't settled yet. */
export interface Spend {
  record: JournalRecord
  readonly life: SettlementLife
  readonly actual: Amount
  readonly isEstimated: boolean
  /** The reserved amount, if this process knows it. */
  readonly estimate: Amount | undefined
  readonly subject: Subject | undefined
  readonly action: Action | undefined
  /** The event that charges the spend if the commit can't; only if `record` doesn't hold it already. */
  readonly makeEventBody: (() => string) | undefined
  /** Whether the journal holds `record` durably. */
  isJournaled: boolean
  /** Whether a fiber of this process works on it. */
  isActive: boolean
  /** How often a response said that a retry alone won't help. */
  holds: number
}

/** All unsettled spend of a client. */
export interface Outbox {
  /** Whether there is a journal. Without one, records need no event body until it is sent. */
  readonly isDurable: boolean
  /** Takes spend in. It stays until `settled` or `bury`. */
  readonly add: (spend: Spend) => void
  /** Writes the record of the spend to the journal, and waits at most so long. Sets `isJournaled`. */
  readonly write: (spend: Spend, limitMs: number) => Effect.Effect<void>
  /** The spend is settled: forgets it, and waits for the journal at most so long. */
  readonly settled: (spend: Spend, limitMs: number) => Effect.Effect<void>
  /** Forgets a record of the spend that another one has replaced. */
  readonly forget: (record: JournalRecord, limitMs: number) => Effect.Effect<void>
  /** Moves the spend to the dead letters. */
  readonly bury: (spend: Spend, reason: string, limitMs: number) => Effect.Effect<void>
  /** Moves a record that tells no amount to the dead letters. */
  readonly buryRecord: (record: JournalRecord, reason: string) => Effect.Effect<void>
  /** The attempts of this run are used up: the next scan goes on. */
  readonly park: (spend: Spend) => void
  /** A release of the reservation has been decided, and goes on until `releaseEnded`. */
  readonly releaseDecided: (reservationId: ReservationId) => void
  readonly releaseEnded: (reservationId: ReservationId) => void
  /** Whether a settlement of the reservation has been decided: by this process or by another one on the same journal. */
  readonly isDecided: (reservationId: ReservationId) => Effect.Effect<boolean>
  /** Journals what is committed if this process dies while the reservation is open. Returns whether it is durable. */
  readonly writeOpen: (record: JournalRecord) => Effect.Effect<boolean>
  /** Forgets what `writeOpen` wrote. */
  readonly forgetOpen: (reservationId: ReservationId) => Effect.Effect<void>
  /**
   * Goes through all spend that no fiber works on: adopts open records of dead processes, writes what isn't journaled,
   * and hands on each piece. One that fails doesn't stop the others.
   */
  readonly scan: (handlers: {
    readonly parked: (spend: Spend) => Effect.Effect<void>
    readonly found: (record: JournalRecord) => Effect.Effect<void>
  }) => Effect.Effect<void>
  /** How much is unsettled; `isKnown` is false if the journal can't be read. */
  readonly count: (limitMs: number) => Effect.Effect<{ readonly pending: number; readonly isKnown: boolean }>
  readonly deadLetters: Stream.Stream<DeadLetter, JournalError>
}

/** How long a write to the journal may take, in milliseconds. */
export const journalWriteMs = 2_000

/** How long a scan waits for the next record of the journal, in milliseconds. */
const journalReadMs = 10_000

const scanConcurrency = 4

/** Journaled spend of more reservations than this isn't kept in memory too. */
const maxParked = 10_000

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Makes the outbox of a client. A journal that can't be opened is opened again with each operation. */
export const make = (options: {
  readonly store: SettlementJournal
  readonly owner: JournalOwner
  readonly timers: TimerQueue<Timer>
}): Effect.Effect<Outbox, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { owner, store, timers } = options
    const scope = yield* Effect.scope
    const { isDurable } = store
    /** Everything unsettled that this process knows, by reservation. */
    const known = new Map<ReservationId, Set<Spend>>()
    /** Reservations whose release is under way. */
    const releasing = new Set<ReservationId>()
    /** Records that were settled during a scan: what the scan has read of them is stale. */
    const stale = new Set<string>()
    /** Open records that the journal still has to forget. */
    const unforgotten = new Set<ReservationId>()
    /** Dead letters that the journal didn't take yet, by the identity of their records. */
    const unburied = new Map<string, DeadLetter>()
    const adopting = Semaphore.makeUnsafe(1)
    let scans = 0
    let journal: Journal | undefined

    const opened: Effect.Effect<Journal, JournalError> = Effect.suspend(() =>
      journal !== undefined
        ? Effect.succeed(journal)
        : // Two operations may open at the same time. One handle serves all: it forgets only open records of its own.
          Effect.map(Scope.provide(store.open(owner), scope), (made) => (journal ??= made))
    )

    /** Runs an operation of the journal; nothing if it failed, died or took too long. */
    const attempt = <A>(
      name: string,
      limitMs: number,
      use: (journal: Journal) => Effect.Effect<A, JournalError>
    ): Effect.Effect<Exit.Success<A, JournalError> | undefined> => {
      const operation = Effect.flatMap(opened, use)
      return Effect.flatMap(
        store.isBounded === true ? Effect.exit(operation) : exitWithin(timers, limitMs, operation),
        (exit) =>
          exit !== undefined && Exit.isSuccess(exit)
            ? Effect.succeed(exit)
            : Effect.as(failed(name, exit === undefined ? undefined : exit.cause, limitMs), undefined)
      )
    }

    const failed = (name: string, cause: Cause.Cause<JournalError> | undefined, limitMs: number): Effect.Effect<void> =>
      Effect.withFiber((fiber) => {
        Metrics.journalError(fiber.context)
        return cause === undefined
          ? Log.error(`The settlement journal didn't finish "${name}" within ${limitMs} ms`)
          : Log.error(`The settlement journal failed at "${name}"`, cause)
      })

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
      return stale.has(id) || unburied.has(id)
    }

    const bury = (record: JournalRecord, reason: string, limitMs: number): Effect.Effect<void> =>
      Effect.gen(function* () {
        if (!isDurable) return
        const diedAtMs = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        const letter: DeadLetter = { record, reason, diedAtMs }
        unburied.set(identity(record), letter)
        yield* writeLetter(letter, limitMs)
      })

    const writeLetter = (letter: DeadLetter, limitMs: number): Effect.Effect<void> =>
      Effect.map(
        attempt("bury", limitMs, (journal) => journal.bury(letter)),
        (done) => {
          if (done !== undefined) unburied.delete(identity(letter.record))
        }
      )

    /** A record that stayed would be committed after the end of this process, so that each scan tries again. */
    const forgetOpen = (reservationId: ReservationId, limitMs: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        unforgotten.add(reservationId)
        return Effect.map(
          attempt("remove", limitMs, (journal) => journal.removeOpen(reservationId)),
          (done) => {
            if (done !== undefined) unforgotten.delete(reservationId)
          }
        )
      })

    const write = (spend: Spend, limitMs: number): Effect.Effect<void> => {
      if (!isDurable) return Effect.void
      const { record } = spend
      return Effect.map(
        attempt("put", limitMs, (journal) => journal.put(record)),
        (done) => {
          // Another record may have taken its place meanwhile.
          if (spend.record === record) spend.isJournaled = done !== undefined
        }
      )
    }

    const all = (): ReadonlyArray<Spend> => Array.from(known.values(), (spends) => Array.from(spends)).flat()

    const parked = (): ReadonlyArray<Spend> => all().filter(({ isActive }) => !isActive)

    /** What the journal didn't take yet. */
    const catchUp = (spends: ReadonlyArray<Spend>): Effect.Effect<void> =>
      Effect.forEach(
        [
          ...spends.filter(({ isJournaled }) => !isJournaled).map((spend) => write(spend, journalWriteMs)),
          ...Array.from(unburied.values(), (letter) => writeLetter(letter, journalWriteMs)),
          ...Array.from(unforgotten, (reservationId) => forgetOpen(reservationId, journalWriteMs))
        ],
        (write) => write,
        { concurrency: "unbounded", discard: true }
      )

    /**
     * Adopts the records of dead processes. A second caller waits for the first one: until the records are adopted, the
     * journal shows neither caller that they are pending.
     */
    const adopt = (limitMs: number): Effect.Effect<void> =>
      Semaphore.withPermit(adopting, Effect.asVoid(attempt("adopt", limitMs, (journal) => journal.adoptOpen)))

    const guarded = (handle: Effect.Effect<void>): Effect.Effect<void> =>
      Effect.catchCause(handle, (cause) => Log.error("A record of the settlement journal could not be retried", cause))

    const scanJournal = (found: (record: JournalRecord) => Effect.Effect<void>): Effect.Effect<void> =>
      Effect.gen(function* () {
        let count = 0
        const records = Stream.unwrap(Effect.map(opened, ({ pending }) => pending)).pipe(
          Stream.timeout(journalReadMs),
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
      })

    // The last chance: what is in memory only ends with the process.
    if (isDurable)
      yield* Scope.addFinalizer(
        scope,
        Effect.suspend(() => catchUp(all()))
      )
    // Opened now, so that a journal that can't be used is reported at once.
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
          // Without a `put` the open record of the reservation is still there.
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
        // It stays in memory even if it is journaled, since a journal can be deleted. The bound is for long outages: beyond it
        // the journal alone hands the spend out again.
        if (spend.isJournaled && known.size > maxParked) forget(spend)
      },
      releaseDecided: (reservationId) => void releasing.add(reservationId),
      releaseEnded: (reservationId) => void releasing.delete(reservationId),
      isDecided: (reservationId) =>
        Effect.suspend(() => {
          if (known.has(reservationId) || releasing.has(reservationId)) return Effect.succeed(true)
          if (!isDurable) return Effect.succeed(false)
          // What a dead process recorded for the reservation is decided too, once it is adopted.
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
            if (!isDurable) return
            yield* adopt(journalReadMs)
            yield* scanJournal(handlers.found)
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
