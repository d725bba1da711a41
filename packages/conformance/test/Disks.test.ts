/**
 * Journals on a disk that the operating system itself limits: the largest file, a full disk, a read-only disk, and a
 * folder of another user. Calls continue, spend that was reported as journaled is charged once, and the journal works
 * again after the limit is gone.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Cycles from "effect-cycles/Cycles"
import * as JournalFiles from "effect-cycles/node/JournalFiles"
import * as JournalSqlite from "effect-cycles/node/JournalSqlite"
import * as NodeTransport from "effect-cycles/node/NodeTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { execFileSync, spawn } from "node:child_process"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Line, Work } from "../src/bin/disk-worker.ts"
import * as LedgerServer from "../src/internal/ledgerServer.ts"
import { temporaryFolder } from "../src/internal/temporaryFolder.ts"

const worker = fileURLToPath(new URL("../src/bin/disk-worker.ts", import.meta.url))

/** Runs the worker, whose files have at most `fileBlocks` blocks, and returns its lines. */
const run = (work: Work, fileBlocks?: number): Effect.Effect<ReadonlyArray<Line>> =>
  Effect.promise(async () => {
    const limit = fileBlocks === undefined ? "" : `ulimit -f ${fileBlocks}; `
    const child = spawn("bash", ["-c", `${limit}exec "$@"`, "bash", process.execPath, worker, JSON.stringify(work)])
    let output = ""
    let errors = ""
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
    child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()))
    const end = await new Promise((resolve) => child.once("close", (code, signal) => resolve(code ?? signal)))
    if (end !== 0) throw new Error(`the worker ended with ${String(end)}: ${errors}`)
    return output.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line)] : []))
  })

const mounted = (folder: string): Effect.Effect<(options: string) => void, never, Scope.Scope> =>
  Effect.as(
    Effect.acquireRelease(
      Effect.sync(() => execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", folder])),
      () => Effect.sync(() => execFileSync("umount", [folder]))
    ),
    (options) => void execFileSync("mount", ["-o", `remount,${options}`, folder])
  )

/** Whether this process may mount folders. Containers of root may not be allowed to. */
const canMount = await Effect.runPromise(
  Effect.scoped(
    Effect.gen(function* () {
      if (process.platform !== "linux" || process.getuid?.() !== 0) return false
      yield* mounted(yield* temporaryFolder)
      return true
    })
  ).pipe(Effect.catchCause(() => Effect.succeed(false)))
)

if (!canMount) console.log("Disks: full and read-only disks, and other users, are skipped: they need root on Linux")

const calls = 12

const setUp = (kind: Work["kind"], folder: string) =>
  Effect.gen(function* () {
    const server = yield* LedgerServer.make
    const journal = kind === "files" ? join(folder, "journal") : join(folder, "journal", "journal.sqlite")
    mkdirSync(join(folder, "journal"), { mode: 0o700 })
    const work: Work = { ...server, baseUrl: server.url, kind, journal, run: "a", calls }
    const layer = Cycles.layer({
      baseUrl: server.url,
      apiKey: Redacted.make(server.apiKey),
      subject: { tenant: server.tenant }
    }).pipe(
      Layer.provide([
        NodeTransport.layer(),
        kind === "files" ? JournalFiles.layer({ folder: journal }) : JournalSqlite.layer({ filename: journal })
      ])
    )
    /** Charges the records of the journal with another client, and returns the names of the charged calls. */
    const charged = Effect.gen(function* () {
      yield* Effect.provide(
        Effect.gen(function* () {
          yield* Cycles.withCycles(Effect.void, {
            action: { kind: "disk", name: "later" },
            estimate: Amount.tokens(10)
          })
          yield* Cycles.flush("20 seconds")
        }),
        layer
      )
      const charges = yield* server.charges
      expect(Array.from(charges.values()).filter((amounts) => amounts.length !== 1)).toEqual([])
      return new Set(charges.keys())
    })
    return { work, charged }
  })

const journaled = (lines: ReadonlyArray<Line>): ReadonlyArray<string> =>
  lines.flatMap(({ isJournaled, name }) => (isJournaled ? [name] : []))

describe("Disks", () => {
  for (const kind of ["files", "sqlite"] as const) {
    it.live(
      `${kind}: charges all journaled spend once if files may not grow further`,
      () =>
        Effect.gen(function* () {
          const { charged, work } = yield* setUp(kind, yield* temporaryFolder)
          // The blocks of bash have 1,024 bytes: less than a large record, and less than all records in SQLite.
          const lines = yield* run(work, kind === "files" ? 8 : 64)
          expect(lines.length).toBe(calls)
          expect(journaled(lines).length).toBeGreaterThan(0)
          expect(journaled(lines).length).toBeLessThan(calls)
          expect(Array.from(yield* charged)).toEqual(expect.arrayContaining([...journaled(lines), "later"]))
        }),
      120_000
    )

    it.live.skipIf(!canMount)(
      `${kind}: charges all journaled spend once if the disk is full`,
      () =>
        Effect.gen(function* () {
          const folder = yield* temporaryFolder
          const remount = yield* mounted(folder)
          const { charged, work } = yield* setUp(kind, folder)
          remount(kind === "files" ? "size=64k" : "size=96k")
          const lines = yield* run(work)
          expect(lines.length).toBe(calls)
          expect(journaled(lines).length).toBeGreaterThan(0)
          expect(journaled(lines).length).toBeLessThan(calls)
          remount("size=4m")
          expect(Array.from(yield* charged)).toEqual(expect.arrayContaining([...journaled(lines), "later"]))
        }),
      120_000
    )

    it.live.skipIf(!canMount)(
      `${kind}: charges the spend from before the disk became read-only, and reports later spend as not journaled`,
      () =>
        Effect.gen(function* () {
          const folder = yield* temporaryFolder
          const remount = yield* mounted(folder)
          const { charged, work } = yield* setUp(kind, folder)
          const before = yield* run(work)
          expect(journaled(before).length).toBe(calls)
          remount("ro")
          const during = yield* run({ ...work, run: "b" })
          expect(during.length).toBe(calls)
          expect(journaled(during)).toEqual([])
          remount("rw")
          expect(Array.from(yield* charged)).toEqual(expect.arrayContaining([...journaled(before), "later"]))
        }),
      120_000
    )

    it.live.skipIf(!canMount)(
      `${kind}: doesn't report spend as journaled in a folder of another user`,
      () =>
        Effect.gen(function* () {
          const { charged, work } = yield* setUp(kind, yield* temporaryFolder)
          const before = yield* run(work)
          expect(journaled(before).length).toBe(calls)
          const during = yield* run({ ...work, run: "b", uid: 65_534 })
          expect(during.length).toBe(calls)
          expect(journaled(during)).toEqual([])
          expect(Array.from(yield* charged)).toEqual(expect.arrayContaining([...journaled(before), "later"]))
        }),
      120_000
    )
  }
})
