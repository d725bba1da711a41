/**
 * Caps, retries, timeouts and subjects of the programs, and each program run by its command.
 */
import { NodeCyclesServer } from "@effect-cycles/server"
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import { CyclesTest } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import { generateText, isStepCount, streamText, tool } from "ai"
import { Effect, Stream } from "effect"
import { Amount, Cycles } from "effect-cycles"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { z } from "zod"
import { makeTenant } from "../../examples/support/administrator.ts"
import { make } from "../../examples/support/fakeProvider.ts"
import { titleOf, withFake } from "../../test/support/outcomes.ts"
import * as AiSdk from "../ai-sdk.ts"
import { aiSdk, programs, settled } from "./harness.ts"
import type { Failure } from "./harness.ts"

const maxOutputTokens = 100

const isRetryable = (error: Failure): boolean => error._tag === "ProviderError" && error.isRetryable

describe.each(programs.map((program) => [titleOf(program), program] as const))("%s", (_title, program) => {
  it.live("a cap above the program's limit doesn't raise it", () =>
    withFake((fake) =>
      Effect.gen(function* () {
        yield* (yield* CyclesServer.CyclesServer).setCaps("TOKENS", { max_tokens: 5_000 })
        yield* Stream.runDrain(program.run({ url: fake.url, model: "plain", maxOutputTokens: 20 }))
        expect(fake.requests.map(({ limit }) => limit)).toEqual([20])
        expect(yield* settled).toBe(40)
      })
    )
  )

  it.live("a retry outside of the guard reserves again for each attempt", () =>
    withFake((fake) =>
      Effect.gen(function* () {
        yield* Effect.retry(Stream.runDrain(program.run({ url: fake.url, model: "flaky", maxOutputTokens })), {
          times: 2,
          while: isRetryable
        })
        expect(fake.requests).toHaveLength(3)
        expect(yield* settled).toBe(50)
        expect(yield* CyclesTest.requests("reserve")).toHaveLength(3)
      })
    )
  )

  it.live("a timeout around the guard hangs up, and the call is charged", () =>
    withFake((fake) =>
      Effect.gen(function* () {
        const error = yield* Stream.runDrain(program.run({ url: fake.url, model: "slow", maxOutputTokens })).pipe(
          Effect.timeout("1 second"),
          Effect.flip
        )
        expect(error._tag).toBe("TimeoutError")
        const request = yield* fake.arrived(1)
        expect(yield* Effect.promise(() => request.hungUp)).toBe(true)
        expect(yield* settled).toBeGreaterThanOrEqual(11)
      })
    )
  )

  it.live("a connection that is refused costs nothing", () =>
    withFake(() =>
      Effect.gen(function* () {
        const { url } = yield* Effect.scoped(make)
        const error = yield* Effect.flip(Stream.runDrain(program.run({ url, model: "plain", maxOutputTokens })))
        expect(error).toMatchObject({ _tag: "ProviderError", reason: "unreachable" })
        expect(yield* settled).toBe(0)
      })
    )
  )

  it.live("charges the subject of its caller", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const fake = yield* make
        yield* Stream.runDrain(program.run({ url: fake.url, model: "plain", maxOutputTokens })).pipe(
          Cycles.withSubject({ agent: "planner" })
        )
        yield* settled
        yield* CyclesTest.expectCommitted(Amount.tokens(50), { scope: "agent:planner" })
      })
    ).pipe(
      Effect.provide(
        CyclesTest.layer({
          budgets: [
            { unit: "TOKENS", allocated: 10_000 },
            { scope: "agent:planner", unit: "TOKENS", allocated: 1_000 }
          ]
        })
      )
    )
  )
})

