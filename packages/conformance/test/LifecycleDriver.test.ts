import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as FaultServer from "../src/FaultServer.ts"
import * as HabitServer from "../src/HabitServer.ts"
import * as LifecycleDriver from "../src/LifecycleDriver.ts"
import { runProgram } from "../src/internal/program.ts"

const tokens = (amount: number) => ({ unit: "TOKENS", amount })

/** Reads a story, as it is written on standard input. */
const read = (story: object) =>
  LifecycleDriver.read(JSON.stringify({ baseUrl: "http://127.0.0.1:1", apiKey: "k", form: "withCycles", ...story }))

/** What is wrong with a story. */
const problemOf = (story: object) => Effect.map(Effect.flip(read(story)), ({ problem }) => problem)

/** Runs a story against a server that does as it is told, and tells what that saw. */
const play = (story: object, ...script: ReadonlyArray<readonly [string, FaultServer.Reaction]>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const server = yield* FaultServer.make()
      for (const [operation, reaction] of script) server.script(operation, reaction)
      const outcome = yield* Effect.flatMap(read({ baseUrl: server.url, ...story }), LifecycleDriver.run)
      return { outcome, seen: server.seen() }
    })
  )

/** A file, for as long as a scope is open. */
const file = Effect.acquireRelease(
  Effect.sync(() => {
    const folder = mkdtempSync(join(tmpdir(), "effect-cycles-driver-"))
    const path = join(folder, "file")
    writeFileSync(path, "")
    return { folder, path }
  }),
  ({ folder }) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/** The one line that the driver prints. */
const drive = (story: object) =>
  Effect.map(
    runProgram("lifecycle-driver", [], JSON.stringify({ apiKey: "k", form: "withCycles", ...story })),
    ({ code, stderr, stdout }) => {
      expect(stdout).toMatch(/^\{.*\}\n$/)
      const answer: Readonly<Record<string, unknown>> = JSON.parse(stdout)
      return { answer, code, stderr }
    }
  )

describe("LifecycleDriver", () => {
  describe("read", () => {
    it.effect("takes names in camelCase and in snake_case, and null as absent", () =>
      Effect.gen(function* () {
        expect(yield* read({ ttl_ms: 5_000, journalKind: "files", journal_kind: null, journal: null })).toEqual(
          yield* read({ ttlMs: 5_000, journalKind: "files" })
        )
      })
    )

    it.effect("names a field that it does not know, and those that it does", () =>
      Effect.gen(function* () {
        const problem = yield* problemOf({ ttl: 5_000 })
        expect(problem).toContain("ttl is no field of a story")
        expect(problem).toContain("ttlMs")
        expect(yield* problemOf({ toString: 1 })).toContain("toString is no field")
        expect(yield* problemOf({ actual: { ...tokens(1), currency: "USD" } })).toContain("actual.currency")
      })
    )

    it.effect("names each field that it can't read", () =>
      Effect.gen(function* () {
        const problem = yield* problemOf({ ttlMs: -1, end: "never", estimate: { unit: "TOKENS" }, apiKey: null })
        for (const field of ["ttlMs", "end", "estimate.amount", "apiKey"]) expect(problem).toContain(`${field} must be`)
      })
    )

    it.effect.each([
      [{ ttlMs: 5_000, ttl_ms: 5_000 }, "ttlMs is given twice"],
      [{ elements: [tokens(1)] }, "elements are for the form stream, not for withCycles"],
      [{ form: "stream", elements: [tokens(1)], actual: tokens(1) }, "elements and actual exclude each other"],
      [{ form: "stream", record: tokens(1) }, "record is not for the form stream: it has elements"]
    ] as const)("refuses what it would not do: %j", ([story, problem]) =>
      Effect.gen(function* () {
        expect(yield* problemOf(story)).toBe(problem)
      })
    )

    it.effect.each(["", "{", "[]", "null", "7"])("refuses %j", (text) =>
      Effect.gen(function* () {
        expect((yield* Effect.flip(LifecycleDriver.read(text))).problem).toMatch(/^the story /)
      })
    )
  })

  describe("run", () => {
    it.live.each(["withCycles", "reserve", "stream"] as const)(
      "sends what the lifecycle sends and nothing else, without a tenant: %s",
      (form) =>
        Effect.gen(function* () {
          const { outcome, seen } = yield* play({ form, actual: tokens(42) })
          expect(seen.map(({ operation }) => operation)).toEqual(["reserve", "commit"])
          expect(seen[0]?.body["subject"]).toEqual({ app: "lifecycle-driver" })
          expect([outcome.exit, outcome.settlement?._tag]).toEqual(["Success", "Committed"])
          expect(outcome.settlements).toHaveLength(1)
        })
    )

    it.live("says whose spend it is by tenant and subject", () =>
      Effect.gen(function* () {
        const { seen } = yield* play({ tenant: "acme", subject: { agent: "planner" } })
        expect(seen[0]?.body["subject"]).toEqual({ tenant: "acme", agent: "planner" })
      })
    )

    it.live("tells the settlement of an act that failed after spending", () =>
      Effect.gen(function* () {
        const { outcome } = yield* play({ form: "reserve", record: tokens(42), end: "failure" })
        expect([outcome.exit, outcome.errors, outcome.settlement?._tag]).toEqual([
          "Failure",
          ["BodyFailed"],
          "Committed"
        ])
      })
    )

    it.live("does not wait for an interrupt when the act has ended before", () =>
      Effect.gen(function* () {
        const { outcome } = yield* play({ end: "interrupt", interruptAfterMs: 600_000 }, [
          "reserve",
          FaultServer.refuse(409, "BUDGET_EXCEEDED")
        ])
        expect([outcome.exit, outcome.errors, outcome.settlement]).toEqual(["Failure", ["BudgetExceeded"], null])
      })
    )

    it.live("interrupts the act", () =>
      Effect.gen(function* () {
        const { outcome, seen } = yield* play({ end: "interrupt", bodyMs: 50 })
        expect([outcome.exit, outcome.errors, outcome.settlement?._tag]).toEqual(["Interrupted", [], "Released"])
        expect(seen.map(({ operation }) => operation)).toEqual(["reserve", "release"])
      })
    )

    it.live.each([
      [{ baseUrl: "nonsense" }, "baseUrl"],
      [{ apiKey: "with space" }, "apiKey"],
      [{ timeoutMs: 0 }, "timeout"]
    ] as const)("fails where the client can't be made: %j", ([story, field]) =>
      Effect.gen(function* () {
        const { problem } = yield* Effect.flip(Effect.flatMap(read(story), LifecycleDriver.run))
        expect(problem).toContain(`${field} must be`)
      })
    )
  })

  describe("the program", () => {
    it.live("prints one line and exits with 0 when no server answers", () =>
      Effect.gen(function* () {
        const { answer, code } = yield* drive({ baseUrl: "http://127.0.0.1:1" })
        expect([code, answer["exit"], answer["errors"]]).toEqual([0, "Failure", ["TransportError"]])
      })
    )

    it.live("prints one line and exits with 0 when the key is wrong", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { url } = yield* HabitServer.make({ keyCheckMs: 0 })
          const { answer, code } = yield* drive({ baseUrl: url })
          expect([code, answer["exit"], answer["errors"]]).toEqual([0, "Failure", ["ApiError"]])
        })
      )
    )

    it.live.each(["sqlite", "files"])("prints one line and exits with 0 when the journal can't be made: %s", (kind) =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* FaultServer.make()
          const journal = join((yield* file).path, "journal")
          const { answer, code, stderr } = yield* drive({ baseUrl: server.url, journal, journalKind: kind })
          expect([code, answer["exit"]]).toEqual([0, "Success"])
          expect(stderr).toMatch(/The settlement journal (could not be opened|failed)/)
        })
      )
    )

    it.live("prints one line and exits with 0 when the body dies", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* FaultServer.make()
          const { answer, code } = yield* drive({ baseUrl: server.url, end: "die" })
          expect([code, answer["exit"], answer["errors"]]).toEqual([0, "Died", ["BodyDied"]])
        })
      )
    )

    it.live("prints one line that names the field, and exits with 2, when the story is bad", () =>
      Effect.gen(function* () {
        const { answer, code, stderr } = yield* drive({ baseUrl: "http://127.0.0.1:1", ttl: 1 })
        expect([code, answer["exit"]]).toEqual([2, "Refused"])
        expect(stderr).toContain("ttl is no field")
      })
    )
  })

  describe("the README", () => {
    const page = readFileSync(join(import.meta.dirname, "../README.md"), "utf8")
    const [section = ""] = page.slice(page.indexOf("## lifecycle-driver")).split(/^## (?!lifecycle-driver)/m)

    it("explains every field of a story, in its order", () => {
      const rows = Array.from(section.matchAll(/^\| `(\w+)` /gm), ([, name]) => name)
      const fields = Object.keys(LifecycleDriver.Story.fields)
      expect(rows.slice(0, fields.length)).toEqual(fields)
      expect(rows.slice(fields.length)).toEqual(["exit", "errors", "settlement", "settlements", "flush", "elapsedMs"])
    })

    it.live("has an example that comes out as it says", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const [example, expected] = Array.from(section.matchAll(/^```json\n([\s\S]*?)^```$/gm), ([, text = ""]) => {
            const json: Readonly<Record<string, unknown>> = JSON.parse(text)
            return json
          })
          const { server, url } = yield* HabitServer.make({
            keyCheckMs: 0,
            budgets: [{ unit: "TOKENS", allocated: 10_000 }]
          })
          const { answer, code } = yield* drive({
            ...example,
            baseUrl: url,
            apiKey: Redacted.value(server.apiKey),
            tenant: server.tenant
          })
          const told = (line: unknown) =>
            JSON.parse(
              JSON.stringify(line, (name, value: unknown) =>
                ["reservationId", "elapsedMs"].includes(name) ? typeof value : value
              )
            )
          expect(code).toBe(0)
          expect(told(answer)).toEqual(told(expected))
        })
      )
    )
  })
})
