/**
 * A folder for journals and data files on the disk of this repository. A temporary folder may be in memory, where durable
 * writes cost nothing.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

/** Creates a folder, which is removed when the scope closes. */
export const make: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => {
    const build = fileURLToPath(new URL("../../build/", import.meta.url))
    mkdirSync(build, { recursive: true })
    return mkdtempSync(join(build, "run-"))
  }),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)
