/**
 * The material that only tests may use, beside the project: the specification and the recorded exchanges.
 */
import { existsSync, realpathSync } from "node:fs"
import { join } from "node:path"

const beside = join(import.meta.dirname, "../../../../..", "shared")

/** Its own path where it is a link: a program under a link would not know that it is the one that was started. */
const root = existsSync(beside) ? realpathSync(beside) : beside

/** A file or folder of the shared material; `CYCLES_SPEC_DIR` may name another place for the specification. */
export const shared = (...path: ReadonlyArray<string>): string => {
  const spec = process.env["CYCLES_SPEC_DIR"]
  return spec !== undefined && path[0] === "spec" ? join(spec, ...path.slice(1)) : join(root, ...path)
}

/**
 * Whether the material is there. Where it isn't, a test says that it is skipped; with `CI=true` its absence is a failure.
 */
export const isThere = (...path: ReadonlyArray<string>): boolean => {
  if (existsSync(shared(...path))) return true
  if (process.env["CI"] === "true") throw new Error(`${path.join("/")} is missing, and CI needs it`)
  console.warn(`skipped: ${path.join("/")} is not there`)
  return false
}
