/**
 * The journal as files, one for each record, in the format and the folder of the protocol's other clients: each finds the
 * records of the others.
 *
 * A record is written to a temporary file, synced, moved to its name, and its folder synced. Several processes may use one
 * folder. Files that hold no record, or another record than their name says, are renamed to `.corrupt`; temporary files that
 * are older than an hour are removed. A folder that is deleted is made again.
 *
 * Dead letters (folder `dead-letters`), records of one reservation beyond the first (`further`) and open records (`open`) are
 * in folders of their own, which other clients don't look into. Open records need `node:sqlite`; the rest doesn't.
 *
 * @see journal format 1 of the client recovery profile (CR-DURABLE-001 to 007)
 */
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Path from "node:path"
import type { Journal, JournalOwner } from "../SettlementJournal.ts"
import { JournalError, SettlementJournal, TypeId } from "../SettlementJournal.ts"
import * as Files from "./internal/files.ts"
import * as Folder from "./internal/folder.ts"
import * as OpenRecords from "./internal/openRecords.ts"
import * as OwnerLock from "./internal/ownerLock.ts"
import * as Queue from "./internal/queue.ts"
import * as RecordFiles from "./internal/recordFiles.ts"
import * as RecordFolder from "./internal/recordFolder.ts"
import * as Scan from "./internal/scan.ts"
import * as Sqlite from "./internal/sqlite.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Options of the journal. */
export interface Options {
  /** The folder; `~` is the home folder. Default `~/.runcycles/commit-journal`, which all clients share. */
  readonly folder?: string | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/** The journal as files. While the folder can't be used, each operation fails with the reason, and the next one tries again. */
export const layer = (options?: Options): Layer.Layer<SettlementJournal> =>
  Layer.succeed(SettlementJournal, {
    [TypeId]: TypeId,
    isDurable: true,
    open: (owner) =>
      Effect.gen(function* () {
        const base = options?.folder ?? "~/.runcycles/commit-journal"
        const { close, journal } = make(base, owner)
        yield* Effect.addFinalizer(() => Effect.sync(close))
        return journal
      })
  })

// ---------------------------------------------------------------------------------------------------------------------
// the journal of one owner
// ---------------------------------------------------------------------------------------------------------------------

const make = (base: string, owner: JournalOwner): { readonly journal: Journal; readonly close: () => void } => {
  /** The folder of this owner; makes it if it is missing. */
  const prepare = async (): Promise<string> => {
    try {
      const root = Folder.expand(base)
      const folder = Path.join(root, owner.fingerprint)
      Folder.make(root)
      Folder.make(folder)
      if (isClean) return folder
      isClean = true
      await Files.removeOldTemporaries(folder)
      return folder
    } catch (error) {
      throw problem("open", error)
    }
  }
  let isClean = false

  const queue = Queue.make()
  const open = OpenRecords.make((id) => {
    const folder = Path.join(Folder.expand(base), owner.fingerprint)
    void Files.discardFolder(openOf(folder, id))
  })

  /** Works in the folder; once more if the folder is deleted meanwhile. */
  const inFolder = async <A>(work: (folder: string) => Promise<A>): Promise<A> => {
    try {
      return await work(await prepare())
    } catch (error) {
      if (!Files.isMissing(error)) throw error
      return await work(await prepare())
    }
  }

  const attempt = <A>(operation: JournalError["operation"], work: (folder: string) => Promise<A>) =>
    Effect.tryPromise({ try: () => inFolder(work), catch: (error) => problem(operation, error) })

  /**
   * Changes something of one reservation, after all earlier changes, also those that nobody waits for any more. `begin` says
   * what happens to the open record of this handle.
   */
  const change = (
    operation: JournalError["operation"],
    id: ReservationId,
    work: (folder: string) => Promise<void>,
    begin?: (id: ReservationId) => (isDone: boolean) => void
  ): Effect.Effect<void, JournalError> =>
    Effect.tryPromise({
      try: () => {
        const end = begin?.(id)
        // Ids that are not well-formed may share a file name.
        return queue.run(id.toWellFormed(), async () => {
          let isDone = false
          try {
            await inFolder(work)
            isDone = true
          } finally {
            end?.(isDone)
          }
        })
      },
      catch: (error) => problem(operation, error)
    })

  /** The open record goes too, if there may be one. */
  const removingOpen = (id: ReservationId) => (open.has(id) ? open.removing(id) : () => {})

  /** The open record of this handle for a reservation; undefined if the handle has no open records. */
  const ownOpen = (folder: string, id: ReservationId): string | undefined => {
    return registered === undefined ? undefined : Path.join(openOf(folder, registered), RecordFiles.openNameOf(id))
  }

  /** The owner in whose folder the open records of this handle are. */
  let registered: string | undefined

  /** Forgets an open record. It would be committed after the end of this process, so that a failure is retried. */
  const forgetOpen = (id: ReservationId): Effect.Effect<void, JournalError> =>
    change(
      "removeOpen",
      id,
      async (folder) => {
        const path = ownOpen(folder, id)
        if (path !== undefined) await Files.unlink(path)
      },
      (id) => {
        const removed = open.removing(id)
        return (isDone) => {
          removed(isDone)
          if (!isDone) OpenRecords.later(() => Effect.runFork(Effect.ignore(forgetOpen(id))))
        }
      }
    )

  /** Logs what a scan found out of order. */
  const scan = <A>(
    operation: JournalError["operation"],
    read: (folder: string) => Promise<Scan.Found<A>>
  ): Effect.Effect<ReadonlyArray<A>, JournalError> =>
    Effect.gen(function* () {
      const { found, problems } = yield* attempt(operation, read)
      if (problems.length > 0) {
        yield* Effect.logError(
          `The settlement journal in ${Path.join(base, owner.fingerprint)} has files in disorder: ${problems.join("; ")}`
        )
      }
      return found
    })

  const unreadable = new Set<string>()
  let isSwept = false

  const adoptAll = async (folder: string): Promise<Scan.Found<boolean>> => {
    // Without locks nobody can be proven dead.
    if (!Sqlite.isAvailable()) return { found: [], problems: [] }
    const owners = ownersOf(folder)
    if (!isSwept) OwnerLock.sweep(owners)
    isSwept = true
    const all: Array<Scan.Found<boolean>> = []
    for (const id of await Files.list(openOf(folder))) {
      const claim = id === open.owner() || !OwnerLock.isId(id) ? undefined : OwnerLock.claim(owners, id)
      if (claim === undefined) continue
      const mine = openOf(folder, id)
      try {
        all.push(await Scan.adopt(folder, mine, owner, unreadable))
      } finally {
        claim.release(!(await Files.exists(mine).catch(() => true)))
      }
    }
    return { found: all.flatMap(({ found }) => found), problems: all.flatMap(({ problems }) => problems) }
  }

  const journal: Journal = {
    put: (record) =>
      change(
        "put",
        record.reservationId,
        async (folder) => {
          let file = await Files.writeTemporary(folder, RecordFiles.recordText(record))
          try {
            const path = ownOpen(folder, record.reservationId)
            if (path !== undefined && (await Files.exists(path))) {
              // The open record becomes the decided one before it moves: at no time are there both or none.
              await Files.move(file, path)
              file = path
            }
            await RecordFolder.place(folder, file, record, "replace")
          } catch (error) {
            if (Files.isTemporary(file)) await Files.discard(file)
            throw error
          }
        },
        removingOpen
      ),
    remove: (record) => change("remove", record.reservationId, (folder) => RecordFolder.remove(folder, record)),
    bury: (letter) =>
      change(
        "bury",
        letter.record.reservationId,
        async (folder) => {
          const graves = gravesOf(folder)
          Folder.make(graves)
          const file = await Files.writeTemporary(graves, RecordFiles.letterText(letter))
          try {
            await RecordFolder.place(graves, file, letter.record, "replace")
          } catch (error) {
            await Files.discard(file)
            throw error
          }
          await RecordFolder.remove(folder, letter.record)
          const path = ownOpen(folder, letter.record.reservationId)
          if (path !== undefined) await Files.unlink(path)
        },
        removingOpen
      ),
    pending: Stream.unwrap(
      Effect.map(
        scan("read", (folder) => Scan.readPending(folder, owner, unreadable)),
        Stream.fromIterable
      )
    ),
    deadLetters: Stream.unwrap(
      Effect.map(
        scan("read", (folder) => Scan.readLetters(gravesOf(folder), unreadable)),
        Stream.fromIterable
      )
    ),
    forget: ({ record }) =>
      change("forget", record.reservationId, (folder) => RecordFolder.remove(gravesOf(folder), record)),
    isDecided: (id) =>
      attempt(
        "read",
        async (folder) => (await RecordFolder.has(folder, id)) || (await RecordFolder.has(gravesOf(folder), id))
      ),
    putOpen: (record) =>
      change(
        "putOpen",
        record.reservationId,
        async (folder) => {
          const id = open.acquire(ownersOf(folder))
          const mine = openOf(folder, id)
          // The lock was deleted: records under the old id would pass for those of a dead owner.
          if (registered !== undefined && registered !== id) Folder.rename(openOf(folder, registered), mine)
          registered = id
          Folder.make(mine)
          const file = await Files.writeTemporary(mine, RecordFiles.recordText(record))
          try {
            await Files.move(file, Path.join(mine, RecordFiles.openNameOf(record.reservationId)))
          } catch (error) {
            await Files.discard(file)
            throw error
          }
        },
        open.putting
      ),
    removeOpen: (id) => Effect.suspend(() => (open.has(id) ? forgetOpen(id) : Effect.void)),
    adoptOpen: Effect.map(scan("adoptOpen", adoptAll), (adopted) => adopted.filter((isNew) => isNew).length)
  }
  return { journal, close: open.close }
}

const gravesOf = (folder: string): string => Path.join(folder, "dead-letters")

const ownersOf = (folder: string): string => Path.join(folder, "owners")

const openOf = (folder: string, owner = ""): string => Path.join(folder, "open", owner)

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

const problem = (operation: JournalError["operation"], error: unknown): JournalError =>
  error instanceof JournalError
    ? error
    : new JournalError({ operation, problem: error instanceof Error ? error.message : String(error) })
