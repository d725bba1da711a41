/**
 * The journal as a folder with one file for each record, in the format of the other Cycles clients. Clients that share
 * a folder replay each other's records.
 *
 * **Details**
 *
 * - Durable: a record is written to a temporary file, synced and renamed, and then its folder is synced.
 * - Several processes can share one folder.
 * - An unreadable file, or one whose record doesn't match its name, is renamed to `.corrupt`.
 * - Temporary files older than an hour are removed. A deleted folder is created again.
 * - Other clients don't read the subfolders: `dead-letters`, `further` for additional records of one reservation, and
 *   `open` for open records.
 *
 * **Gotchas**
 *
 * Open records, and therefore `onCrash`, need `node:sqlite`. Everything else works without it.
 *
 * @see journal format 1 of the client recovery profile (CR-DURABLE-001 to 007)
 * @since 0.1.0
 */
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Path from "node:path"
import type { Journal, JournalError, JournalOwner } from "../SettlementJournal.ts"
import { SettlementJournal, TypeId } from "../SettlementJournal.ts"
import * as Files from "./internal/files.ts"
import * as Folder from "./internal/folder.ts"
import * as OpenRecords from "./internal/openRecords.ts"
import * as OwnerLock from "./internal/ownerLock.ts"
import { problem } from "./internal/problem.ts"
import * as Queue from "./internal/queue.ts"
import * as RecordFiles from "./internal/recordFiles.ts"
import * as RecordFolder from "./internal/recordFolder.ts"
import * as Scan from "./internal/scan.ts"
import * as Sqlite from "./internal/sqlite.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The options of the journal.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * The path of the folder; `~` is the home folder. Default `~/.runcycles/commit-journal`, which the other clients use
   * too.
   */
  readonly folder?: string | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Provides the journal as files. An operation fails with `JournalError` if the folder can't be used, and the next
 * operation tries again.
 *
 * **Example** (Sharing a folder with other Cycles clients)
 *
 * ```ts
 * import { JournalFiles } from "effect-cycles/node"
 *
 * export const JournalLive = JournalFiles.layer({ folder: "/var/lib/agent/commit-journal" })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<SettlementJournal> =>
  Layer.succeed(SettlementJournal, {
    [TypeId]: TypeId,
    isDurable: true,
    open: (owner) =>
      Effect.gen(function* () {
        const base = options?.folder ?? RecordFolder.defaultPath
        const { close, journal } = make(base, owner)
        yield* Effect.addFinalizer(() => Effect.sync(close))
        return journal
      })
  })

// ---------------------------------------------------------------------------------------------------------------------
// the journal of one owner
// ---------------------------------------------------------------------------------------------------------------------

const make = (base: string, owner: JournalOwner): { readonly journal: Journal; readonly close: () => void } => {
  /** The path of the folder of this owner. */
  const folderOf = (): string => Path.join(Folder.expand(base), owner.fingerprint)

  /** Creates the folder of this owner if it is missing, and returns its path. */
  const prepare = async (): Promise<string> => {
    try {
      const folder = folderOf()
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
  const open = OpenRecords.make((id) => void Files.discardFolder(RecordFolder.openOf(folderOf(), id)))

  /** Runs work in the folder. Runs it once more if the folder was deleted meanwhile. */
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
   * Changes the records of one reservation, after all earlier changes, including those whose callers have stopped
   * waiting. `begin` updates the state of the open record.
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
        // Ids with lone surrogates may share a file name.
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

  /** Marks the open record as being removed, if there may be one. */
  const removingOpen = (id: ReservationId) => (open.has(id) ? open.removing(id) : () => {})

  /** The path of this handle's open record for a reservation; undefined if the handle has no open records. */
  const ownOpen = (folder: string, id: ReservationId): string | undefined => {
    return registered === undefined
      ? undefined
      : Path.join(RecordFolder.openOf(folder, registered), RecordFiles.openNameOf(id))
  }

  /** The owner id of the folder that contains this handle's open records. */
  let registered: string | undefined

  /** Removes an open record. A failed removal is retried, because a later scan would commit the record. */
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

  /** Runs a scan and logs the problems that it found. */
  const scan = <A>(
    operation: JournalError["operation"],
    read: (folder: string) => Promise<Scan.Found<A>>
  ): Effect.Effect<ReadonlyArray<A>, JournalError> => Effect.flatMap(attempt(operation, read), reporting)

  /** Logs the problems of a scan, and returns the found entries. */
  const reporting = <A>({ found, problems }: Scan.Found<A>): Effect.Effect<ReadonlyArray<A>> =>
    problems.length === 0
      ? Effect.succeed(found)
      : Effect.as(
          Effect.logError(
            `The settlement journal in ${Path.join(base, owner.fingerprint)} has invalid files: ${problems.join("; ")}`
          ),
          found
        )

  const unreadable = new Set<string>()
  let isSwept = false

  const adoptAll = async (folder: string): Promise<Scan.Found<boolean>> => {
    // Without locks, no owner can be proven dead.
    if (!Sqlite.isAvailable()) return { found: [], problems: [] }
    const owners = OwnerLock.folderIn(folder)
    if (!isSwept) OwnerLock.sweep(owners)
    isSwept = true
    const all: Array<Scan.Found<boolean>> = []
    for (const id of await Files.list(RecordFolder.openOf(folder))) {
      const lock = id === open.owner() || !OwnerLock.isId(id) ? undefined : OwnerLock.lockDead(owners, id)
      if (lock === undefined) continue
      const openFolder = RecordFolder.openOf(folder, id)
      try {
        all.push(await Scan.adopt(folder, openFolder, owner, unreadable))
      } finally {
        lock.release(!(await Files.exists(openFolder).catch(() => true)))
      }
    }
    return { found: all.flatMap(({ found }) => found), problems: all.flatMap(({ problems }) => problems) }
  }

  const journal: Journal = {
    put: (record) =>
      change(
        "put",
        record.reservationId,
        (folder) =>
          Files.writeTemporary(folder, RecordFiles.recordText(record), async (file) => {
            const path = ownOpen(folder, record.reservationId)
            if (path === undefined || !(await Files.exists(path))) {
              return RecordFolder.place(folder, file, record, "replace")
            }
            // The open record is rewritten as the decided record before it is moved, so that at every moment there is
            // exactly one of them.
            await Files.move(file, path)
            return RecordFolder.place(folder, path, record, "replace")
          }),
        removingOpen
      ),
    remove: (record) => change("remove", record.reservationId, (folder) => RecordFolder.remove(folder, record)),
    bury: (letter) =>
      change(
        "bury",
        letter.record.reservationId,
        async (folder) => {
          const letters = RecordFolder.deadLettersOf(folder)
          Folder.make(letters)
          await Files.writeTemporary(letters, RecordFiles.letterText(letter), (file) =>
            RecordFolder.place(letters, file, letter.record, "replace")
          )
          await RecordFolder.remove(folder, letter.record)
          const path = ownOpen(folder, letter.record.reservationId)
          if (path !== undefined) await Files.unlink(path)
        },
        removingOpen
      ),
    pending: Stream.unwrap(
      Effect.map(
        attempt("read", (folder) => Promise.resolve(folder)),
        (folder) =>
          Stream.fromAsyncIterable(Scan.readPending(folder, owner, unreadable), (error) => problem("read", error))
      )
    ).pipe(Stream.mapEffect(reporting), Stream.flattenIterable),
    deadLetters: Stream.unwrap(
      Effect.map(
        scan("read", (folder) => Scan.readLetters(RecordFolder.deadLettersOf(folder), unreadable)),
        Stream.fromIterable
      )
    ),
    forget: ({ record }) =>
      change("forget", record.reservationId, (folder) =>
        RecordFolder.remove(RecordFolder.deadLettersOf(folder), record)
      ),
    isDecided: (id) =>
      attempt(
        "read",
        async (folder) =>
          (await RecordFolder.has(folder, id)) || (await RecordFolder.has(RecordFolder.deadLettersOf(folder), id))
      ),
    putOpen: (record) =>
      change(
        "putOpen",
        record.reservationId,
        async (folder) => {
          const id = open.acquire(OwnerLock.folderIn(folder))
          const openFolder = RecordFolder.openOf(folder, id)
          // The lock file was deleted. Records under the old id would be taken for those of a dead owner.
          if (registered !== undefined && registered !== id)
            Folder.rename(RecordFolder.openOf(folder, registered), openFolder)
          registered = id
          Folder.make(openFolder)
          await Files.writeTemporary(openFolder, RecordFiles.recordText(record), (file) =>
            Files.move(file, Path.join(openFolder, RecordFiles.openNameOf(record.reservationId)))
          )
        },
        open.putting
      ),
    removeOpen: (id) => Effect.suspend(() => (open.has(id) ? forgetOpen(id) : Effect.void)),
    adoptOpen: Effect.map(scan("adoptOpen", adoptAll), (adopted) => adopted.filter((isNew) => isNew).length)
  }
  return { journal, close: open.close }
}
