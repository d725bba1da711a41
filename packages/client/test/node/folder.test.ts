import { describe, expect, it } from "@effect/vitest"
import { chmodSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Folder from "../../src/node/internal/folder.ts"
import { temporaryFolder } from "./support.ts"

const rights = (path: string) => statSync(path).mode & 0o777

describe("folder", () => {
  it("makes what is missing for its owner alone, whatever the umask, and leaves the rest as it is", () => {
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

  it("says why a folder can't be made, also where the system denies that the parent is there", () => {
    const file = join(temporaryFolder(), "file")
    writeFileSync(file, "")
    expect(() => Folder.make(join(file, "a", "b"))).toThrow("ENOTDIR")
    expect(() => Folder.make("/proc/nope/a/b")).toThrow(/ENOENT|EACCES|EPERM|EROFS/)
  })
})
