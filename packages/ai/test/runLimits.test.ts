/** Steps and tool calls of guarded models and toolkits within runs. */

import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as Chat from "effect/ai/Chat"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Amount, Cycles, Run } from "effect-cycles"
import * as CyclesAiError from "../src/CyclesAiError.ts"
import * as CyclesModel from "../src/CyclesModel.ts"
import * as CyclesToolkit from "../src/CyclesToolkit.ts"
import * as S from "./support/script.ts"

// ---------------------------------------------------------------------------------------------------------------------
// the world
// ---------------------------------------------------------------------------------------------------------------------

const Search = Tool.make("Search", {
  parameters: Schema.Struct({ query: Schema.String, page: Schema.Int }),
  success: Schema.String
})
const Mail = Tool.make("Mail", { parameters: Schema.Struct({ to: Schema.String }), success: Schema.String })
const tools = Toolkit.make(Search, Mail)

/** A toolkit with a free and a priced tool, and the calls of its handlers. */
const guardedTools = (options?: CyclesToolkit.Options) => {
  const ran: Array<string> = []
  const run = (name: string) => () =>
    Effect.as(
      Effect.sync(() => ran.push(name)),
      "done"
    )
  const toolkit = CyclesToolkit.guard(tools, { Mail: { estimate: Amount.riskPoints(1) } }, options).pipe(
    Effect.provide(tools.toLayer({ Search: run("Search"), Mail: run("Mail") }))
  )
  return { ran, toolkit }
}
type Guarded = ReturnType<typeof guardedTools>["toolkit"]

const response: S.Turn = { parts: [S.text('{"ok":true}'), S.delta("ok"), S.finish(20, 10)] }
const calling = (...calls: ReadonlyArray<readonly [name: string, params: unknown]>): S.Turn => ({
  parts: [...calls.map(([name, params], i) => S.toolCall(name, params, `call-${i}`)), S.finish(20, 10, "tool-calls")]
})
const search = (query = "x") => ["Search", { query, page: 1 }] as const
const mail = ["Mail", { to: "a" }] as const
const refused: S.Turn = { parts: [], fails: S.failure(S.rateLimited) }

const times = <A>(count: number, value: A): ReadonlyArray<A> => Array.from({ length: count }, () => value)

const prompt = "Find it"
const schema = Schema.Struct({ ok: Schema.Boolean })

/** The methods of a model, with and without tools. */
const methods = {
  text: (toolkit?: Guarded) =>
    toolkit === undefined
      ? Effect.asVoid(LanguageModel.generateText({ prompt }))
      : Effect.asVoid(LanguageModel.generateText({ prompt, toolkit })),
  stream: (toolkit?: Guarded) =>
    toolkit === undefined
      ? Stream.runDrain(LanguageModel.streamText({ prompt }))
      : Stream.runDrain(LanguageModel.streamText({ prompt, toolkit })),
  object: (toolkit?: Guarded) =>
    toolkit === undefined
      ? Effect.asVoid(LanguageModel.generateObject({ prompt, schema }))
      : Effect.asVoid(LanguageModel.generateObject({ prompt, schema, toolkit }))
}
const each = Object.entries(methods)

const server = (caps?: { readonly max_steps_remaining: number }) => ({
  budgets: [
    { unit: "TOKENS" as const, allocated: 1_000_000, ...(caps && { caps }) },
    { unit: "RISK_POINTS" as const, allocated: 1_000_000 }
  ]
})
const world = (turns: ReadonlyArray<S.Turn>, caps?: { readonly max_steps_remaining: number }) =>
  S.guarded(turns, { maxOutputTokens: 100 }, server(caps))

const choices = Effect.map(S.Script, ({ asked }) => asked.map(({ options }) => options.toolChoice))
const asked = Effect.map(S.Script, ({ asked }) => asked.length)

/** The denial in the error of a model. */
const denialOf = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.map(Effect.flip(self), CyclesAiError.denialOf)

