/** Which owners of open records are alive, by their lock files. */
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as OwnerLock from "../../ownerLock.ts"
import * as Sqlite from "../../sqlite.ts"

/** The ids of the owners whose locks are held. A lock that can't be checked counts as held. */
export const living = (folder: string): ReadonlySet<string> =>
  new Set(
    list(folder).filter((id) => {
      if (!Sqlite.isAvailable()) return true
      const lock = OwnerLock.lockDead(folder, id)
      lock?.release(false)
      return lock === undefined
    })
  )

/** The ids of all lock files. */
const list = (folder: string): ReadonlyArray<string> => {
  const names = Fs.existsSync(folder) ? Fs.readdirSync(folder) : []
  return names.flatMap((name) => {
    const id = Path.basename(name, ".lock")
    return name.endsWith(".lock") && OwnerLock.isId(id) ? [id] : []
  })
}

/** The reason why a journal counts as in use. */
export const describe = (living: ReadonlySet<string>): string =>
  living.size === 1
    ? "a running process has open records in it"
    : `${living.size} running processes have open records in it`
