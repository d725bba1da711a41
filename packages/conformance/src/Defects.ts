/**
 * Deliberate defects: patches of the sources that the simulation must find. Each file of `defects/` has a title and one
 * or more replacements of a text that occurs exactly once. A Vite plugin applies them while the modules of a simulation
 * are loaded.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join, relative } from "node:path"

/** One replacement. */
export interface Patch {
  /** The file, relative to the repository. */
  readonly file: string
  readonly search: string
  readonly replace: string
}

/** A defect. */
export interface Defect {
  readonly name: string
  readonly title: string
  readonly patches: ReadonlyArray<Patch>
}

/** The root of the repository. */
export const root = join(import.meta.dirname, "../../..")

const folder = join(import.meta.dirname, "../defects")

/** Reads all defects, by name. */
export const all = (): ReadonlyArray<Defect> =>
  readdirSync(folder)
    .filter((file) => file.endsWith(".defect"))
    .toSorted()
    .map((file) => parse(file.replace(/\.defect$/, ""), readFileSync(join(folder, file), "utf8")))

/** Parses a file of `defects/`. Throws if it has no title or no replacement. */
export const parse = (name: string, text: string): Defect => {
  const title = /^# (.+)$/m.exec(text)?.[1]
  const patches = Array.from(
    text.matchAll(/^file: (.+)\n<<<<<<< search\n([\s\S]*?)\n=======\n([\s\S]*?)\n?>>>>>>> replace$/gm),
    ([, file = "", search = "", replace = ""]): Patch => ({ file, search, replace })
  )
  if (title === undefined || patches.length === 0) throw new Error(`the defect ${name} has no title or no replacement`)
  return { name, title, patches }
}

/** Applies the patches of a defect to the text of a file. Throws if a patch doesn't apply. */
export const apply = ({ name, patches }: Defect, file: string, text: string): string =>
  patches
    .filter((patch) => patch.file === file)
    .reduce((patched, { replace, search }) => {
      const [before = "", after, ...more] = patched.split(search)
      if (after === undefined || more.length > 0) {
        throw new Error(
          `the defect ${name} doesn't apply to ${file}: its text occurs ${after === undefined ? 0 : more.length + 1} times`
        )
      }
      return before + replace + after
    }, text)

/** Applies a defect to all of its files. Throws if a patch doesn't apply. */
export const check = (defect: Defect): void => {
  for (const file of new Set(defect.patches.map((patch) => patch.file))) {
    apply(defect, file, readFileSync(join(root, file), "utf8"))
  }
}

/** The plugin that applies a defect, and the files that it has patched so far. */
export const plugin = (defect: Defect, patched: Set<string>) => ({
  name: `defect-${defect.name}`,
  enforce: "pre" as const,
  transform: (code: string, id: string): string | undefined => {
    const file = relative(root, id.split("?")[0] ?? "")
    if (!defect.patches.some((patch) => patch.file === file)) return undefined
    patched.add(file)
    return apply(defect, file, code)
  }
})
