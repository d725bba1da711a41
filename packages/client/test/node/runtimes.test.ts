/**
 * `NodeCycles` on runtimes that lack a part of Node.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import { readdirSync } from "node:fs"
import { NodeCycles } from "effect-cycles/node"
import { afterEach, vi } from "vitest"
import { serveBridged } from "../support/bridge.ts"
import { action, tokens } from "../support/live.ts"
import { settlementOf } from "../support/settled.ts"
import { temporaryFolder } from "./support.ts"

afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
})

/** Settles a call whose commits never get a response, with the default journal in a new home folder. */
const settle = Effect.gen(function* () {
  const home = temporaryFolder()
  vi.stubEnv("HOME", home)
  const warnings: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    if (logLevel === "Warn") warnings.push(String(message))
  })
  const { apiKey, url } = yield* serveBridged((path) => (path.endsWith("/commit") ? "process and cut" : "respond"))
  const options = { action, estimate: tokens(100), actual: tokens(42) }
  const settlement = yield* settlementOf(Effect.void, options).pipe(
    Effect.provide(
      NodeCycles.layer({
        baseUrl: url,
        apiKey: Redacted.make(apiKey),
        subject: { tenant: "acme" },
        flushTimeout: "1 millis"
      }).pipe(Layer.provideMerge(Logger.layer([logger])))
    )
  )
  return { home, settlement, warnings }
})

const filesIn = (home: string): ReadonlyArray<string> =>
  readdirSync(home, { recursive: true })
    .map(String)
    .filter((name) => /\.(json|sqlite)$/.test(name))

describe("NodeCycles", () => {
  describe("default journal", () => {
    it.live("is in SQLite", () =>
      Effect.gen(function* () {
        const { home, settlement, warnings } = yield* settle
        expect(settlement).toMatchObject({ _tag: "Pending", isJournaled: true })
        expect(filesIn(home)).toEqual([".effect-cycles/journal.sqlite"])
        expect(warnings.filter((warning) => warning.includes("node:sqlite"))).toEqual([])
      })
    )

    it.live("is in files, with a warning, if the runtime has no node:sqlite", () =>
      Effect.gen(function* () {
        const original = process.getBuiltinModule
        vi.spyOn(process, "getBuiltinModule").mockImplementation((id: string) =>
          id === "node:sqlite" ? undefined : original(id)
        )
        const { home, settlement, warnings } = yield* settle
        expect(settlement).toMatchObject({ _tag: "Pending", isJournaled: true })
        expect(filesIn(home)).toEqual([expect.stringMatching(/^\.runcycles\/commit-journal\/[^/]+\/[^/]+\.json$/)])
        expect(warnings).toContainEqual(expect.stringContaining("This runtime has no node:sqlite"))
      })
    )
  })
})
