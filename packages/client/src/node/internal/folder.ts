/**
 * Folders that only their owner can read.
 */
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

/** A path with `~` for the home folder. */
export const expand = (path: string): string =>
  path === "~" || path.startsWith("~/") ? Path.join(Os.homedir(), path.slice(1)) : Path.resolve(path)

/**
 * Makes a folder, and the folders above it that are missing, with the rights 0700. Folders that are there are left alone.
 *
 * One by one: `mkdirSync` with `recursive` never returns where the system answers that the parent of a folder which is there
 * is missing, as below `/proc`.
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
}
