/**
 * An agent with a budget for the whole job: helpers that share it, two models, tools with limits, and a summary of
 * the spend. The models are scripts, and a test clock passes the time.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { CyclesAiError, CyclesModel, CyclesToolkit, OutputLimit, Pricing } from "@effect-cycles/ai"
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest } from "@effect-cycles/testing"
import { Effect, Fiber, Layer, Schema } from "effect"
import { Chat, LanguageModel, Tool, Toolkit } from "effect/ai"
import { TestClock } from "effect/testing"
import { Amount, Cycles, Run } from "effect-cycles"
import { readPage, scriptedModel, search } from "./support/newsroom.ts"
import { check, say, section } from "./support/stage.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models: the big one, and a small one for a run that has little left
// ---------------------------------------------------------------------------------------------------------------------

/** Stands for a provider's model, as `OpenAiLanguageModel.model("gpt-5")`, which needs no option `outputLimit`. */
const guarded = (model: Layer.Layer<LanguageModel.LanguageModel>) =>
  CyclesModel.layer({ units: "usd", maxOutputTokens: 2_000, outputLimit: OutputLimit.none }).pipe(Layer.provide(model))

const Models = CyclesModel.layerTiers({
  unit: "USD_MICROCENTS",
  tiers: [
    { above: 0.4, model: guarded(scriptedModel("gpt-5", "2 seconds")) },
    { model: guarded(scriptedModel("gpt-5-mini", "700 millis")) }
  ]
}).pipe(
  Layer.provide(
    Pricing.layerStatic({
      "openai:gpt-5": { input: "1.25", output: "10" },
      "openai:gpt-5-mini": { input: "0.25", output: "2" }
    })
  )
)

// ---------------------------------------------------------------------------------------------------------------------
// the loop that every agent here runs: the model calls tools until it responds without one
// ---------------------------------------------------------------------------------------------------------------------

const converse = Effect.fnUntraced(function* <Tools extends Record<string, Tool.Any>>(
  system: string,
  prompt: string,
  toolkit: Toolkit.WithHandler<Tools>
) {
  const chat = yield* Chat.fromPrompt([{ role: "system", content: system }])
  let response = yield* chat.generateText({ prompt, toolkit })
  while (response.toolCalls.length > 0) {
    response = yield* chat.generateText({ prompt: [], toolkit })
  }
  return response.text
})

// ---------------------------------------------------------------------------------------------------------------------
// helpers: a search is priced, reading is free
// ---------------------------------------------------------------------------------------------------------------------

const helperTools = Toolkit.make(
  Tool.make("Search", {
    parameters: Schema.Struct({ query: Schema.String }),
    success: Schema.Array(Schema.String)
  }),
  Tool.make("ReadPage", { parameters: Schema.Struct({ url: Schema.String }), success: Schema.String })
)

const guardedHelperTools = CyclesToolkit.guard(helperTools, {
  Search: { estimate: Amount.usd("0.002"), actual: (hits) => Amount.usd(0.001 * hits.length) },
  ReadPage: "free"
}).pipe(
  Effect.provide(helperTools.toLayer({ Search: ({ query }) => search(query), ReadPage: ({ url }) => readPage(url) }))
)

/** A helper. Its spend is limited by its own budget and by the remaining budget of the whole job. */
const research = (topic: string) =>
  Effect.gen(function* () {
    const toolkit = yield* guardedHelperTools
    const outcome = yield* Run.outcome(converse(`You research ${topic}`, "Go", toolkit), {
      name: topic,
      budget: Amount.usd("0.08"),
      limits: { steps: 17, repeats: 2 },
      denialOf: CyclesAiError.denialOf
    })
    if (outcome._tag === "Failed") return yield* Effect.failCause(outcome.cause)
    const notes = outcome._tag === "Completed" ? outcome.value : `Nothing about ${topic}. ${outcome.by.message}`
    yield* say(`${topic}, ${outcome.summary.steps} steps: ${notes}`)
    return notes
  })