/** The reasons that the model reads for refused tool calls. */
const reasons = (response: { readonly toolResults: ReadonlyArray<{ readonly result: unknown }> }) =>
  response.toolResults.map(({ result }) =>
    typeof result === "object" && result !== null && "reason" in result ? String(result.reason) : result
  )

// ---------------------------------------------------------------------------------------------------------------------
// steps
// ---------------------------------------------------------------------------------------------------------------------

describe("steps", () => {
  it.effect.each(each)(
    "of %s: the last one keeps its tools with the choice none, and the next one is denied",
    ([, ask]) =>
      Effect.gen(function* () {
        const { toolkit } = guardedTools()
        const run = yield* Run.make({ name: "job", limits: { steps: 3 } })
        const step = Run.within(ask(toolkit), run)
        for (let i = 0; i < 3; i++) yield* step
        expect(yield* choices).toEqual(["auto", "auto", "none"])
        expect((yield* S.Script).asked.map(({ options }) => options.tools.map(({ name }) => name))).toEqual(
          times(3, ["Search", "Mail"])
        )
        const error = yield* Effect.flip(step)
        expect(AiError.isAiError(error) && error.reason._tag).toBe("QuotaExhaustedError")
        expect(error.message).toContain(
          "Budget denied: reserve for llm.completion openai:gpt-5 on run:job (RUN_STEPS_EXCEEDED); the run allows 3 steps"
        )
        expect(CyclesAiError.denialOf(error)).toMatchObject({ code: "RUN_STEPS_EXCEEDED", run: { name: "job" } })
        expect(yield* asked).toBe(3)
        expect(yield* CyclesTest.requests("reserve")).toHaveLength(3)
        expect(yield* run.summary).toMatchObject({ steps: 3, calls: 3, denials: 1 })
      }).pipe(Effect.scoped, Effect.provide(world(times(3, response))))
  )

  it.effect.each(each)("of %s: 3 of 10 parallel calls pass under steps: 3", ([, ask]) =>
    Effect.gen(function* () {
      const results = yield* Effect.forEach(times(10, ask()), Effect.result, { concurrency: "unbounded" }).pipe(
        Cycles.withBudget([], { limits: { steps: 3 } })
      )
      expect(results.filter(Result.isSuccess)).toHaveLength(3)
      expect(yield* asked).toBe(3)
    }).pipe(Effect.provide(world(times(10, response))))
  )

  it.effect.each(each)("of %s: three refusals by the provider and a response are one step", ([, ask]) =>
    Effect.gen(function* () {
      const run = yield* Run.make({ limits: { steps: 1 } })
      yield* Run.within(Effect.retry(ask(), { times: 3 }), run)
      expect(yield* asked).toBe(4)
      expect(yield* run.summary).toMatchObject({ steps: 1, denials: 0 })
      expect(yield* denialOf(Run.within(ask(), run))).toMatchObject({ code: "RUN_STEPS_EXCEEDED" })
    }).pipe(Effect.scoped, Effect.provide(world([refused, refused, refused, response])))
  )

  it.effect.each(
    each.flatMap(([name, ask]) =>
      (
        [
          ["the run denies the call", 0, undefined],
          ["the server denies the call", 2_000_000, Fault.denied],
          ["the server can't be reached", 2_000_000, Fault.connectionRefused]
        ] as const
      ).map(([when, tokens, fault]) => [`${name} is given back if ${when}`, ask, tokens, fault] as const)
    )
  )("of %s", ([, ask, tokens, fault]) =>
    Effect.gen(function* () {
      const run = yield* Run.make({ budget: Amount.tokens(tokens), limits: { steps: 1 } })
      if (fault !== undefined) yield* CyclesTest.always("reserve", fault)
      for (let i = 0; i < 2; i++) {
        const cause = yield* Effect.map(Effect.flip(Run.within(ask(), run)), (error) =>
          AiError.isAiError(error) ? CyclesAiError.causeOf(error) : undefined
        )
        expect(cause?._tag).toBe(fault === Fault.connectionRefused ? "TransportError" : "BudgetExceeded")
        expect(cause).not.toMatchObject({ code: "RUN_STEPS_EXCEEDED" })
      }
      expect(yield* run.summary).toMatchObject({ steps: 0 })
      expect(yield* asked).toBe(0)
    }).pipe(Effect.scoped, Effect.provide(world([])))
  )

  it.effect.each(each)("of %s: a call that is interrupted before the provider is asked is given back", ([, ask]) =>
    Effect.gen(function* () {
      const run = yield* Run.make({ limits: { steps: 1 } })
      yield* CyclesTest.inject("reserve", Fault.noResponse)
      const fiber = yield* Effect.forkChild(Run.within(ask(), run), { startImmediately: true })
      yield* Effect.yieldNow
      expect(yield* run.summary).toMatchObject({ steps: 1 })
      yield* Fiber.interrupt(fiber)
      expect(yield* run.summary).toMatchObject({ steps: 0 })
    }).pipe(Effect.scoped, Effect.provide(world([])))
  )

  it.effect.each(
    each.flatMap(([name, ask]) => {
      const turns: ReadonlyArray<readonly [string, S.Turn]> = [
        [
          "failed after it was sent",
          { parts: [], fails: S.failure(new AiError.InternalProviderError({ description: "?" })) }
        ],
        ["broke off", { parts: [S.delta("o"), S.finish(1, 1)], fails: S.failure(new AiError.UnknownError({})) }]
      ]
      return turns.map(([how, turn]) => [`${name} counts if the call ${how}`, ask, turn] as const)
    })
  )("of %s", ([, ask, turn]) =>
    Effect.gen(function* () {
      const run = yield* Run.make({ limits: { steps: 1 } })
      yield* Effect.flip(Run.within(ask(), run))
      expect(yield* run.summary).toMatchObject({ steps: 1 })
    }).pipe(Effect.scoped, Effect.provide(S.guarded([turn], { maxOutputTokens: 100 }, server())))
  )

  it.effect("of an agent and its helper count in the run of the agent", () =>
    Effect.gen(function* () {
      const outcome = yield* Effect.gen(function* () {
        yield* methods.text()
        const helper = yield* Run.outcome(
          Effect.forEach(times(5, 0), () => methods.stream()),
          {
            name: "helper",
            limits: { steps: 2 },
            denialOf: CyclesAiError.denialOf
          }
        )
        yield* methods.object()
        return helper
      }).pipe(Run.outcome({ name: "agent", limits: { steps: 4 }, denialOf: CyclesAiError.denialOf }))
      expect(outcome).toMatchObject({
        _tag: "Completed",
        value: { _tag: "Stopped", by: { code: "RUN_STEPS_EXCEEDED", run: { name: "helper" } } },
        summary: { steps: 4, children: [{ name: "helper", steps: 2, stoppedBy: "RUN_STEPS_EXCEEDED" }] }
      })
    }).pipe(Effect.provide(world(times(5, response))))
  )

  it.effect("of a helper are denied by the run of the agent", () =>
    Effect.gen(function* () {
      const helper = Cycles.withBudget(
        Effect.forEach(times(5, 0), () => methods.text()),
        [],
        { name: "helper" }
      )
      const outcome = yield* Run.outcome(helper, {
        name: "agent",
        limits: { steps: 2 },
        denialOf: CyclesAiError.denialOf
      })
      expect(outcome).toMatchObject({ _tag: "Stopped", by: { run: { name: "agent" } }, summary: { steps: 2 } })
    }).pipe(Effect.provide(world(times(5, response))))
  )

  it.effect("have numbers, which are in the metadata of the reserves and in the events of the run", () =>
    Effect.gen(function* () {
      const { toolkit } = guardedTools()
      const run = yield* Run.make({})
      const events = yield* Effect.forkChild(Stream.runCollect(Stream.take(run.events, 8)), { startImmediately: true })
      const ask = Run.within(methods.text(toolkit), run)
      yield* Effect.all([ask, ask], { concurrency: "unbounded" })
      yield* ask
      const charged = (yield* Fiber.join(events)).flatMap((event) =>
        event._tag === "Charged" ? [`${event.action.kind} ${event.step}`] : []
      )
      expect(charged.toSorted()).toEqual(["llm.completion 1", "llm.completion 2", "llm.completion 3", "tool.call 3"])
      const steps = (yield* CyclesTest.requests("reserve")).map(({ body }): unknown => JSON.parse(body).metadata.step)
      expect(steps).toEqual([1, 2, 3, 3])
    }).pipe(Effect.scoped, Effect.provide(world([response, response, calling(mail)])))
  )

  it.effect("of a model that is guarded twice count once", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ limits: { steps: 2 } })
      const twice = yield* CyclesModel.make(yield* LanguageModel.LanguageModel)
      const { toolkit } = guardedTools()
      const ask = twice.generateText({ prompt: "Find it", toolkit })
      yield* Run.within(ask, run)
      yield* Run.within(ask, run)
      expect(yield* run.summary).toMatchObject({ steps: 2 })
      expect(yield* choices).toEqual(["auto", "none"])
    }).pipe(Effect.scoped, Effect.provide(world(times(2, response))))
  )

  it.effect("fail with ToolNotFoundError if the model calls a tool in the last one", () =>
    Effect.gen(function* () {
      const { ran, toolkit } = guardedTools()
      const error = yield* Effect.flip(methods.text(toolkit)).pipe(Cycles.withBudget([], { limits: { steps: 1 } }))
      expect(AiError.isAiError(error) && error.reason._tag).toBe("ToolNotFoundError")
      expect(ran).toEqual([])
    }).pipe(Effect.provide(world([calling(search())])))
  )
})

