import { Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as FaultServer from "../src/FaultServer.ts"
import * as QuirkServer from "../src/QuirkServer.ts"
import * as LifecycleDriver from "../src/LifecycleDriver.ts"
import { runProgram } from "../src/internal/program.ts"
import { temporaryFolder } from "../src/internal/temporaryFolder.ts"

const tokens = (amount: number) => ({ unit: "TOKENS", amount })

/** Reads a spec, as it is written on standard input. */
const read = (spec: object) =>
  LifecycleDriver.read(JSON.stringify({ baseUrl: "http://127.0.0.1:1", apiKey: "k", form: "withCycles", ...spec }))

/** The problem of an invalid input. */
const problemOf = (spec: object) => Effect.map(Effect.flip(read(spec)), ({ problem }) => problem)

/** A server, and the fields with which the driver uses it. */
const serve = Effect.map(FaultServer.make(), (server) => ({
  ...server,
  spec: { baseUrl: server.url, apiKey: Redacted.value(server.server.apiKey), tenant: server.server.tenant }
}))

/** Runs a spec against a server, with a fault for the first reserve. Returns the outcome and the requests. */
const play = (spec: object, fault: Fault.Fault = Fault.none) =>
  Effect.scoped(
    Effect.gen(function* () {
      const server = yield* serve
      yield* server.inject("reserve", fault)
      const outcome = yield* Effect.flatMap(read({ ...server.spec, ...spec }), LifecycleDriver.run)
      return { outcome, received: server.received() }
    })
  )

/** A file, for as long as a scope is open. */
const file = Effect.map(temporaryFolder, (folder) => {
  const path = join(folder, "file")
  writeFileSync(path, "")
  return path
})

/** The one line that the driver prints. */
const drive = (spec: object) =>
  Effect.map(
    runProgram("lifecycle-driver", [], JSON.stringify({ apiKey: "k", form: "withCycles", ...spec })),
    ({ code, stderr, stdout }) => {
      expect(stdout).toMatch(/^\{.*\}\n$/)
      const output: Readonly<Record<string, unknown>> = JSON.parse(stdout)
      return { output, code, stderr }
    }
  )

describe("LifecycleDriver", () => {
  describe("read", () => {
    it.effect("accepts names in camelCase and snake_case, and null as absent", () =>
      Effect.gen(function* () {
        expect(yield* read({ ttl_ms: 5_000, journalKind: "files", journal_kind: null, journal: null })).toEqual(
          yield* read({ ttlMs: 5_000, journalKind: "files" })
        )
      })
    )

    it.effect("names an unknown field and the known ones", () =>
      Effect.gen(function* () {
        const problem = yield* problemOf({ ttl: 5_000 })
        expect(problem).toContain("ttl isn't a field of the input")
        expect(problem).toContain("ttlMs")
        expect(yield* problemOf({ toString: 1 })).toContain("toString isn't a field")
        expect(yield* problemOf({ actual: { ...tokens(1), currency: "USD" } })).toContain("actual.currency")
      })
    )

    it.effect("names each invalid field", () =>
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
    ] as const)("refuses fields without an effect: %j", ([spec, problem]) =>
      Effect.gen(function* () {
        expect(yield* problemOf(spec)).toBe(problem)
      })
    )

    it.effect.each(["", "{", "[]", "null", "7"])("refuses input that isn't a JSON object: %j", (text) =>
      Effect.gen(function* () {
        expect((yield* Effect.flip(LifecycleDriver.read(text))).problem).toMatch(/^(the input|standard input) /)
      })
    )
  })

  describe("run", () => {
    it.live.each(["withCycles", "reserve", "stream"] as const)(
      "sends exactly the requests of the lifecycle: %s",
      (form) =>
        Effect.gen(function* () {
          const { outcome, received } = yield* play({ form, actual: tokens(42) })
          expect(received.map(({ operation }) => operation)).toEqual(["reserve", "commit"])
          expect([outcome.exit, outcome.settlement?._tag]).toEqual(["Success", "Committed"])
          expect(outcome.settlements).toHaveLength(1)
        })
    )

    it.live("sends the subject app:lifecycle-driver if neither tenant nor subject is given", () =>
      Effect.gen(function* () {
        const { received } = yield* play({ tenant: null })
        expect(received[0]?.json["subject"]).toEqual({ app: "lifecycle-driver" })
      })
    )

    it.live("merges tenant and subject into the subject of the requests", () =>
      Effect.gen(function* () {
        const { received } = yield* play({ tenant: "acme", subject: { agent: "planner" } })
        expect(received[0]?.json["subject"]).toEqual({ tenant: "acme", agent: "planner" })
      })
    )

    it.live("returns the settlement of a body that failed after spending", () =>
      Effect.gen(function* () {
        const { outcome } = yield* play({ form: "reserve", record: tokens(42), end: "failure" })
        expect([outcome.exit, outcome.errors, outcome.settlement?._tag]).toEqual([
          "Failure",
          ["BodyFailed"],
          "Committed"
        ])
      })
    )

    it.live("doesn't wait for the interrupt if the body ended before", () =>
      Effect.gen(function* () {
        const { outcome } = yield* play({ end: "interrupt", interruptAfterMs: 600_000 }, Fault.denied)
        expect([outcome.exit, outcome.errors, outcome.settlement]).toEqual(["Failure", ["BudgetExceeded"], null])
      })
    )

    it.live("interrupts the call", () =>
      Effect.gen(function* () {
        const { outcome, received } = yield* play({ end: "interrupt", bodyMs: 50 })
        expect([outcome.exit, outcome.errors, outcome.settlement?._tag]).toEqual(["Interrupted", [], "Released"])
        expect(received.map(({ operation }) => operation)).toEqual(["reserve", "release"])
      })
    )

    it.live.each([
      [{ baseUrl: "nonsense" }, "baseUrl"],
      [{ apiKey: "with space" }, "apiKey"],
      [{ timeoutMs: 0 }, "timeout"]
    ] as const)("fails if the client can't be made: %j", ([spec, field]) =>
      Effect.gen(function* () {
        const { problem } = yield* Effect.flip(Effect.flatMap(read(spec), LifecycleDriver.run))
        expect(problem).toContain(`${field} must be`)
      })
    )
  })

  describe("lifecycle-driver", () => {
    it.live("prints one line and exits with 0 if no server responds", () =>
      Effect.gen(function* () {
        const { output, code } = yield* drive({ baseUrl: "http://127.0.0.1:1" })
        expect([code, output["exit"], output["errors"]]).toEqual([0, "Failure", ["TransportError"]])
      })
    )

    it.live("prints one line and exits with 0 if the key is wrong", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { url } = yield* QuirkServer.make({ keyCheckMs: 0 })
          const { output, code } = yield* drive({ baseUrl: url })
          expect([code, output["exit"], output["errors"]]).toEqual([0, "Failure", ["ApiError"]])
        })
      )
    )

    it.live.each(["sqlite", "files"])("prints one line and exits with 0 when the journal can't be made: %s", (kind) =>
      Effect.scoped(
        Effect.gen(function* () {
          const { spec } = yield* serve
          const journal = join(yield* file, "journal")
          const { output, code, stderr } = yield* drive({ ...spec, journal, journalKind: kind })
          expect([code, output["exit"]]).toEqual([0, "Success"])
          expect(stderr).toMatch(/The settlement journal (could not be opened|failed)/)
        })
      )
    )

    it.live("prints one line and exits with 0 if the body dies", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { spec } = yield* serve
          const { output, code } = yield* drive({ ...spec, end: "die" })
          expect([code, output["exit"], output["errors"]]).toEqual([0, "Died", ["BodyDied"]])
        })
      )
    )

    it.live("prints one line that names the field and exits with 2 if the input is invalid", () =>
      Effect.gen(function* () {
        const { output, code, stderr } = yield* drive({ baseUrl: "http://127.0.0.1:1", ttl: 1 })
        expect([code, output["exit"]]).toEqual([2, "Refused"])
        expect(stderr).toContain("ttl isn't a field")
      })
    )
  })

  describe("page for maintainers", () => {
    const page = readFileSync(join(import.meta.dirname, "../../../docs/maintainers/conformance.md"), "utf8")
    const section = page.slice(page.indexOf("## lifecycle-driver"), page.indexOf("## recovery-adapter"))

    it("documents every field of the input, in order", () => {
      const rows = Array.from(section.matchAll(/^\| `(\w+)` /gm), ([, name]) => name)
      const fields = Object.keys(LifecycleDriver.CallSpec.fields)
      expect(rows.slice(0, fields.length)).toEqual(fields)
      expect(rows.slice(fields.length)).toEqual(["exit", "errors", "settlement", "settlements", "flush", "elapsedMs"])
    })

    it.live("has an example with the documented result", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const [example, expected] = Array.from(section.matchAll(/^```json\n([\s\S]*?)^```$/gm), ([, text = ""]) => {
            const json: Readonly<Record<string, unknown>> = JSON.parse(text)
            return json
          })
          const { server, url } = yield* QuirkServer.make({
            keyCheckMs: 0,
            budgets: [{ unit: "TOKENS", allocated: 10_000 }]
          })
          const { output, code } = yield* drive({
            ...example,
            baseUrl: url,
            apiKey: Redacted.value(server.apiKey),
            tenant: server.tenant
          })
          const outcome = (line: unknown) =>
            JSON.parse(
              JSON.stringify(line, (name, value: unknown) =>
                ["reservationId", "elapsedMs"].includes(name) ? typeof value : value
              )
            )
          expect(code).toBe(0)
          expect(outcome(output)).toEqual(outcome(expected))
        })
      )
    )
  })
})
