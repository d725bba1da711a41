/** Durable file operations. Other processes may remove the files at any time. */
import * as Predicate from "effect/Predicate"
import { randomBytes } from "node:crypto"
import type { Stats } from "node:fs"
import { constants } from "node:fs"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"

/** Writes a temporary file durably and passes its path to `place`, which moves it. Removes the file if that fails. */
export const writeTemporary = async (
  folder: string,
  text: string,
  place: (path: string) => Promise<unknown>
): Promise<void> => {
  const path = Path.join(folder, `${process.pid}.${randomBytes(8).toString("hex")}${extension}`)
  const file = await Fs.open(path, "wx", 0o600)
  try {
    try {
      await file.chmod(0o600)
      await file.writeFile(text, "utf8")
      await file.sync()
    } finally {
      await file.close()
    }
    await place(path)
  } catch (error) {
    await discard(path)
    throw error
  }
}

/** Removes temporary files older than an hour, which belong to dead processes. */
export const removeOldTemporaries = async (folder: string): Promise<void> => {
  for (const name of await list(folder)) {
    if (!isTemporary(name)) continue
    const path = Path.join(folder, name)
    const { mtimeMs } = await Fs.stat(path).catch(() => ({ mtimeMs: Date.now() }))
    if (Date.now() - mtimeMs > hourMs) await discard(path)
  }
}

/** Whether a file name is that of a temporary file. */
export const isTemporary = (name: string): boolean => name.endsWith(extension)

const extension = ".tmp"

const hourMs = 3_600_000

/** Moves a file durably, and replaces an existing one. */
export const move = async (from: string, to: string): Promise<void> => {
  await Fs.rename(from, to)
  await syncFolder(Path.dirname(to))
}

/** Moves a file durably if the name is free. Returns false if it isn't. */
export const moveToFree = async (from: string, to: string): Promise<boolean> => {
  try {
    await Fs.link(from, to)
    await discard(from)
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false
    // Not every file system has hard links. Without them, another process may take the name in between.
    if (codeOf(error) === "ENOENT") throw error
    if (await exists(to)) return false
    await Fs.rename(from, to)
  }
  await syncFolder(Path.dirname(to))
  return true
}

/** Makes the entries of a folder durable. Windows can't sync folders, and doesn't need to. */
const syncFolder = async (folder: string): Promise<void> => {
  if (process.platform === "win32") return
  const handle = await Fs.open(folder, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Renames a file, unless another scan or process has removed it. */
export const rename = (from: string, to: string): Promise<void> => Fs.rename(from, to).catch(ignoreMissing)

/** Removes a file, if it exists. */
export const unlink = (path: string): Promise<void> => Fs.unlink(path).catch(ignoreMissing)

/** Removes a file and ignores failures. */
export const discard = (path: string): Promise<void> => Fs.unlink(path).catch(() => {})

/** Removes an empty folder and ignores failures. */
export const discardFolder = (path: string): Promise<void> => Fs.rmdir(path).catch(() => {})

/**
 * The text of a file; undefined if it doesn't exist. Fails for anything but a regular file of at most 16 MiB: a device
 * has no end, and opening a pipe would wait for its writer forever.
 */
export const readText = async (path: string): Promise<string | undefined> => {
  try {
    const file = await Fs.open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
    try {
      const problem = problemOf(await file.stat())
      if (problem !== undefined) throw new Error(problem)
      return await file.readFile("utf8")
    } finally {
      await file.close()
    }
  } catch (error) {
    ignoreMissing(error)
    return undefined
  }
}

/**
 * Why a file can't be read as a record. A record with the largest metadata has a few MiB. For a folder,
 * the read itself fails.
 */
export const problemOf = (stats: Stats): string | undefined => {
  if (!stats.isFile() && !stats.isDirectory()) return "it isn't a regular file"
  return stats.size > maxBytes ? `it has more than ${maxBytes} bytes` : undefined
}

const maxBytes = 16 * 1_048_576

/** The names in a folder; none if it doesn't exist. */
export const list = (folder: string): Promise<ReadonlyArray<string>> =>
  Fs.readdir(folder).catch((error: unknown) => {
    ignoreMissing(error)
    return []
  })

/** Whether a path exists. */
export const exists = (path: string): Promise<boolean> =>
  Fs.lstat(path).then(
    () => true,
    (error: unknown) => {
      ignoreMissing(error)
      return false
    }
  )

/** Whether an error means that a file or one of its folders doesn't exist. */
export const isMissing = (error: unknown): boolean =>
  ["ENOENT", "ENOTDIR", "ENAMETOOLONG"].some((code) => code === codeOf(error))

const ignoreMissing = (error: unknown): void => {
  if (!isMissing(error)) throw error
}

const codeOf = (error: unknown): unknown => (Predicate.hasProperty(error, "code") ? error.code : undefined)