describe("caps.max_steps_remaining", () => {
  it.effect.each(each)("of %s counts down in a run: 2 allows two more steps, the last without tools", ([, ask]) =>
    Effect.gen(function* () {
      const { toolkit } = guardedTools()
      const run = yield* Run.make({ name: "job" })
      for (let i = 0; i < 3; i++) yield* Run.within(ask(toolkit), run)
      expect(yield* choices).toEqual(["auto", "auto", "none"])
      expect(yield* denialOf(Run.within(ask(toolkit), run))).toMatchObject({
        code: "RUN_STEPS_EXCEEDED",
        hint: "the cap max_steps_remaining of the budget allows 3 steps in this run"
      })
    }).pipe(Effect.scoped, Effect.provide(world(times(3, response), { max_steps_remaining: 2 })))
  )

  it.effect("doesn't count down without a run", () =>
    Effect.gen(function* () {
      const { toolkit } = guardedTools()
      for (let i = 0; i < 4; i++) yield* methods.text(toolkit)
      expect(yield* choices).toEqual(times(4, "auto"))
    }).pipe(Effect.provide(world(times(4, response), { max_steps_remaining: 2 })))
  )

  it.effect("leaves a smaller limit of the run as it is", () =>
    Effect.gen(function* () {
      const outcome = yield* Run.outcome(
        Effect.forEach(times(5, 0), () => methods.text()),
        {
          limits: { steps: 2 },
          denialOf: CyclesAiError.denialOf
        }
      )
      expect(outcome.summary).toMatchObject({ steps: 2, stoppedBy: "RUN_STEPS_EXCEEDED" })
    }).pipe(Effect.provide(world(times(3, response), { max_steps_remaining: 7 })))
  )

  it.effect("counts down over calls that the provider refused only once", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({})
      yield* Run.within(Effect.retry(methods.text(), { times: 3 }), run)
      yield* Run.within(methods.text(), run)
      expect(yield* denialOf(Run.within(methods.text(), run))).toMatchObject({ code: "RUN_STEPS_EXCEEDED" })
      expect(yield* run.summary).toMatchObject({ steps: 2 })
    }).pipe(
      Effect.scoped,
      Effect.provide(world([refused, refused, refused, response, response], { max_steps_remaining: 1 }))
    )
  )
})