describe("ai, with tools", () => {
  const lookup = tool({
    description: "The weather of a city",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `${city}: rain`
  })
  const settings = { prompt: "Hello", tools: { lookup }, stopWhen: isStepCount(3), maxRetries: 0 }

  it.live("guards each step of a whole tool loop", () =>
    withFake((fake) =>
      Effect.gen(function* () {
        const model = yield* AiSdk.guarded(aiSdk({ url: fake.url, model: "tool", maxOutputTokens }))
        const { steps } = yield* Effect.promise(() => generateText({ ...settings, model }))
        expect(steps).toHaveLength(2)
        expect(steps[0]?.toolResults).toHaveLength(2)
        expect(yield* settled).toBe(100)
        expect(yield* CyclesTest.requests("reserve")).toHaveLength(2)
      })
    )
  )

  it.live("guards each step of a streamed tool loop", () =>
    withFake((fake) =>
      Effect.gen(function* () {
        const model = yield* AiSdk.guarded(aiSdk({ url: fake.url, model: "tool", maxOutputTokens }))
        const steps = yield* Effect.promise(async () => {
          const result = streamText({ ...settings, model })
          await result.consumeStream()
          return result.steps
        })
        expect(steps).toHaveLength(2)
        expect(yield* settled).toBe(100)
        expect(yield* CyclesTest.requests("reserve")).toHaveLength(2)
      })
    )
  )

  it.live("a call with a lower limit keeps it", () =>
    withFake((fake) =>
      Effect.gen(function* () {
        const model = yield* AiSdk.guarded(aiSdk({ url: fake.url, model: "plain", maxOutputTokens }))
        yield* Effect.promise(() => generateText({ model, prompt: "Hello", maxOutputTokens: 15 }))
        expect(fake.requests.map(({ limit }) => limit)).toEqual([15])
        expect(yield* settled).toBe(35)
      })
    )
  )

  it.live("isn't repeated under one reservation if the caller leaves out maxRetries", () =>
    withFake((fake) =>
      Effect.gen(function* () {
        const model = yield* AiSdk.guarded(aiSdk({ url: fake.url, model: "flaky", maxOutputTokens }))
        yield* Effect.promise(() => generateText({ model, prompt: "Hello" }).catch(() => undefined))
        expect(fake.requests.length).toBe((yield* CyclesTest.requests("reserve")).length)
        expect(yield* settled).toBe(0)
      })
    )
  )
})

describe("the programs", () => {
  /** A tenant with a key and a budget on a server with a port. */
  const administered = Effect.gen(function* () {
    const adminKey = "admin"
    const { adminUrl, url } = yield* NodeCyclesServer.make({ port: 0, adminKey })
    const key = yield* Effect.promise(() =>
      makeTenant({ adminUrl, adminKey }, "acme", { unit: "TOKENS", amount: 10_000 })
    )
    return { CYCLES_BASE_URL: url, CYCLES_API_KEY: key, CYCLES_TENANT: "acme" }
  })

  it.live.each(["openai-chat", "openai-responses", "anthropic", "ai-sdk", "google"])("%s.ts runs", (name) =>
    Effect.scoped(
      Effect.gen(function* () {
        const fake = yield* make
        const cycles = yield* administered
        const { stdout } = yield* Effect.promise(() =>
          promisify(execFile)(process.execPath, [join(import.meta.dirname, `../${name}.ts`), "plain", "Hello"], {
            env: {
              ...process.env,
              ...cycles,
              OPENAI_API_KEY: "key",
              OPENAI_BASE_URL: `${fake.url}/v1`,
              ANTHROPIC_API_KEY: "key",
              ANTHROPIC_BASE_URL: fake.url,
              GOOGLE_API_KEY: "key",
              GOOGLE_GEMINI_BASE_URL: fake.url
            }
          })
        )
        expect(stdout).toContain("Budgets")
        expect(fake.requests.map(({ limit }) => limit)).toEqual(fake.requests.map(() => 2_000))
        expect(fake.requests.length).toBe(name === "openai-responses" ? 1 : 2)
      })
    )
  )
})
