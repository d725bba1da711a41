/**
 * The client with its Node layers, and common mistakes: each gives one clear error, the body doesn't start, and nothing
 * is reserved.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import { readdirSync } from "node:fs"
import { Amount, Cycles } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import { afterEach, vi } from "vitest"
import { serveBridged } from "../support/bridge.ts"
import { action, books, live, operations, tokens } from "../support/live.ts"
import { settlementOf } from "../support/settled.ts"
import { listen, refusingUrl } from "./loopback.ts"
import { temporaryFolder } from "./support.ts"

/** A client configured by these variables, without a journal. */
const fromEnvironment = (env: Readonly<Record<string, string>>) =>
  NodeCycles.layerConfig().pipe(
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { CYCLES_JOURNAL_ENABLED: "no", ...env } })))
  )

/** The message of the failure, and whether the body ran. */
const attempt = (estimate: () => Amount.Amount = () => tokens(1)) =>
  Effect.gen(function* () {
    let started = false
    const exit = yield* Effect.suspend(() =>
      Cycles.withCycles(
        Effect.sync(() => (started = true)),
        { action, estimate: estimate() }
      )
    ).pipe(Effect.exit)
    return { started, error: Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "none" }
  })

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
  const { apiKey, test, url } = yield* serveBridged
  yield* test.always("commit", Fault.responseLost)
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
  describe("layerConfig", () => {
    it.live("fails with one error without a key, and sends nothing", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => outgoing.end())
        const error = yield* attempt().pipe(
          Effect.provide(fromEnvironment({ CYCLES_BASE_URL: server.url, CYCLES_TENANT: "acme" })),
          Effect.flip
        )
        expect(error.message).toContain("CYCLES_API_KEY is not set")
        expect(server.requests).toEqual([])
      })
    )

    it.live("fails with one error if the server is down", () =>
      Effect.gen(function* () {
        const url = yield* refusingUrl
        const outcome = yield* attempt().pipe(
          Effect.provide(fromEnvironment({ CYCLES_BASE_URL: url, CYCLES_API_KEY: "k", CYCLES_TENANT: "acme" }))
        )
        expect(outcome).toEqual({
          started: false,
          error: `TransportError: No response to the reserve from ${url}/v1/reservations (refused, the request was not sent): ECONNREFUSED; is the server running at ${url}?`
        })
      })
    )

    it.live("fails with one error for a website in place of the server", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) =>
          outgoing.writeHead(404, { "content-type": "text/html" }).end("<html>Not found</html>")
        )
        const outcome = yield* attempt().pipe(
          Effect.provide(fromEnvironment({ CYCLES_BASE_URL: server.url, CYCLES_API_KEY: "k", CYCLES_TENANT: "acme" }))
        )
        expect(outcome).toEqual({
          started: false,
          error: `ApiError: ${server.url}/v1/reservations refused the reserve with 404; the response is an HTML page: is the base URL ${server.url} right?`
        })
        // A status without a code proves nothing: the request is retried, and then repeated to release a possible
        // reservation.
        expect(server.requests.slice(0, 2)).toEqual(["POST /v1/reservations", "POST /v1/reservations"])
      })
    )

    it.live("fails with one error for a website that returns 200 for everything", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) =>
          outgoing.writeHead(200, { "content-type": "text/html" }).end("<html>Welcome</html>")
        )
        const outcome = yield* attempt().pipe(
          Effect.provide(fromEnvironment({ CYCLES_BASE_URL: server.url, CYCLES_API_KEY: "k", CYCLES_TENANT: "acme" }))
        )
        expect(outcome).toEqual({
          started: false,
          error: `ProtocolError: The response 200 to the reserve from ${server.url}/v1/reservations breaks the protocol: the body isn't JSON; the response is an HTML page: is the base URL ${server.url} right?`
        })
        expect(new Set(server.requests)).toEqual(new Set(["POST /v1/reservations"]))
      })
    )

    it.live("keeps the file journal in the configured folder", () =>
      Effect.gen(function* () {
        const folder = temporaryFolder()
        yield* Cycles.flush("1 second").pipe(
          Effect.provide(
            fromEnvironment({
              CYCLES_BASE_URL: yield* refusingUrl,
              CYCLES_API_KEY: "k",
              CYCLES_TENANT: "acme",
              CYCLES_JOURNAL_ENABLED: "yes",
              CYCLES_JOURNAL_DIR: folder
            })
          )
        )
        expect(readdirSync(folder)).not.toEqual([])
      })
    )
  })

  describe("guard", () => {
    it.effect("fails with one error for a wrong key, and reserves nothing", () =>
      Effect.gen(function* () {
        const outcome = yield* attempt()
        expect(outcome.started).toBe(false)
        expect(outcome.error).toMatch(
          /^ApiError: http:\/\/cycles\.local\/v1\/reservations refused the reserve with 401 UNAUTHORIZED: .* \(request .+\); check the API key \(CYCLES_API_KEY\): it is unknown, revoked or expired, or its tenant isn't active$/
        )
        expect(yield* books).toEqual({ spent: 0, reserved: 0 })
        expect(yield* operations).toEqual(["reserve"])
      }).pipe(Effect.provide(live({ apiKey: Redacted.make("cyc_live_somebody-else") })))
    )

    it.effect.each<readonly [what: string, estimate: () => Amount.Amount, error: string]>([
      [
        "an unknown unit",
        () => Amount.make("EUROS", 5),
        'InvalidRequest: The reserve was not sent: estimate.unit must be one of USD_MICROCENTS, TOKENS, CREDITS, RISK_POINTS, got "EUROS"'
      ],
      [
        "a negative estimate",
        () => tokens(-1),
        "RangeError: An amount must be a number from 0 to 2^53-1, or a bigint from 0 to 9223372036854775807, got -1 TOKENS"
      ],
      [
        "an estimate that isn't a number",
        () => Amount.credits(Number.NaN),
        "RangeError: An amount must be a number from 0 to 2^53-1, or a bigint from 0 to 9223372036854775807, got NaN CREDITS"
      ],
      [
        "dollars with too many decimals",
        () => Amount.usd("0.123456789"),
        'RangeError: Dollars must be 0 or more with at most 8 decimals, got "0.123456789"'
      ]
    ])("fails with one error for %s, and sends nothing", ([, estimate, error]) =>
      Effect.gen(function* () {
        expect(yield* attempt(estimate)).toEqual({ started: false, error })
        expect(yield* CyclesTest.requests()).toEqual([])
        expect(yield* (yield* CyclesServer.CyclesServer).reservations).toEqual([])
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(live()))
    )
  })

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