// ---------------------------------------------------------------------------------------------------------------------
// tools
// ---------------------------------------------------------------------------------------------------------------------

describe("toolCalls", () => {
  it.effect("runs 3 of 4 calls of two parallel steps, and asks the model to respond", () =>
    Effect.gen(function* () {
      const { ran, toolkit } = guardedTools()
      const run = yield* Run.make({ limits: { toolCalls: 3 } })
      const ask = Run.within(LanguageModel.generateText({ prompt: "Find it", toolkit }), run)
      const responses = yield* Effect.all([ask, ask], { concurrency: "unbounded" })
      expect(ran).toHaveLength(3)
      const refusals = responses.flatMap(reasons).filter((reason) => reason !== "done")
      expect(refusals).toEqual([
        expect.stringMatching(
          /^No more calls of (Search|Mail) are allowed in this run\. Respond with what you know\. The tool did not run\. \(RUN_TOOL_CALLS_EXCEEDED, 0 calls left\)$/
        )
      ])
      expect(yield* run.summary).toMatchObject({ steps: 2, toolCalls: 3, denials: 1 })
    }).pipe(Effect.scoped, Effect.provide(world(times(2, calling(search(), mail)))))
  )

  it.effect.each([
    ["toolCalls", { toolCalls: 1 }, ["Search"]],
    ["callsPerTool for each tool", { callsPerTool: 1 }, ["Search", "Mail"]],
    ["callsPerTool by name", { callsPerTool: { Mail: 1 } }, ["Search", "Search", "Mail"]],
    ["no limit", {}, ["Search", "Search", "Mail", "Mail"]]
  ] satisfies ReadonlyArray<readonly [string, Run.Limits, ReadonlyArray<string>]>)(
    "counts free and priced tools: %s",
    ([, limits, expected]) =>
      Effect.gen(function* () {
        const { ran, toolkit } = guardedTools()
        yield* LanguageModel.generateText({ prompt: "Find it", toolkit, concurrency: 1 }).pipe(
          Cycles.withBudget([], { limits })
        )
        expect(ran).toEqual(expected)
      }).pipe(Effect.provide(world([calling(search("x"), search("y"), mail, mail)])))
  )

  it.effect("counts the tools of streams and objects as well", () =>
    Effect.gen(function* () {
      const { ran, toolkit } = guardedTools()
      const run = yield* Run.make({ limits: { toolCalls: 1 } })
      yield* Run.within(methods.stream(toolkit), run)
      yield* Run.within(methods.object(toolkit), run)
      expect(ran).toEqual(["Search"])
    }).pipe(
      Effect.scoped,
      Effect.provide(
        world([calling(search()), { parts: [S.text('{"ok":true}'), S.toolCall(...search()), S.finish(1, 1)] }])
      )
    )
  )

  it.effect("counts direct calls of handle, which no loop sees", () =>
    Effect.gen(function* () {
      const guarded = guardedTools()
      const toolkit = yield* guarded.toolkit
      const call = Stream.runCollect(Stream.unwrap(toolkit.handle("Search", { query: "x", page: 1 })))
      const results = yield* Effect.all([call, call, call], { concurrency: "unbounded" }).pipe(
        Cycles.withBudget([], { limits: { toolCalls: 2 } })
      )
      expect(guarded.ran).toHaveLength(2)
      expect(results.flat().filter(({ isFailure }) => isFailure)).toMatchObject([
        { result: { type: "execution-denied" }, preliminary: false }
      ])
    }).pipe(Effect.provide(world([])))
  )

  it.effect("counts the calls of a toolkit that is guarded twice once", () =>
    Effect.gen(function* () {
      const { ran, toolkit } = guardedTools()
      const twice = CyclesToolkit.guard(toolkit, { Search: "free" })
      const run = yield* Run.make({ limits: { toolCalls: 2 } })
      yield* Run.within(LanguageModel.generateText({ prompt: "Find it", toolkit: twice }), run)
      expect(ran).toHaveLength(2)
      expect(yield* run.summary).toMatchObject({ toolCalls: 2 })
    }).pipe(Effect.scoped, Effect.provide(world([calling(search(), mail)])))
  )

  it.effect("counts a call once that waits for an approval over a step", () =>
    Effect.gen(function* () {
      const ran: Array<string> = []
      const toolkit = CyclesToolkit.guard(tools, {
        Mail: { estimate: Amount.riskPoints(1), approval: "always" }
      }).pipe(
        Effect.provide(
          tools.toLayer({
            Search: () => Effect.succeed("done"),
            Mail: () =>
              Effect.as(
                Effect.sync(() => ran.push("Mail")),
                "done"
              )
          })
        )
      )
      const run = yield* Run.make({ limits: { steps: 2, toolCalls: 1 } })
      const chat = yield* Chat.empty
      const first = yield* Run.within(chat.generateText({ prompt: "Send it", toolkit }), run)
      expect(yield* run.summary).toMatchObject({ steps: 1, toolCalls: 0 })
      const [request] = first.content.filter((part) => part.type === "tool-approval-request")
      const approval = Prompt.make([
        {
          role: "tool",
          content: [{ type: "tool-approval-response", approvalId: request?.approvalId ?? "", approved: true }]
        }
      ])
      yield* Run.within(chat.generateText({ prompt: approval, toolkit }), run)
      expect(ran).toEqual(["Mail"])
      expect(yield* run.summary).toMatchObject({ steps: 2, toolCalls: 1, denials: 0 })
      expect(yield* choices).toEqual(["auto", "none"])
    }).pipe(Effect.scoped, Effect.provide(world([calling(mail), response])))
  )

  it.effect("of the provider count, and are never refused", () =>
    Effect.gen(function* () {
      const { ran, toolkit } = guardedTools()
      const run = yield* Run.make({ limits: { toolCalls: 2 } })
      yield* Run.within(methods.text(toolkit), run)
      expect(yield* run.summary).toMatchObject({ toolCalls: 3, denials: 0 })
      yield* Run.within(methods.text(toolkit), run)
      expect(ran).toEqual([])
    }).pipe(
      Effect.scoped,
      Effect.provide(
        world([
          {
            parts: [
              ...[1, 2, 3].map((i): Response.ToolCallPartEncoded => ({
                ...S.toolCall("Search", { query: "x", page: i }, `p${i}`),
                providerExecuted: true
              })),
              S.finish(1, 1)
            ]
          },
          calling(search())
        ])
      )
    )
  )
})

