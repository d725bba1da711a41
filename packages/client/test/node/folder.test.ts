import { describe, expect, it } from "@effect/vitest"
import { chmodSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Folder from "../../src/node/internal/folder.ts"
import { temporaryFolder } from "./support.ts"

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
})
