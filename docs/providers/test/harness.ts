/**
 * Every program of this folder behind one interface, a fake provider, and an embedded Cycles server.
 */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import Anthropic from "@anthropic-ai/sdk"
import { CyclesTest } from "@effect-cycles/testing"
import { GoogleGenAI } from "@google/genai"
import { Effect, Option, Schedule, Stream } from "effect"
import { Cycles } from "effect-cycles"
import type { CyclesError } from "effect-cycles"
import OpenAI from "openai"
import { make } from "../../examples/support/fakeProvider.ts"
import type { FakeProvider } from "../../examples/support/fakeProvider.ts"
import * as AiSdk from "../ai-sdk.ts"
import * as Claude from "../anthropic.ts"
import * as Google from "../google.ts"
import * as Chat from "../openai-chat.ts"
import * as Responses from "../openai-responses.ts"
import type { ProviderError } from "../support.ts"

/** The error of a guarded call. */
export type Failure = ProviderError | CyclesError.CyclesError

/** What a call is given. The prompt is always the same. */
export interface Call {
  readonly url: string
  readonly model: string
  readonly maxOutputTokens: number
}

/** A program, as a stream of the texts of its response. A whole response is one text. */
export interface Program {
  readonly name: string
  readonly isStream: boolean
  /** The API of the fake provider. */
  readonly api: "chat" | "responses" | "messages" | "gemini"
  /** Tokens that the provider has reported before the usage at the end. */
  readonly reportedEarly: (words: number) => number
  readonly run: (call: Call) => Stream.Stream<string, Failure, Cycles.Cycles>
}

const prompt = "Hello"

const openai = (call: Call): Chat.Question => ({
  ...call,
  prompt,
  client: new OpenAI({ apiKey: "key", baseURL: `${call.url}/v1` })
})

const anthropic = (call: Call): Claude.Question => ({
  ...call,
  prompt,
  client: new Anthropic({ apiKey: "key", baseURL: call.url })
})

const google = (call: Call): Google.Question => ({
  ...call,
  prompt,
  client: new GoogleGenAI({ apiKey: "key", httpOptions: { baseUrl: call.url } })
})

/** A model of the AI SDK on the fake provider. */
export const aiSdk = (call: Call): AiSdk.Options => ({
  ...call,
  model: createOpenAICompatible({ name: "fake", baseURL: `${call.url}/v1`, includeUsage: true })(call.model)
})

const none = () => 0

/** Every program. */
export const programs: ReadonlyArray<Program> = [
  {
    name: "openai chat",
    isStream: false,
    api: "chat",
    reportedEarly: none,
    run: (call) => Stream.fromEffect(Effect.map(Chat.ask(openai(call)), Chat.textOf))
  },
  {
    name: "openai chat",
    isStream: true,
    api: "chat",
    reportedEarly: none,
    run: (call) => Chat.stream(openai(call))
  },
  {
    name: "openai responses",
    isStream: true,
    api: "responses",
    reportedEarly: none,
    run: (call) => Responses.stream(openai(call))
  },
  {
    name: "anthropic",
    isStream: false,
    api: "messages",
    reportedEarly: none,
    run: (call) => Stream.fromEffect(Effect.map(Claude.ask(anthropic(call)), Claude.textOf))
  },
  {
    name: "anthropic",
    isStream: true,
    api: "messages",
    // The input, in `message_start`.
    reportedEarly: () => 20,
    run: (call) => Claude.stream(anthropic(call))
  },
  {
    name: "ai",
    isStream: false,
    api: "chat",
    reportedEarly: none,
    run: (call) => Stream.fromEffect(Effect.map(AiSdk.ask({ ...aiSdk(call), prompt }), ({ text }) => text))
  },
  {
    name: "ai",
    isStream: true,
    api: "chat",
    reportedEarly: none,
    run: (call) => AiSdk.askStream({ ...aiSdk(call), prompt })
  },
  {
    name: "google",
    isStream: false,
    api: "gemini",
    reportedEarly: none,
    run: (call) => Stream.fromEffect(Effect.map(Google.ask(google(call)), ({ text }) => text ?? ""))
  },
  {
    name: "google",
    isStream: true,
    api: "gemini",
    // Every chunk has the input, the thoughts and the candidates so far.
    reportedEarly: (words) => 32 + words,
    run: (call) => Google.stream(google(call))
  }
]

/** The name of a program in test titles. */
export const titleOf = ({ isStream, name }: Program): string => `${name}, ${isStream ? "streamed" : "whole"}`

/** A test on a fake provider and an embedded Cycles server with a budget of 10,000 tokens. */
export const withFake = <A, E, R>(body: (fake: FakeProvider) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(make, body).pipe(
    Effect.scoped,
    Effect.provide(CyclesTest.layer({ budgets: [{ unit: "TOKENS", allocated: 10_000 }] }))
  )

/** The tokens that are charged, once nothing is reserved. A guard in the middleware of the AI SDK settles in the background. */
export const charged = Effect.gen(function* () {
  yield* Effect.retry(CyclesTest.expectNothingReserved(), { schedule: Schedule.spaced("10 millis"), times: 200 })
  const balance = yield* Stream.runHead(Cycles.balances())
  return Number(Option.getOrUndefined(balance)?.spent?.amount ?? 0n)
})
