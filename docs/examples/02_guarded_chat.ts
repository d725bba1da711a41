/** A chat with two tools under one Layer: allowed calls, a denied tool, a capped call, a downgrade. The model is a script. */
import { CyclesModel, CyclesToolkit } from "@effect-cycles/ai"
import { Effect, ExecutionPlan, Layer, Schema } from "effect"
import { Chat, LanguageModel, Tool, Toolkit } from "effect/ai"
import { Amount, Cycles } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import { call, reply, scripted } from "./support/model.ts"
import { check, say, section, withServer } from "./support/stage.ts"

const Search = Tool.make("search", { parameters: Schema.Struct({ query: Schema.String }), success: Schema.String })
const Shell = Tool.make("shell", { parameters: Schema.Struct({ command: Schema.String }), success: Schema.String })
const tools = Toolkit.make(Search, Shell)
const handlers = tools.toLayer({ search: () => Effect.succeed("3 hits"), shell: () => Effect.succeed("never run") })

// A search costs 100 tokens of the same budget; a shell command costs more than there is.
const toolkit = CyclesToolkit.guard(tools, {
  search: { estimate: Amount.tokens(100) },
  shell: { estimate: Amount.tokens(1_000_000) }
})

withServer({ unit: "TOKENS", allocated: 10_000 }, ({ apiKey, baseUrl, journal, tenant }) =>
  Effect.gen(function* () {
    const model = yield* scripted(
      reply("Hello!", 40),
      [call("search", { query: "cycles" }), call("shell", { command: "rm -rf" })],
      reply("In few words.", 20),
      reply("The cheaper model says hello.", 30)
    )
    // The guard has a table of published providers. This one isn't in it, so the option outputLimit names its setting.
    const guarded = (maxOutputTokens: number) =>
      CyclesModel.layer({ maxOutputTokens, outputLimit: model.outputLimit }).pipe(Layer.provide(model.layer))
    const chat = yield* Chat.empty
    yield* section(
      "1. Allowed",
      Effect.gen(function* () {
        yield* say((yield* chat.generateText({ prompt: "Hello" })).text)
        const { toolResults } = yield* chat.generateText({ prompt: "Look it up", toolkit })
        for (const { name, result } of toolResults) yield* say(`${name}: ${JSON.stringify(result)}`)
        yield* check(
          "the shell was denied, and never ran",
          toolResults.some((_) => _.name === "shell" && _.isFailure)
        )
      }).pipe(Effect.provide([guarded(2_000), handlers]))
    )
    yield* section(
      "2. Capped: this agent may generate 512 tokens at most",
      Effect.gen(function* () {
        yield* say((yield* LanguageModel.generateText({ prompt: "Write" })).text)
        yield* check("the provider got the limit 512", model.limits.at(-1) === 512)
      }).pipe(Effect.provide(guarded(2_000)), Cycles.withSubject({ agent: "writer" }))
    )
    yield* section(
      "3. Downgraded: the better model would cost more than is left",
      Effect.gen(function* () {
        const plan = ExecutionPlan.make({ provide: guarded(50_000) }, { provide: guarded(500) })
        yield* say((yield* Effect.withExecutionPlan(LanguageModel.generateText({ prompt: "Hello" }), plan)).text)
      })
    )
  }).pipe(Effect.provide(NodeCycles.layer({ baseUrl, apiKey, subject: { tenant } }).pipe(Layer.provide(journal))))
)
