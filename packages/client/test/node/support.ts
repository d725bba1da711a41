/**
 * Folders that are removed after the test.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "vitest"

const folders: Array<string> = []

afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })))

/** A new folder. */
export const temporaryFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "effect-cycles-test-"))
  folders.push(folder)
  return folder
}