// ---------------------------------------------------------------------------------------------------------------------
// the lead: its tools start helpers
// ---------------------------------------------------------------------------------------------------------------------

const dependencies = [LanguageModel.LanguageModel, Cycles.Cycles]

const leadTools = Toolkit.make(
  Tool.make("Research", {
    parameters: Schema.Struct({ topic: Schema.String }),
    success: Schema.String,
    failure: Schema.Never,
    dependencies
  }),
  Tool.make("CheckFacts", {
    parameters: Schema.Struct({ draft: Schema.String }),
    success: Schema.String,
    dependencies
  }),
  Tool.make("SendMail", {
    parameters: Schema.Struct({ to: Schema.String, text: Schema.String }),
    success: Schema.String
  })
)

const job = Effect.scoped(
  Effect.gen(function* () {
    // The facts are checked last. This part of the budget is set aside for it now.
    const checking = yield* Run.make({ name: "fact check", budget: Amount.usd("0.10"), share: "carve" })
    const handlers = leadTools.toLayer({
      Research: ({ topic }) => Cycles.orElseDenied(research(topic), ({ message }) => Effect.succeed(message)),
      CheckFacts: ({ draft }) =>
        Effect.flatMap(guardedHelperTools, (toolkit) => converse("You check facts", draft, toolkit)).pipe(
          Run.within(checking)
        ),
      SendMail: ({ text, to }) => Effect.as(say(`mail to ${to}: ${text}`), "sent")
    })
    const toolkit = yield* CyclesToolkit.guard(leadTools, {
      SendMail: { estimate: Amount.usd("0.001") }
    }).pipe(Effect.provide(handlers))
    return yield* converse("You write a newsletter with helpers", "Write about traffic", toolkit)
  })
)

// ---------------------------------------------------------------------------------------------------------------------
// the run
// ---------------------------------------------------------------------------------------------------------------------

const program = Effect.gen(function* () {
  const outcome = yield* section(
    "1. The job",
    Run.outcome(job, {
      name: "newsletter",
      budget: Amount.usd("1.00"),
      limits: { steps: 200, toolCalls: 150, callsPerTool: { SendMail: 1 } },
      thresholds: [0.25, 0.5, 0.75],
      onThreshold: ({ allocated, at, charged }) => say(`${at * 100} % used: ${charged} of ${allocated}`),
      denialOf: CyclesAiError.denialOf
    })
  )
  yield* section(
    "2. How it ended",
    Effect.gen(function* () {
      switch (outcome._tag) {
        case "Completed":
          return yield* say(outcome.value)
        case "Stopped":
          return yield* say(`stopped: ${outcome.by.message}`)
        case "Failed":
          return yield* Effect.failCause(outcome.cause)
      }
    })
  )
  yield* section(
    "3. Where the money went",
    Effect.forEach(Run.format(outcome.summary).split("\n"), say, { discard: true })
  )
  yield* section(
    "4. The server's books",
    Effect.gen(function* () {
      const { reserved, spent } = yield* (yield* CyclesServer.CyclesServer).books("USD_MICROCENTS")
      const total = outcome.summary.budgets.find(({ unit }) => unit === "USD_MICROCENTS")?.charged.amount
      yield* check("the server has charged what the run has counted", spent === total)
      yield* check("nothing is reserved", reserved === 0n)
    })
  )
  console.log("\nDone.")
})

// A server in memory. With a real one: NodeCycles.layerConfig() from "effect-cycles/node".
const Server = CyclesTest.layer({ budgets: [{ unit: "USD_MICROCENTS", allocated: 1_000_000_000 }] })

NodeRuntime.runMain(
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(program)
    yield* TestClock.adjust("1 hour")
    yield* Fiber.join(fiber)
  }).pipe(Effect.provide(Models.pipe(Layer.provideMerge(Server), Layer.provideMerge(TestClock.layer()))))
)
