import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { inspect } from "node:util"
import { Cycles, CyclesClient, CyclesConfig, CyclesTransport, SettlementJournal } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"

type Variables = Readonly<Record<string, string>>

const required = { CYCLES_BASE_URL: "http://127.0.0.1:7878", CYCLES_API_KEY: "cyc_live_one" }

/** The layer for Node, configured by these variables, without a journal. */
const built = (env: Variables) =>
  Effect.scoped(
    Layer.build(
      NodeCycles.layerConfig().pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { CYCLES_JOURNAL_ENABLED: "off", ...env } })))
      )
    )
  )

const read = (env: Variables) => CyclesConfig.config.parse(ConfigProvider.fromEnv({ env: { ...required, ...env } }))

/** The error message of an invalid environment, in one line. */
const problemOf = (env: Variables) =>
  Effect.map(Effect.flip(built(env)), (error: Config.ConfigError | Schema.SchemaError) =>
    error.message.replaceAll(/\s*\n\s*/g, " ")
  )

/** The times of the attempts of an effect that always fails, in milliseconds from its start. */
const attemptsOf = (schedule: Schedule.Schedule<unknown>) =>
  Effect.gen(function* () {
    const attempts: Array<number> = []
    const attempt = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      attempts.push(now)
      return Effect.fail("refused")
    })
    const fiber = yield* Effect.forkChild(Effect.ignore(Effect.retry(attempt, schedule)), { startImmediately: true })
    yield* TestClock.adjust("10 minutes")
    yield* Fiber.join(fiber)
    return attempts
  })

const durationRule = (range: string) => `milliseconds or a duration such as "5 seconds", from ${range}`

const flagRule = "true, 1, yes, on, false, 0, no or off"

const subjectRule = "1 to 128 letters, digits, _ . -"

const address = "an http:// or https:// address"

