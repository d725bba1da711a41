/** Damages files of a folder: any bytes, links, folders and pipes in their place, permissions, deletion, huge sizes. */
import * as Schema from "effect/Schema"
import { execFileSync } from "node:child_process"
import {
  chmodSync,
  copyFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { basename, dirname, join } from "node:path"
import { choose, Mutations, mutate, mutateBytes, valueOf } from "./json.ts"

/** One damage. */
export const Damage = Schema.Struct({
  kind: Schema.Literals([
    "bytes",
    "bytes",
    "json",
    "json",
    "empty",
    "random",
    "half",
    "remove",
    "remove folder",
    "folder",
    "link to itself",
    "dangling link",
    "link to endless zeros",
    "link to a full disk",
    "link to its folder",
    "pipe",
    "huge",
    "no permission",
    "no permission for the folder",
    "copy",
    "hard link",
    "rename",
    "swap",
    "strangers",
    "file in place of the folder",
    "another program's file"
  ]),
  /** The file, modulo the number of files. */
  file: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })),
  mutations: Mutations
})

export type Damage = typeof Damage.Type

/**
 * The regular files below a folder, in the order of their names, without those that are huge already. It doesn't follow
 * links.
 */
export const filesBelow = (folder: string): ReadonlyArray<string> => {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .flatMap((entry) => {
        const path = join(folder, entry.name)
        if (entry.isDirectory()) return filesBelow(path)
        return entry.isFile() && lstatSync(path).size < 100_000_000 ? [path] : []
      })
  } catch {
    return []
  }
}

/**
 * Whether an open journal notices the damage: a file was removed, replaced or truncated. Nothing notices that another
 * program has written other bytes to a file of the same size.
 */
export const isNoticed = ({ kind }: Damage): boolean => !unnoticed.has(kind)

const unnoticed: ReadonlySet<Damage["kind"]> = new Set([
  "bytes",
  "json",
  "random",
  "huge",
  "swap",
  "another program's file"
])

/** Damages a folder. Returns the files whose content may have changed; undefined if that may be all of them. */
export const damage = (
  folder: string,
  { file, kind, mutations }: Damage,
  isOpen: boolean
): ReadonlyArray<string> | undefined => {
  // SQLite maps its index of the log into memory. If another program truncates it, the operating system ends the
  // process.
  const files = filesBelow(folder).filter((path) => !isOpen || !path.endsWith("-shm"))
  if (files.length === 0) return []
  const path = choose(files, file)
  const other = choose(files, file + 1)
  const replace = (make: () => void): ReadonlyArray<string> => {
    rmSync(path, { recursive: true, force: true })
    make()
    return [path]
  }
  switch (kind) {
    case "bytes":
      writeFileSync(path, mutateBytes(readFileSync(path), mutations))
      return [path]
    case "json":
      writeFileSync(path, mutate(valueOf(readFileSync(path, "utf8")), mutations))
      return [path]
    case "empty":
      truncateSync(path, 0)
      return [path]
    case "random":
      writeFileSync(path, Buffer.from(Array.from({ length: 300 }, (_, i) => (i * 167 + file * 31) & 255)))
      return [path]
    case "half":
      truncateSync(path, lstatSync(path).size >> 1)
      return [path]
    case "remove":
      rmSync(path)
      return [path]
    case "remove folder":
      rmSync(folder, { recursive: true, force: true })
      return undefined
    case "folder":
      return replace(() => mkdirSync(join(path, "nested"), { recursive: true }))
    case "link to itself":
      return replace(() => symlinkSync(path, path))
    case "dangling link":
      return replace(() => symlinkSync(join(folder, "nothing"), path))
    case "link to endless zeros":
      return replace(() => symlinkSync("/dev/zero", path))
    case "link to a full disk":
      return replace(() => symlinkSync("/dev/full", path))
    case "link to its folder":
      return replace(() => symlinkSync(folder, path))
    case "pipe":
      return replace(() => execFileSync("mkfifo", [path]))
    case "huge":
      truncateSync(path, 1_500_000_000)
      return [path]
    case "no permission":
      chmodSync(path, 0)
      return [path]
    case "no permission for the folder":
      chmodSync(dirname(path), 0)
      return undefined
    case "copy":
      copyFileSync(path, join(dirname(path), `copy-${basename(path)}`))
      return []
    case "hard link":
      rmSync(join(dirname(path), `link-${basename(path)}`), { force: true })
      linkSync(path, join(dirname(path), `link-${basename(path)}`))
      // A later damage of the link damages the file.
      return [path]
    case "rename":
      renameSync(path, join(dirname(path), `other-${basename(path)}`))
      return [path]
    case "swap":
      if (path === other) return []
      renameSync(path, `${path}.swap`)
      renameSync(other, path)
      renameSync(`${path}.swap`, other)
      return [path, other]
    case "strangers":
      strangers.forEach((name) => writeFileSync(join(dirname(path), name), "{"))
      mkdirSync(join(dirname(path), "folder.json"), { recursive: true })
      return []
    case "file in place of the folder":
      rmSync(folder, { recursive: true, force: true })
      writeFileSync(folder, "in the way")
      return undefined
    case "another program's file":
      writeFileSync(path, "SQLite format 3\u0000".padEnd(4_096, "\u0000"))
      return [path]
  }
}

const strangers = [
  ".hidden",
  "a b.json",
  "é.json",
  "v2-.json",
  `v2-${"0".repeat(64)}.json`,
  "x.tmp",
  "x.corrupt",
  "-rf",
  "journal.sqlite.v1.bak"
]

/** Makes a damaged folder removable. */
export const restore = (folder: string): void => {
  try {
    if (!lstatSync(folder).isDirectory()) return
    chmodSync(folder, 0o700)
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) restore(join(folder, entry.name))
    }
  } catch {
    // It is removed already.
  }
}
