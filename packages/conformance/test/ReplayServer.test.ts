import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { join } from "node:path"
import * as ReplayServer from "../src/ReplayServer.ts"
import { isThere, shared } from "../src/internal/specFiles.ts"
import { temporaryFolder } from "../src/internal/temporaryFolder.ts"

const tool = ["tools", "replay-exchanges.mjs"]

const replay = (data: string | undefined) =>
  Effect.scoped(
    Effect.gen(function* () {
      const running = yield* ReplayServer.make({ port: 0, adminPort: 0, hookPort: 0, adminKey: "K", data })
      return yield* Effect.callback<string>((resume) => {
        execFile(
          process.execPath,
          [
            shared(...tool),
            "--runtime",
            running.url,
            "--admin",
            running.adminUrl,
            "--admin-key",
            "K",
            "--hook",
            running.hookUrl,
            "--skip-quirks",
            "--concurrency",
            "8",
            shared("reference", "exchanges")
          ],
          { maxBuffer: 64 * 1_048_576 },
          (_error, stdout) => resume(Effect.succeed(stdout))
        )
      })
    })
  )

describe.skipIf(!isThere(...tool))("recorded exchanges of the reference server", () => {
  it.live.each(["memory", "SQLite"])(
    "get the same responses from the embedded server (%s)",
    (kind) =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const output = yield* replay(kind === "SQLite" ? join(folder, "ledger.sqlite") : undefined)
        const last = output.trimEnd().split("\n").at(-1) ?? ""
        const [passed = 0, failed = -1] = last.match(/\d+/g)?.map(Number) ?? []
        expect([failed, failed === 0 ? "" : output]).toEqual([0, ""])
        expect(passed).toBeGreaterThan(150)
      }),
    180_000
  )
})
