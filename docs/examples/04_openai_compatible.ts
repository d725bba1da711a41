/**
 * A model over an OpenAI-compatible endpoint, guarded by one Layer: a text, tools, an object, a stream, a cap, a cancelled stream.
 *
 * The endpoint is a fake that this program starts on 127.0.0.1, so no key is needed. With `OPENAI_COMPATIBLE_URL`, for example
 * `http://127.0.0.1:11434/v1`, and `OPENAI_COMPATIBLE_MODEL` the text and the stream come from that endpoint.
 */
import { CyclesModel } from "@effect-cycles/ai"
import { Effect, Layer, Redacted, Schema, Stream } from "effect"
import { Chat, LanguageModel, Tool, Toolkit } from "effect/ai"
import { FetchHttpClient } from "effect/http"
import { Cycles } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import * as FakeProvider from "./support/fakeProvider.ts"
import * as OpenAiCompatible from "./support/openAiCompatible.ts"
import { check, say, section, withServer } from "./support/stage.ts"

const Lookup = Tool.make("lookup", {
  description: "The weather of a city",
  parameters: Schema.Struct({ city: Schema.String }),
  success: Schema.String
})
const toolkit = Toolkit.make(Lookup)
const handlers = toolkit.toLayer({ lookup: ({ city }) => Effect.succeed(`rain in ${city}`) })

/** What the tenant's budget has spent. */
const spent = Stream.runHead(Cycles.balances()).pipe(
  Effect.map((balance) => (balance._tag === "Some" ? Number(balance.value.spent?.amount ?? 0n) : 0))
)

withServer({ unit: "TOKENS", allocated: 50_000 }, ({ apiKey, baseUrl, journal, tenant }) =>
  Effect.gen(function* () {
    const fake = yield* FakeProvider.make
    const { OPENAI_COMPATIBLE_KEY = "key", OPENAI_COMPATIBLE_MODEL, OPENAI_COMPATIBLE_URL } = process.env

    /** A guarded model. The name of a model of the fake chooses what it does. */
    const model = (name: string, url = `${fake.url}/v1`) =>
      CyclesModel.layer({ maxOutputTokens: 500, outputLimit: OpenAiCompatible.outputLimit }).pipe(
        Layer.provide(
          OpenAiCompatible.layer({
            baseUrl: url,
            apiKey: Redacted.make(OPENAI_COMPATIBLE_KEY),
            provider: "local",
            model: name
          })
        ),
        Layer.provide(FetchHttpClient.layer)
      )
    const chosen = model(OPENAI_COMPATIBLE_MODEL ?? "plain", OPENAI_COMPATIBLE_URL)

    yield* section(
      "1. A text",
      Effect.gen(function* () {
        const { text, usage } = yield* LanguageModel.generateText({ prompt: "Hello" })
        yield* say(text)
        const total = (usage.inputTokens.total ?? 0) + (usage.outputTokens.total ?? 0)
        yield* check(`${total} tokens were charged, as the provider reported`, (yield* spent) === total)
      }).pipe(Effect.provide(chosen))
    )

    yield* section(
      "2. Tools: each step of the chat is guarded",
      Effect.gen(function* () {
        const before = yield* spent
        const chat = yield* Chat.empty
        const { toolResults } = yield* chat.generateText({ prompt: "The weather?", toolkit })
        for (const { result } of toolResults) yield* say(String(result))
        yield* say((yield* chat.generateText({ prompt: [], toolkit })).text)
        yield* check("two calls were charged", (yield* spent) - before === 100)
      }).pipe(Effect.provide([model("tool"), handlers]))
    )

    yield* section(
      "3. An object",
      Effect.gen(function* () {
        const schema = Schema.Struct({ city: Schema.String })
        const { value } = yield* LanguageModel.generateObject({ prompt: "Which city?", schema })
        yield* check(`the city is ${value.city}`, value.city === "Oslo")
      }).pipe(Effect.provide(model("plain")))
    )

    yield* section(
      "4. A stream",
      Effect.gen(function* () {
        const before = yield* spent
        const texts = yield* LanguageModel.streamText({ prompt: "Hello" }).pipe(
          Stream.filter((part) => part.type === "text-delta"),
          Stream.map((part) => part.delta),
          Stream.runCollect
        )
        yield* say(texts.join(""))
        yield* check("the stream was charged", (yield* spent) > before)
      }).pipe(Effect.provide(chosen))
    )

    yield* section(
      "5. A cap: the provider is sent the lower limit",
      Effect.gen(function* () {
        yield* LanguageModel.generateText({ prompt: "Hello" })
        yield* check("the output limit is 512", fake.requests.at(-1)?.limit === 512)
      }).pipe(
        Effect.provide(
          CyclesModel.layer({ maxOutputTokens: 2_000, outputLimit: OpenAiCompatible.outputLimit }).pipe(
            Layer.provide(OpenAiCompatible.layer({ baseUrl: `${fake.url}/v1`, provider: "local", model: "plain" })),
            Layer.provide(FetchHttpClient.layer)
          )
        ),
        Cycles.withSubject({ agent: "writer" })
      )
    )

    yield* section(
      "6. A stream that is cut short: the provider stops, and what it generated is charged",
      Effect.gen(function* () {
        const before = yield* spent
        yield* LanguageModel.streamText({ prompt: "Hello" }).pipe(
          Stream.filter((part) => part.type === "text-delta"),
          Stream.take(3),
          Stream.runDrain
        )
        const request = fake.requests.at(-1)
        yield* check(
          "the connection was closed",
          request !== undefined && (yield* Effect.promise(() => request.hungUp))
        )
        const charged = (yield* spent) - before
        yield* check("more than nothing and less than a whole response was charged", charged > 0 && charged < 50)
      }).pipe(Effect.provide(model("drip")))
    )
  }).pipe(
    Effect.scoped,
    Effect.provide(NodeCycles.layer({ baseUrl, apiKey, subject: { tenant } }).pipe(Layer.provide(journal)))
  )
)
