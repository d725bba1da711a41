import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { JournalFiles, JournalSqlite } from "effect-cycles/node"
import { chmodSync, readdirSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { vi } from "vitest"
import * as Folder from "../../src/node/internal/folder.ts"
import { using } from "../suites/durableSuite.ts"
import { owner, record } from "./records.ts"
import { temporaryFolder } from "./support.ts"

const allFiles = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)

const rights = (path: string) => statSync(path).mode & 0o777

describe("folder", () => {
  it("creates missing folders for their owner only, whatever the umask, and leaves existing ones unchanged", () => {
    const above = temporaryFolder()
    chmodSync(above, 0o755)
    const before = process.umask(0)
    try {
      Folder.make(join(above, "a", "b"))
    } finally {
      process.umask(before)
    }
    expect(rights(join(above, "a", "b"))).toBe(0o700)
    expect(rights(join(above, "a"))).toBe(0o700)
    expect(rights(above)).toBe(0o755)
    Folder.make(above)
    expect(rights(above)).toBe(0o755)
  })

  it("reports why a folder can't be created, even if the system reports a missing parent", () => {
    const file = join(temporaryFolder(), "file")
    writeFileSync(file, "")
    expect(() => Folder.make(join(file, "a", "b"))).toThrow("ENOTDIR")
    expect(() => Folder.make("/proc/nope/a/b")).toThrow(/ENOENT|EACCES|EPERM|EROFS/)
  })

  it.live("uses the folder in HOME, or the home folder of the user if HOME is empty or missing", () =>
    Effect.gen(function* () {
      const home = temporaryFolder()
      vi.stubEnv("HOME", home)
      yield* using(JournalSqlite.layer(), (journal) => journal.put(record("r1")))
      expect(statSync(join(home, ".effect-cycles", "journal.sqlite")).isFile()).toBe(true)
      yield* using(JournalFiles.layer(), (journal) => journal.put(record("r1")))
      expect(allFiles(join(home, ".runcycles", "commit-journal", owner.fingerprint))).toHaveLength(1)
      vi.stubEnv("HOME", undefined)
      expect(Folder.expand("~/x")).toMatch(/^\/.+\/x$/)
      vi.stubEnv("HOME", "")
      expect(Folder.expand("~/x")).toMatch(/^\/.+\/x$/)
    }).pipe(Effect.ensuring(Effect.sync(() => vi.unstubAllEnvs())))
  )
})