describe("CyclesConfig", () => {
  describe("config", () => {
    it.effect.each<readonly [name: string, value: string, allowed: string]>([
      ["CYCLES_BASE_URL", "localhost:7878", address],
      ["CYCLES_BASE_URL", "ftp://example.com", address],
      ["CYCLES_TENANT", "a b", subjectRule],
      ["CYCLES_WORKSPACE", "a/b", subjectRule],
      ["CYCLES_APP", "ä", subjectRule],
      ["CYCLES_WORKFLOW", "x".repeat(129), subjectRule],
      ["CYCLES_AGENT", "a:b", subjectRule],
      ["CYCLES_TOOLSET", "a,b", subjectRule],
      ["CYCLES_READ_TIMEOUT", "abc", durationRule("1ms to 1h")],
      ["CYCLES_READ_TIMEOUT", "1.5", durationRule("1ms to 1h")],
      ["CYCLES_READ_TIMEOUT", "0", durationRule("1ms to 1h")],
      ["CYCLES_READ_TIMEOUT", "-5", durationRule("1ms to 1h")],
      ["CYCLES_READ_TIMEOUT", "5 parsecs", durationRule("1ms to 1h")],
      ["CYCLES_READ_TIMEOUT", "2 hours", durationRule("1ms to 1h")],
      ["CYCLES_CONNECT_TIMEOUT", "3600001", durationRule("1ms to 1h")],
      ["CYCLES_RETRY_ENABLED", "maybe", flagRule],
      ["CYCLES_RETRY_MAX_ATTEMPTS", "-1", "an integer from 0 to 1000"],
      ["CYCLES_RETRY_MAX_ATTEMPTS", "1001", "an integer from 0 to 1000"],
      ["CYCLES_RETRY_MAX_ATTEMPTS", "2.5", "an integer from 0 to 1000"],
      ["CYCLES_RETRY_INITIAL_DELAY", "0.5", durationRule("1ms to 1d")],
      ["CYCLES_RETRY_MULTIPLIER", "0.5", "a number from 1 to 100"],
      ["CYCLES_RETRY_MULTIPLIER", "NaN", "a number from 1 to 100"],
      ["CYCLES_RETRY_MAX_DELAY", "25 hours", durationRule("1ms to 1d")],
      ["CYCLES_RETRY_FLUSH_TIMEOUT", "soon", durationRule("0 to 1h")],
      ["CYCLES_RETRY_FLUSH_TIMEOUT", "61 minutes", durationRule("0 to 1h")],
      ["CYCLES_JOURNAL_ENABLED", "2", flagRule],
      ["CYCLES_MODE", "observe", "one of enforce, shadow"],
      ["CYCLES_ON_UNREACHABLE", "open", "one of fail, allow"]
    ])("fails for %s=%s with its name, value and the allowed values", ([name, value, allowed]) =>
      Effect.gen(function* () {
        const said = `${name} must be ${allowed}, got ${JSON.stringify(value)}`
        expect(yield* problemOf({ ...required, [name]: value })).toContain(`(${said} at`)
      })
    )

    it.effect.each<readonly [name: string, env: Variables, allowed: string]>([
      ["CYCLES_BASE_URL", {}, address],
      ["CYCLES_BASE_URL", { ...required, CYCLES_BASE_URL: "" }, address],
      ["CYCLES_API_KEY", { CYCLES_BASE_URL: "http://x" }, "printable ASCII without spaces, and not empty"],
      ["CYCLES_API_KEY", { ...required, CYCLES_API_KEY: "" }, "printable ASCII without spaces, and not empty"]
    ])("fails if %s isn't set: %j", ([name, env, allowed]) =>
      Effect.gen(function* () {
        expect(yield* problemOf(env)).toContain(`(${name} is not set: it must be ${allowed} at`)
      })
    )

    it.effect.each<readonly [name: string, value: string, secret: string]>([
      ["CYCLES_API_KEY", "cyc_live hush", "hush"],
      ["CYCLES_API_KEY", "cyc_live_hush\n", "hush"],
      ["CYCLES_API_KEY", "cyc_live_hüsh", "hüsh"],
      ["CYCLES_ADMIN_API_KEY", "admin hush", "hush"],
      ["CYCLES_BASE_URL", "https://me:hush@example.com", "hush"],
      ["CYCLES_BASE_URL", "https://me:hu/sh@hush@example.com", "sh@"],
      ["CYCLES_BASE_URL", "me:hush@example.com", "hush"],
      ["CYCLES_BASE_URL", "https://me:hu\nsh@example.com", "sh"],
      ["CYCLES_BASE_URL", "https://example.com/?token=hush", "hush"],
      ["CYCLES_BASE_URL", "https://example.com/#hush", "hush"]
    ])("fails for an invalid %s without showing its secret part: %o", ([name, value, secret]) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(built({ ...required, [name]: value }))
        expect(error.message).toContain(`${name} must be `)
        for (const shown of [error.message, String(error), JSON.stringify(error), inspect(error, { depth: 9 })]) {
          expect(shown).not.toContain(secret)
        }
      })
    )

    it.effect("reads mode and onUnreachable", () =>
      Effect.gen(function* () {
        expect(yield* read({})).toMatchObject({ mode: undefined, onUnreachable: undefined })
        expect(yield* read({ CYCLES_MODE: " Shadow ", CYCLES_ON_UNREACHABLE: "allow" })).toMatchObject({
          mode: "shadow",
          onUnreachable: "allow"
        })
      })
    )

    it.effect.each<readonly [value: string, ms: number]>([
      ["1500", 1_500],
      [" 1500 ", 1_500],
      ["5 seconds", 5_000],
      ["5s", 5_000],
      ["250ms", 250],
      ["1.5 minutes", 90_000],
      ["1 Hour", 3_600_000]
    ])("parses the duration %s", ([value, ms]) =>
      Effect.gen(function* () {
        const config = yield* read({ CYCLES_READ_TIMEOUT: value, CYCLES_RETRY_FLUSH_TIMEOUT: value })
        expect(Duration.toMillis(config.timeout ?? 0)).toBe(ms)
        expect(Duration.toMillis(config.flushTimeout ?? 0)).toBe(ms)
      })
    )

    it.effect("reads the keys, the base URL and the subject, and treats an empty variable as absent", () =>
      Effect.gen(function* () {
        const config = yield* read({
          CYCLES_ADMIN_API_KEY: "adm",
          CYCLES_TENANT: "acme",
          CYCLES_WORKSPACE: "",
          CYCLES_AGENT: " planner ",
          CYCLES_READ_TIMEOUT: ""
        })
        expect(config.subject).toEqual({ tenant: "acme", agent: "planner" })
        expect(config.baseUrl).toBe("http://127.0.0.1:7878")
        expect(Redacted.value(config.apiKey)).toBe("cyc_live_one")
        expect(config.adminKey && Redacted.value(config.adminKey)).toBe("adm")
        expect(config.timeout).toBeUndefined()
        expect(String(config.apiKey)).not.toContain("cyc_live")
      })
    )

    it.effect.each<readonly [value: string, isOn: boolean]>([
      ["true", true],
      ["1", true],
      ["yes", true],
      [" ON ", true],
      ["false", false],
      ["0", false],
      ["no", false],
      ["Off", false]
    ])("parses the boolean %s as %s", ([value, isOn]) =>
      Effect.gen(function* () {
        const config = yield* read({ CYCLES_RETRY_ENABLED: value })
        expect(yield* attemptsOf(config.retry ?? Schedule.recurs(99))).toHaveLength(isOn ? 6 : 1)
      })
    )

    it.effect.each<readonly [env: Variables, attempts: ReadonlyArray<number>]>([
      [{}, [0, 500, 1_500, 3_500, 7_500, 15_500]],
      [{ CYCLES_RETRY_ENABLED: "no" }, [0]],
      [{ CYCLES_RETRY_ENABLED: "off", CYCLES_RETRY_MAX_ATTEMPTS: "3" }, [0]],
      [{ CYCLES_RETRY_MAX_ATTEMPTS: "2" }, [0, 500, 1_500]],
      [{ CYCLES_RETRY_INITIAL_DELAY: "1 s", CYCLES_RETRY_MULTIPLIER: "3" }, [0, 1_000, 4_000, 13_000, 40_000, 70_000]],
      [{ CYCLES_RETRY_MAX_DELAY: "600" }, [0, 500, 1_100, 1_700, 2_300, 2_900]]
    ])("with %j, attempts a settlement at %j ms", ([env, expected]) =>
      Effect.gen(function* () {
        const config = yield* read(env)
        const attempts = yield* attemptsOf(config.retry ?? Schedule.recurs(99))
        expect(attempts).toHaveLength(expected.length)
        attempts.forEach((atMs, i) => {
          expect(Math.abs(atMs - (expected[i] ?? 0))).toBeLessThanOrEqual(0.2 * (expected[i] ?? 0) + 1)
        })
      })
    )
  })

  describe("CyclesClient.layer", () => {
    const build = (config: CyclesConfig.ClientConfig) =>
      Effect.sandbox(
        Layer.build(CyclesClient.layer(config)).pipe(
          Effect.scoped,
          Effect.provideService(
            CyclesTransport.CyclesTransport,
            CyclesTransport.make(() => Effect.die("nothing may be sent"))
          )
        )
      ).pipe(Effect.flip)

    it.effect("fails for a field out of range, with its name, limits and value, and without secrets", () =>
      Effect.gen(function* () {
        const key = Redacted.make("cyc_live_one")
        const cases: ReadonlyArray<readonly [CyclesConfig.ClientConfig, string]> = [
          [
            { baseUrl: "http://me:hush@x", apiKey: key },
            'baseUrl must be an address without user name and password, got "http://***@x"'
          ],
          [
            { baseUrl: "http://x", apiKey: Redacted.make("") },
            "apiKey must be printable ASCII without spaces, and not empty"
          ],
          [
            { baseUrl: "http://x", apiKey: Redacted.make("hush\r\nX-Other: 1") },
            "apiKey must be printable ASCII without spaces, and not empty"
          ],
          [
            { baseUrl: "http://x", apiKey: key, adminKey: Redacted.make("hu sh") },
            "adminKey must be printable ASCII without spaces, and not empty"
          ],
          ...[2, 0, -1, 2.5, 10_001, Number.NaN, Number.POSITIVE_INFINITY].map(
            (maxConcurrency) =>
              [
                { baseUrl: "http://x", apiKey: key, maxConcurrency },
                `maxConcurrency must be an integer from 3 to 10000, got ${maxConcurrency}`
              ] as const
          ),
          ...([0, -5, 3_600_001, Number.NaN, "Infinity", "2 hours"] as const).map(
            (timeout) =>
              [{ baseUrl: "http://x", apiKey: key, timeout }, `timeout must be 1ms to 1h, got ${timeout}`] as const
          ),
          ...([0, 999, Number.NaN, Number.POSITIVE_INFINITY, "25 hours"] as const).map(
            (idleProbeAfter) =>
              [
                { baseUrl: "http://x", apiKey: key, idleProbeAfter },
                `idleProbeAfter must be 1s to 1d, got ${idleProbeAfter}`
              ] as const
          ),
          [
            { baseUrl: "http://x", apiKey: key, timeout: { seconds: Number.NaN } },
            "timeout must be 1ms to 1h, got object"
          ],
          [{ baseUrl: "http://x", apiKey: key, timeout: { hours: 2 } }, "timeout must be 1ms to 1h, got 2h"]
        ]
        for (const [config, message] of cases) {
          const cause = yield* build(config)
          expect(inspect(cause, { depth: 9 })).toContain(`RangeError: ${message}`)
          expect(inspect(cause, { depth: 9 })).not.toContain("hush")
        }
      })
    )
  })

  describe("Cycles.layer", () => {
    it.effect("refuses a tenant that isn't a string, and names it", () =>
      Effect.gen(function* () {
        const config: CyclesConfig.CyclesConfig = JSON.parse('{ "baseUrl": "http://x", "subject": { "tenant": 1 } }')
        const layer = Layer.provide(Cycles.layer({ ...config, apiKey: Redacted.make("key") }), [
          CyclesTransport.layerFetch,
          SettlementJournal.layerMemory
        ])
        const exit = yield* Effect.exit(Effect.scoped(Layer.build(layer)))
        expect(exit).toEqual(Exit.die(new RangeError("subject.tenant must be a string, got number")))
      })
    )
  })

  describe("layerConfig", () => {
    it.effect("accepts values and configs in place of the variables", () =>
      Effect.gen(function* () {
        const client = yield* CyclesClient.CyclesClient
        expect(client.baseUrl).toBe("https://cycles.example/api")
      }).pipe(
        Effect.provide(
          Cycles.layerConfig({
            baseUrl: Config.String("BUDGET_SERVER"),
            apiKey: Config.Redacted("BUDGET_KEY")
          }).pipe(
            Layer.provide(
              ConfigProvider.layer(
                ConfigProvider.fromEnv({ env: { BUDGET_SERVER: "https://cycles.example/api/", BUDGET_KEY: "k" } })
              )
            ),
            Layer.provide(SettlementJournal.layerMemory),
            Layer.provide(
              Layer.succeed(
                CyclesTransport.CyclesTransport,
                CyclesTransport.make(() => Effect.die("nothing may be sent"))
              )
            )
          )
        )
      )
    )
  })
})
