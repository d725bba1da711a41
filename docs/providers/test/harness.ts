/**
 * Every program of this folder behind one interface.
 */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import Anthropic from "@anthropic-ai/sdk"
import { CyclesTest } from "@effect-cycles/testing"
import { GoogleGenAI } from "@google/genai"
import { Effect, Schedule, Stream } from "effect"
import type { CyclesError } from "effect-cycles"
import OpenAI from "openai"
import { charged } from "../../test/support/outcomes.ts"
import type { Call, Program } from "../../test/support/outcomes.ts"
import * as AiSdk from "../ai-sdk.ts"
import * as Claude from "../anthropic.ts"
import * as Google from "../google.ts"
import * as Chat from "../openai-chat.ts"
import * as Responses from "../openai-responses.ts"
import type { ProviderError } from "../support.ts"

/** The error of a guarded call. */
export type Failure = ProviderError | CyclesError.CyclesError

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
export const programs: ReadonlyArray<Program<Failure>> = [
  {
    name: "openai chat",
    isStream: false,
    reportedEarly: none,
    run: (call) => Stream.fromEffect(Effect.map(Chat.ask(openai(call)), Chat.textOf))
  },
  {
    name: "openai chat",
    isStream: true,
    reportedEarly: none,
    run: (call) => Chat.stream(openai(call))
  },
  {
    name: "openai responses",
    isStream: true,
    reportedEarly: none,
    run: (call) => Responses.stream(openai(call))
  },
  {
    name: "anthropic",
    isStream: false,
    reportedEarly: none,
    run: (call) => Stream.fromEffect(Effect.map(Claude.ask(anthropic(call)), Claude.textOf))
  },
  {
    name: "anthropic",
    isStream: true,
    // The input, in `message_start`.
    reportedEarly: () => 20,
    run: (call) => Claude.stream(anthropic(call))
  },
  {
    name: "ai",
    isStream: false,
    reportedEarly: none,
    run: (call) => Stream.fromEffect(Effect.map(AiSdk.ask({ ...aiSdk(call), prompt }), ({ text }) => text))
  },
  {
    name: "ai",
    isStream: true,
    reportedEarly: none,
    run: (call) => AiSdk.askStream({ ...aiSdk(call), prompt })
  },
  {
    name: "google",
    isStream: false,
    reportedEarly: none,
    run: (call) => Stream.fromEffect(Effect.map(Google.ask(google(call)), ({ text }) => text ?? ""))
  },
  {
    name: "google",
    isStream: true,
    // Every chunk has the input, the thoughts and the candidates so far.
    reportedEarly: (words) => 32 + words,
    run: (call) => Google.stream(google(call))
  }
]

/** The charged tokens, when nothing is reserved: a guard in the middleware of the AI SDK settles in the background. */
export const settled = Effect.andThen(
  Effect.retry(CyclesTest.expectNothingReserved(), { schedule: Schedule.spaced("10 millis"), times: 200 }),
  charged
)
