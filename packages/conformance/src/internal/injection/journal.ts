/**
 * A journal in memory whose records, including open records, survive the simulated processes. A killed process owns no open
 * records. Faults are injected into its operations.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { DeadLetter, Journal, JournalRecord } from "effect-cycles/SettlementJournal"
import { JournalError, SettlementJournal, TypeId } from "effect-cycles/SettlementJournal"
import type { Injector, Site } from "./faults.ts"
import { injectedDefect } from "./faults.ts"

// ---------------------------------------------------------------------------------------------------------------------
// store
// ---------------------------------------------------------------------------------------------------------------------

/** The durable content. */
export class Store {
  readonly records = new Map<string, JournalRecord>()
  readonly letters = new Map<string, DeadLetter>()
  /** Open records, by their handles. */
  readonly open = new Map<object, Map<string, JournalRecord>>()
  readonly #owners = new Map<object, Injector>()

  /** The operations of one handle. */
  handle(injector: Injector): Journal {
    const handle = {}
    const openRecords = new Map<string, JournalRecord>()
    this.#owners.set(handle, injector)
    this.open.set(handle, openRecords)
    return {
      put: (record) =>
        Effect.sync(() => {
          this.records.set(identityOf(record), record)
          openRecords.delete(record.reservationId)
        }),
      remove: (record) => Effect.sync(() => void this.records.delete(identityOf(record))),
      bury: (letter) =>
        Effect.sync(() => {
          this.records.delete(identityOf(letter.record))
          openRecords.delete(letter.record.reservationId)
          this.letters.set(identityOf(letter.record), letter)
        }),
      pending: Stream.suspend(() => Stream.fromIterable(Array.from(this.records.values()))),
      deadLetters: Stream.suspend(() => Stream.fromIterable(Array.from(this.letters.values()))),
      forget: (letter) => Effect.sync(() => void this.letters.delete(identityOf(letter.record))),
      isDecided: (id) =>
        Effect.sync(
          () =>
            Array.from(this.records.values()).some((record) => record.reservationId === id) ||
            Array.from(this.letters.values()).some(({ record }) => record.reservationId === id)
        ),
      putOpen: (record) => Effect.sync(() => void openRecords.set(record.reservationId, record)),
      removeOpen: (id) => Effect.sync(() => void openRecords.delete(id)),
      adoptOpen: Effect.sync(() => {
        let count = 0
        for (const [owner, records] of this.open) {
          if (this.#owners.get(owner)?.isCrashed !== true) continue
          for (const record of records.values()) {
            this.records.set(identityOf(record), record)
            count += 1
          }
          this.open.delete(owner)
        }
        return count
      })
    }
  }
}

const identityOf = ({ commitBody, reservationId }: JournalRecord): string => JSON.stringify([reservationId, commitBody])

// ---------------------------------------------------------------------------------------------------------------------
// layer
// ---------------------------------------------------------------------------------------------------------------------

/** The journal of one process. */
export const layer = (store: Store, injector: Injector): Layer.Layer<SettlementJournal> =>
  Layer.sync(SettlementJournal, () =>
    SettlementJournal.of({
      [TypeId]: TypeId,
      isDurable: true,
      open: () => {
        const real = Effect.sync(() => faulty(store.handle(injector), injector))
        return meet(injector, "journal.open", "open", real)
      }
    })
  )

const faulty = (journal: Journal, injector: Injector): Journal => ({
  put: (record) => meet(injector, "journal.put", "put", journal.put(record), Effect.void),
  remove: (record) => meet(injector, "journal.remove", "remove", journal.remove(record), Effect.void),
  bury: (letter) => meet(injector, "journal.bury", "bury", journal.bury(letter), Effect.void),
  pending: Stream.unwrap(Effect.suspend(() => pending(journal, injector))),
  deadLetters: journal.deadLetters,
  forget: journal.forget,
  isDecided: (id) => meet(injector, "journal.isDecided", "read", journal.isDecided(id)),
  putOpen: (record) => meet(injector, "journal.putOpen", "putOpen", journal.putOpen(record), Effect.void),
  removeOpen: (id) => meet(injector, "journal.removeOpen", "removeOpen", journal.removeOpen(id)),
  adoptOpen: Effect.suspend(() =>
    meet(injector, "journal.adoptOpen", "adoptOpen", journal.adoptOpen, Effect.succeed(7))
  )
})

/** The duration of a slow operation, longer than the client's limit for a write. */
const slowMs = 3_000

/** The slow operation in progress, if any: a journal writes in the order of the calls. */
const slow = new WeakMap<Injector, Deferred.Deferred<void>>()

const inOrder = <A>(injector: Injector, real: Effect.Effect<A, JournalError>): Effect.Effect<A, JournalError> => {
  const before = slow.get(injector)
  return before === undefined ? real : Effect.andThen(Deferred.await(before), real)
}

const slowly = <A>(injector: Injector, real: Effect.Effect<A, JournalError>): Effect.Effect<A, JournalError> =>
  Effect.suspend(() => {
    const done = Deferred.makeUnsafe<void>()
    const ordered = inOrder(injector, real)
    slow.set(injector, done)
    return Effect.ensuring(Effect.uninterruptible(Effect.delay(ordered, slowMs)), Deferred.succeed(done, undefined))
  })

/**
 * Applies the next fault of a site to an operation. `throw` throws before an effect is returned; `lie` returns `lied` without
 * doing anything.
 */
const meet = <A>(
  injector: Injector,
  site: Site,
  operation: JournalError["operation"],
  real: Effect.Effect<A, JournalError>,
  lied: Effect.Effect<A> = Effect.never
): Effect.Effect<A, JournalError> => {
  if (injector.isCrashed) return Effect.never
  const fault = injector.next(site)
  const failure = Effect.fail(new JournalError({ operation, problem: "the disk is full" }))
  switch (fault) {
    case undefined:
      return inOrder(injector, real)
    case "throw":
      throw injectedDefect(site)
    case "die":
      return Effect.die(injectedDefect(site))
    case "fail":
      return failure
    case "hang":
      return Effect.never
    case "interrupt":
      return Effect.interrupt
    case "slow":
      return slowly(injector, real)
    case "failAfter":
      return Effect.andThen(real, failure)
    case "hangAfter":
      return Effect.andThen(real, Effect.never)
    case "crash":
      injector.crash()
      return Effect.never
    case "crashAfter":
      return Effect.andThen(
        real,
        Effect.suspend(() => {
          injector.crash()
          return Effect.never
        })
      )
    case "lie":
      return lied
    default:
      throw new Error(`${site} has no fault ${fault}`)
  }
}

const pending = (journal: Journal, injector: Injector) => {
  const { pending } = journal
  if (injector.isCrashed) return Effect.succeed(Stream.never)
  const fault = injector.next("journal.pending")
  const failure = new JournalError({ operation: "read", problem: "the disk is broken" })
  switch (fault) {
    case "throw":
      throw injectedDefect("journal.pending")
    case "die":
      return Effect.succeed(Stream.die(injectedDefect("journal.pending")))
    case "fail":
      return Effect.succeed(Stream.fail(failure))
    case "failAfter":
    case "failMidway":
      return Effect.succeed(Stream.concat(Stream.take(pending, 1), Stream.fail(failure)))
    case "hang":
      return Effect.succeed(Stream.never)
    case "hangMidway":
      return Effect.succeed(Stream.concat(Stream.take(pending, 1), Stream.never))
    case "interrupt":
      return Effect.interrupt
    case "slow":
      return Effect.succeed(Stream.tap(pending, () => Effect.sleep(slowMs)))
    case "twice":
      return Effect.succeed(Stream.concat(pending, pending))
    case "garbage":
      return Effect.succeed(Stream.concat(Stream.map(Stream.take(pending, 1), garbage), pending))
    default:
      return Effect.succeed(pending)
  }
}

const garbage = (record: JournalRecord): JournalRecord => ({ ...record, commitBody: "not JSON" })
