/** The specification and the recorded exchanges, which are stored outside of the repository and used only by tests. */
import { existsSync, realpathSync } from "node:fs"
import { join } from "node:path"

const beside = join(import.meta.dirname, "../../../../..", "shared")

/**
 * Symbolic links are resolved: a program that is started through a link doesn't recognize itself as the main module.
 */
const root = existsSync(beside) ? realpathSync(beside) : beside

/** Returns the path of a file or folder. `CYCLES_SPEC_DIR` overrides the folder of the specification. */
export const shared = (...path: ReadonlyArray<string>): string => {
  const spec = process.env["CYCLES_SPEC_DIR"]
  return spec !== undefined && path[0] === "spec" ? join(spec, ...path.slice(1)) : join(root, ...path)
}

/**
 * Returns whether a file exists. If not, a warning says which tests are skipped. With `CYCLES_REQUIRE_SHARED=1` its
 * absence is an error, so that a machine that has the files can't skip them by mistake.
 */
export const isThere = (...path: ReadonlyArray<string>): boolean => {
  if (existsSync(shared(...path))) return true
  if (process.env["CYCLES_REQUIRE_SHARED"] === "1") {
    throw new Error(`${shared(...path)} is missing, and CYCLES_REQUIRE_SHARED=1 requires it`)
  }
  console.warn(`skipped: the tests that read ${path.join("/")}, which isn't in the public repository`)
  return false
}
