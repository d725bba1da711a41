/**
 * Base URLs: valid ones work, others are refused when the client is made, and no password is shown.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import { Cycles, CyclesConfig } from "effect-cycles"
import { serveBridged } from "../support/bridge.ts"
import { action, live, tokens } from "../support/live.ts"
import { nodeClient, normalizedBaseUrl } from "../support/clients.ts"

const decide = Cycles.decide({ action, estimate: tokens(1) })

/** The normalized base URL, or `refused` if the client can't be made. */
const normalized = (baseUrl: string) =>
  Effect.map(Effect.exit(normalizedBaseUrl(baseUrl)), (exit) =>
    Exit.isSuccess(exit) ? exit.value : Cause.squash(exit.cause) instanceof RangeError ? "refused" : "defect"
  )

describe("base URL", () => {
  for (const [given, expected] of [
    ["HTTP://cycles.example", "http://cycles.example"],
    ["HTTPS://Cycles.Example/", "https://cycles.example"],
    ["https://cycles.example/v1", "https://cycles.example"],
    ["https://cycles.example/v1/", "https://cycles.example"],
    ["https://cycles.example/path/v1", "https://cycles.example/path"]
  ] as const) {
    it.effect(`is normalized: ${given}`, () =>
      Effect.gen(function* () {
        expect(yield* normalized(given)).toBe(expected)
      }).pipe(Effect.provide(live()))
    )
  }

  for (const given of [
    "http:cycles.example",
    "http:/cycles.example",
    "http://cycles.example?",
    "http://cycles.example/#",
    "http://cycles.example/path?",
    "http:\\\\cycles.example"
  ]) {
    it.effect(`is refused when the client is made: ${given}`, () =>
      Effect.gen(function* () {
        expect(yield* normalized(given)).toBe("refused")
      }).pipe(Effect.provide(live()))
    )
  }

  for (const [what, change] of [
    ["a scheme in capitals", (url: string) => url.replace("http://", "HTTP://")],
    ["a trailing /v1", (url: string) => `${url}/v1`]
  ] as const) {
    it.live(`works with ${what}`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { apiKey, url } = yield* serveBridged
          const config = { baseUrl: change(url), apiKey: Redacted.make(apiKey), subject: { tenant: "acme" } }
          expect(yield* Effect.provide(decide, nodeClient(config))).toMatchObject({ decision: "ALLOW" })
        })
      )
    )
  }
})

describe("password in a base URL", () => {
  const secret = "swordfish"

  for (const [what, separator] of [
    ["a newline", "\n"],
    ["a carriage return", "\r"],
    ["a line separator", "\u2028"],
    ["a paragraph separator", "\u2029"]
  ] as const) {
    it.effect(`isn't shown when it contains ${what}`, () =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(normalizedBaseUrl(`http://user:${secret}${separator}word@cycles.example`))
        expect(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "accepted").not.toContain(secret)
        expect(Exit.isFailure(exit)).toBe(true)
      }).pipe(Effect.provide(live()))
    )

    it.effect(`isn't shown by CYCLES_BASE_URL when it contains ${what}`, () =>
      Effect.gen(function* () {
        const env = {
          CYCLES_BASE_URL: `http://user:${secret}${separator}word@cycles.example`,
          CYCLES_API_KEY: "cyc_live_0123456789",
          CYCLES_TENANT: "acme"
        }
        const provider = ConfigProvider.fromEnv({ env })
        const exit = yield* Effect.exit(CyclesConfig.config.parse(provider))
        expect(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "accepted").not.toContain(secret)
        expect(Exit.isFailure(exit)).toBe(true)
      })
    )
  }
})

describe("API key sent to a public host without encryption", () => {
  for (const host of [
    "10.example.com",
    "127.example.com",
    "192.168.example.com",
    "172.16.example.com",
    "[2001:db8::1]",
    "[::ffff:8.8.8.8]"
  ]) {
    it.effect(`logs one warning: http://${host}`, () =>
      Effect.gen(function* () {
        const warnings: Array<string> = []
        const logger = Logger.make(({ logLevel, message }) => {
          if (logLevel === "Warn") warnings.push(String(message))
        })
        yield* normalizedBaseUrl(`http://${host}`).pipe(Effect.provide(Logger.layer([logger])))
        expect(warnings).toHaveLength(1)
      }).pipe(Effect.provide(live()))
    )
  }
})
