/**
 * Folders that only their owner can read.
 */
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

/** A path with `~` for the home folder. */
export const expand = (path: string): string =>
  path === "~" || path.startsWith("~/") ? Path.join(Os.homedir(), path.slice(1)) : Path.resolve(path)

/** Makes a folder with the rights 0700, whatever the umask. Folders above it are made where they are missing, and left alone. */
export const make = (folder: string): void => {
  if (Fs.existsSync(folder)) return
  Fs.mkdirSync(Path.dirname(folder), { recursive: true })
  try {
    Fs.mkdirSync(folder, { mode: 0o700 })
  } catch (error) {
    // Another process may have made it in the meantime.
    if (!Fs.existsSync(folder)) throw error
  }
  Fs.chmodSync(folder, 0o700)
}
