/**
 * The whole client as a program on Node has it, against what a newcomer gets wrong: one clear error, a body that never
 * starts, nothing sent that could hold budget, nothing left held.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { readdirSync } from "node:fs"
import { Amount, Cycles } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import { action, books, live, operations, tokens } from "../support/live.ts"
import { listen, nobody } from "./loopback.ts"
import { temporaryFolder } from "./support.ts"

/** A client as these variables make it; it keeps no journal. */
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

describe("NodeCycles", () => {
  describe("layerConfig", () => {
    it.live("without a key is one error, and nothing is sent", () =>
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

    it.live("with a server that is down is one error", () =>
      Effect.gen(function* () {
        const url = yield* nobody
        const outcome = yield* attempt().pipe(
          Effect.provide(fromEnvironment({ CYCLES_BASE_URL: url, CYCLES_API_KEY: "k", CYCLES_TENANT: "acme" }))
        )
        expect(outcome).toEqual({
          started: false,
          error: `TransportError: No response to the reserve from ${url}/v1/reservations (refused, the request was not sent): ECONNREFUSED`
        })
      })
    )

    it.live("with a web site in place of the server is one error", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) =>
          outgoing.writeHead(404, { "content-type": "text/html" }).end("<html>Not found</html>")
        )
        const outcome = yield* attempt().pipe(
          Effect.provide(fromEnvironment({ CYCLES_BASE_URL: server.url, CYCLES_API_KEY: "k", CYCLES_TENANT: "acme" }))
        )
        expect(outcome).toEqual({
          started: false,
          error: `ApiError: ${server.url}/v1/reservations refused the reserve with 404; that isn't a response of a Cycles server: is the base URL right?`
        })
        // A status without a code proves nothing: the request is repeated, and then again to release what it may hold.
        expect(server.requests.slice(0, 2)).toEqual(["POST /v1/reservations", "POST /v1/reservations"])
      })
    )

    it.live("with a web site that answers everything is one error", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) =>
          outgoing.writeHead(200, { "content-type": "text/html" }).end("<html>Welcome</html>")
        )
        const outcome = yield* attempt().pipe(
          Effect.provide(fromEnvironment({ CYCLES_BASE_URL: server.url, CYCLES_API_KEY: "k", CYCLES_TENANT: "acme" }))
        )
        expect(outcome).toEqual({
          started: false,
          error: `ProtocolError: The response 200 to the reserve from ${server.url}/v1/reservations breaks the protocol: the body is no JSON`
        })
        expect(new Set(server.requests)).toEqual(new Set(["POST /v1/reservations"]))
      })
    )

    it.live("with a folder keeps the journal of files there", () =>
      Effect.gen(function* () {
        const folder = temporaryFolder()
        yield* Cycles.flush("1 second").pipe(
          Effect.provide(
            fromEnvironment({
              CYCLES_BASE_URL: yield* nobody,
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

  describe("a guard", () => {
    it.effect("with a wrong key is one error, and nothing is held", () =>
      Effect.gen(function* () {
        const outcome = yield* attempt()
        expect(outcome.started).toBe(false)
        expect(outcome.error).toMatch(
          /^ApiError: http:\/\/cycles\.local\/v1\/reservations refused the reserve with 401 UNAUTHORIZED: .*; is the API key right, not revoked, and is its tenant active\? \(request .+\)$/
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
        "an estimate that is no number",
        () => Amount.credits(Number.NaN),
        "RangeError: An amount must be a number from 0 to 2^53-1, or a bigint from 0 to 9223372036854775807, got NaN CREDITS"
      ],
      [
        "an estimate in dollars that is too fine",
        () => Amount.usd("0.123456789"),
        'RangeError: Dollars must be 0 or more with at most 8 decimals, got "0.123456789"'
      ]
    ])("with %s is one error, and nothing is sent", ([, estimate, error]) =>
      Effect.gen(function* () {
        expect(yield* attempt(estimate)).toEqual({ started: false, error })
        expect(yield* CyclesTest.requests()).toEqual([])
        expect(yield* (yield* CyclesServer.CyclesServer).reservations).toEqual([])
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(live()))
    )
  })
})
