/** Paths, and folders that only their owner can read. */
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

/** Returns an absolute path, with `~` expanded. Throws if the path starts with `~` and there is no home folder. */
export const expand = (path: string): string =>
  path === "~" || path.startsWith("~/") ? Path.join(home(), path.slice(1)) : Path.resolve(path)

/**
 * The home folder: `HOME` (`USERPROFILE` on Windows), or else the entry of the user database.
 *
 * It doesn't use `UserDirectories`, which fails without `HOME` and reads it from the `ConfigProvider`. A provider that
 * renames or nests variables would move the journal.
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
 * Creates a folder and its missing parents with permissions 0700. Existing folders aren't changed.
 *
 * It creates them one by one: `mkdirSync` with `recursive` never returns if the system reports that the parent of an
 * existing folder is missing, as under `/proc`.
 */
export const make = (folder: string): void => {
  if (Fs.existsSync(folder)) return
  const parent = Path.dirname(folder)
  if (parent !== folder) make(parent)
  try {
    Fs.mkdirSync(folder, { mode: 0o700 })
  } catch (error) {
    // Another process may have created it in the meantime.
    if (!Fs.existsSync(folder)) throw error
  }
  sync(parent)
}

/** Makes the entries of a folder durable, if the system can sync folders. */
const sync = (folder: string): void => {
  try {
    const descriptor = Fs.openSync(folder, "r")
    try {
      Fs.fsyncSync(descriptor)
    } finally {
      Fs.closeSync(descriptor)
    }
  } catch {
    // Windows can't sync folders and doesn't need to. Elsewhere, a parent may be unreadable.
  }
}

/** Renames a folder, if it exists. */
export const rename = (from: string, to: string): void => {
  if (Fs.existsSync(from)) Fs.renameSync(from, to)
}

/** The device and inode of a file; undefined if it doesn't exist. */
export const identityOf = (path: string): string | undefined => {
  const stats = statOf(path)
  return stats === undefined ? undefined : `${stats.dev}:${stats.ino}`
}

/** Same as `statSync`; undefined if the path doesn't exist or isn't accessible. */
export const statOf = (path: string): Fs.Stats | undefined => {
  try {
    return Fs.statSync(path, { throwIfNoEntry: false })
  } catch {
    return undefined
  }
}
