/**
 * The files journal on a file system without hard links.
 */
import { vi } from "vitest"
import { JournalFiles } from "effect-cycles/node"
import { journalSuite } from "../suites/journalSuite.ts"
import { temporaryFolder } from "./support.ts"

vi.mock("node:fs/promises", async (original) => ({
  ...(await original<typeof import("node:fs/promises")>()),
  link: () => Promise.reject(Object.assign(new Error("EPERM: operation not permitted, link"), { code: "EPERM" }))
}))

journalSuite("files without links", () => JournalFiles.layer({ folder: temporaryFolder() }))
