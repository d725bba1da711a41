/**
 * Paths and folders that only their owner can read.
 */
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

/** A path with `~` for the home folder. Throws if there is no home folder. */
export const expand = (path: string): string =>
  path === "~" || path.startsWith("~/") ? Path.join(home(), path.slice(1)) : Path.resolve(path)

/**
 * The home folder: `HOME` (`USERPROFILE` on Windows), or else that of the user in the system's list of users.
 *
 * Not `UserDirectories`: it fails without `HOME`, and reads it from the `ConfigProvider`, which may nest or rename variables;
 * the journal would then be in another place than before.
 */
const home = (): string => {
  const known = [Os.homedir, () => Os.userInfo().homedir].map(attempt).find((path) => Path.isAbsolute(path))
  if (known === undefined) throw new Error("there is no home folder: set HOME, or configure the journal's path")
  return known
}

const attempt = (f: () => string): string => {
  try {
    return f()
  } catch {
    return ""
  }
}

/**
 * Makes a folder, and the folders above it that are missing, with the rights 0700. Existing folders are left alone.
 *
 * One by one: `mkdirSync` with `recursive` never returns if the system reports that the parent of an existing folder is
 * missing, as below `/proc`.
 */
export const make = (folder: string): void => {
  if (Fs.existsSync(folder)) return
  const parent = Path.dirname(folder)
  if (parent !== folder) make(parent)
  try {
    Fs.mkdirSync(folder, { mode: 0o700 })
  } catch (error) {
    // Another process may have made it in the meantime.
    if (!Fs.existsSync(folder)) throw error
  }
  sync(parent)
}

/** Makes the entries of a folder durable, if the system can do that for folders. */
const sync = (folder: string): void => {
  try {
    const descriptor = Fs.openSync(folder, "r")
    try {
      Fs.fsyncSync(descriptor)
    } finally {
      Fs.closeSync(descriptor)
    }
  } catch {
    // Windows can't, and needs not; nor can everyone read every parent.
  }
}

/** Renames a folder, if it is there. */
export const rename = (from: string, to: string): void => {
  if (Fs.existsSync(from)) Fs.renameSync(from, to)
}

/** Which file is at a path: device and inode. Undefined if there is none. */
export const identityOf = (path: string): string | undefined => {
  const stats = statOf(path)
  return stats === undefined ? undefined : `${stats.dev}:${stats.ino}`
}

/** As `statSync`; undefined if there is nothing at the path, or nothing that can be reached. */
export const statOf = (path: string): Fs.Stats | undefined => {
  try {
    return Fs.statSync(path, { throwIfNoEntry: false })
  } catch {
    return undefined
  }
}