describe("repeats", () => {
  it.effect("refuses the same call over the whole run, whatever the order of its keys, including A-B-A-B", () =>
    Effect.gen(function* () {
      const { ran, toolkit } = guardedTools()
      const run = yield* Run.make({ limits: { repeats: 2 } })
      const ask = Run.within(LanguageModel.generateText({ prompt: "Find it", toolkit }), run)
      const results = (yield* Effect.forEach(times(6, ask), (one) => one)).flatMap(reasons)
      const refusal = (name: string) =>
        `${name} has been called with these arguments too often; the result won't change. The tool did not run. ` +
        "Respond with what you know, or use other arguments. (RUN_REPEATED_CALL, 0 calls left)"
      expect(results).toEqual(["done", "done", "done", "done", refusal("Search"), refusal("Mail")])
      expect(ran).toHaveLength(4)
    }).pipe(
      Effect.scoped,
      Effect.provide(
        world([
          calling(search()),
          calling(mail),
          calling(["Search", { page: 1, query: "x" }]),
          calling(mail),
          calling(search()),
          calling(mail)
        ])
      )
    )
  )

  it.effect("counts the calls of children in their parent", () =>
    Effect.gen(function* () {
      const { ran, toolkit } = guardedTools()
      const helper = Cycles.withBudget(methods.text(toolkit), [])
      yield* Effect.forEach(times(3, helper), (one) => one).pipe(Cycles.withBudget([], { limits: { repeats: 2 } }))
      expect(ran).toHaveLength(2)
    }).pipe(Effect.provide(world(times(3, calling(search())))))
  )
})
