import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as McpClient from "effect/ai/McpClient"
import * as McpProtocol from "effect/ai/McpProtocol"
import * as McpServer from "effect/ai/McpServer"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { Amount, Cycles, CyclesError, Reservation } from "effect-cycles"
import type { Settlement } from "effect-cycles"
import * as CyclesAiError from "../src/CyclesAiError.ts"
import * as CyclesToolkit from "../src/CyclesToolkit.ts"
import { capsAppliedTotal } from "../src/internal/caps.ts"
import * as Denial from "../src/internal/denial.ts"
import * as ToolKeys from "../src/internal/toolKeys.ts"
import * as S from "./support/script.ts"

// ---------------------------------------------------------------------------------------------------------------------
// tools
// ---------------------------------------------------------------------------------------------------------------------

const fields = {
  parameters: Schema.Struct({ to: Schema.Array(Schema.String) }),
  success: Schema.Struct({ sent: Schema.Int }),
  failure: Schema.String
}
/** Throws its failures. */
const Send = Tool.make("Send", fields)
/** Returns its failures as results. */
const Post = Tool.make("Post", { ...fields, failureMode: "return" })
const Look = Tool.make("Look", { success: Schema.String })
const toolkit = Toolkit.make(Send, Post, Look)

type Tools = Toolkit.Tools<typeof toolkit>
type Handler = (
  params: { readonly to: ReadonlyArray<string> },
  context: { readonly preliminary: (result: { readonly sent: number }) => Effect.Effect<void> }
) => Effect.Effect<{ readonly sent: number }, string>

const handlers = (send: Handler) => toolkit.toLayer({ Send: send, Post: send, Look: () => Effect.succeed("nothing") })
const succeeds: Handler = () => Effect.succeed({ sent: 1 })

const estimate = Amount.riskPoints(10)
const perRecipient = ({ to }: { readonly to: ReadonlyArray<string> }) => Amount.riskPoints(to.length * 10)
const send: CyclesToolkit.Budget<typeof Send> = {
  estimate: perRecipient,
  actual: ({ sent }) => Amount.riskPoints(sent * 10)
}

/** Guards `Send` and `Post` alike. */
const guard = (
  budget: CyclesToolkit.Budget<typeof Send | typeof Post>,
  handler: Handler,
  options?: CyclesToolkit.Options
) => CyclesToolkit.guard(toolkit, { Send: budget, Post: budget }, options).pipe(Effect.provide(handlers(handler)))

/** All results of a call. */
const call = <T extends Record<string, Tool.Any>, Name extends keyof T>(
  toolkit: Toolkit.WithHandler<T>,
  name: Name,
  params: Tool.ParametersEncoded<T[Name]>,
  id?: string
) => Stream.runCollect(Stream.unwrap(toolkit.handle(name, params, id)))

/** Records spend in the reservation of the handler. */
const record = (amount: number, isEstimated = false) =>
  Effect.flatMap(Reservation.current, (reservation) =>
    Option.isNone(reservation)
      ? Effect.die("no reservation")
      : Effect.orDie(reservation.value.record({ actual: Amount.riskPoints(amount), isEstimated }))
  )

const deniedResult = (reason: string) => ({
  isFailure: true,
  preliminary: false,
  result: { type: "execution-denied", reason: expect.stringContaining(reason) },
  encodedResult: { type: "execution-denied", reason: expect.stringContaining(reason) }
})

// ---------------------------------------------------------------------------------------------------------------------
// the world
// ---------------------------------------------------------------------------------------------------------------------

const ledger = Effect.map(
  Effect.flatMap(CyclesServer.CyclesServer, (server) => server.books("RISK_POINTS")),
  ({ reserved, spent }) => ({ spent: Number(spent), reserved: Number(reserved) })
)
const reservations = Effect.flatMap(CyclesServer.CyclesServer, (server) => server.reservations)

const world = (caps?: CyclesServer.CapsOptions, allocated = 100) =>
  CyclesTest.layer({ budgets: [{ unit: "RISK_POINTS", allocated, caps }] })

/** A model that calls one tool. */
const model = (name: string, params: unknown, allocated = 100) =>
  S.bare.pipe(
    Layer.provideMerge(
      S.world([{ parts: [S.toolCall(name, params), S.finish(20, 10, "tool-calls")] }], {
        budgets: [{ unit: "RISK_POINTS", allocated }]
      })
    )
  )

const ask = (handler: Handler, options?: CyclesToolkit.Options) =>
  LanguageModel.generateText({
    prompt: "Write to them",
    toolkit: CyclesToolkit.guard(toolkit, { Send: send }, options)
  }).pipe(Effect.provide(handlers(handler)))

describe("CyclesToolkit", () => {
  describe("guard", () => {
    it.effect("reserves an estimate of the parameters and commits the actual amount of the result", () =>
      Effect.gen(function* () {
        let reserved = -1
        const server = yield* CyclesServer.CyclesServer
        const response = yield* ask(({ to }) =>
          Effect.map(ledger, (now) => {
            reserved = now.reserved
            return { sent: to.length - 1 }
          }).pipe(Effect.provideService(CyclesServer.CyclesServer, server))
        )
        expect(reserved).toBe(30)
        expect(response.toolResults[0]?.result).toEqual({ sent: 2 })
        expect(yield* ledger).toEqual({ spent: 20, reserved: 0 })
        expect((yield* reservations)[0]?.action).toMatchObject({ kind: "tool.call", name: "Send" })
      }).pipe(Effect.provide(model("Send", { to: ["a", "b", "c"] })))
    )

    it.effect("returns a denial as a result, and the handler doesn't run", () =>
      Effect.gen(function* () {
        const response = yield* ask(() => Effect.die("must not run"))
        const [part] = response.toolResults
        expect(part).toMatchObject({ isFailure: true, result: { type: "execution-denied" } })
        expect(part?.result).toEqual(part?.encodedResult)
        expect(yield* ledger).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(model("Send", { to: ["a", "b", "c"] }, 20)))
    )

    it.effect("reserves nothing if the parameters are invalid", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(ask(() => Effect.die("must not run")))
        expect(error).toMatchObject({ reason: { _tag: "ToolParameterValidationError" } })
        expect(yield* reservations).toEqual([])
      }).pipe(Effect.provide(model("Send", { to: "everybody" })))
    )

    it.effect("returns invalid parameters as a result if the tool returns its failures, and reserves nothing", () =>
      Effect.gen(function* () {
        const response = yield* LanguageModel.generateText({
          prompt: "Write to them",
          toolkit: CyclesToolkit.guard(toolkit, { Post: { estimate } }).pipe(Effect.provide(handlers(succeeds)))
        })
        expect(response.toolResults).toMatchObject([{ isFailure: true }])
        expect(yield* reservations).toEqual([])
      }).pipe(Effect.provide(model("Post", { to: "everybody" })))
    )

    it.effect("guards the tool calls of a streamed response", () =>
      Effect.gen(function* () {
        const parts = yield* LanguageModel.streamText({
          prompt: "Write to them",
          toolkit: CyclesToolkit.guard(toolkit, { Send: send })
        }).pipe(Stream.provide(handlers(succeeds)), Stream.runCollect)
        expect(parts.filter(({ type }) => type === "tool-result")).toMatchObject([{ result: { sent: 1 } }])
        expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
      }).pipe(Effect.provide(model("Send", { to: ["a", "b", "c"] })))
    )

    it.effect("asks for approval if the budget requires it", () =>
      Effect.gen(function* () {
        const guarded = CyclesToolkit.guard(toolkit, { Send: { estimate, approval: ({ to }) => to.length > 2 } })
        const response = yield* LanguageModel.generateText({ prompt: "Write to them", toolkit: guarded }).pipe(
          Effect.provide(handlers(() => Effect.die("must wait")))
        )
        expect(response.content.some((part) => part.type === "tool-approval-request")).toBe(true)
        expect(yield* reservations).toEqual([])
      }).pipe(Effect.provide(model("Send", { to: ["a", "b", "c"] })))
    )

    it.effect("logs one warning if a toolkit is guarded twice", () =>
      Effect.gen(function* () {
        const twice = CyclesToolkit.guard(CyclesToolkit.guard(toolkit, { Send: { estimate } }), { Send: { estimate } })
        const { messages } = yield* logged(
          Effect.gen(function* () {
            yield* call(yield* twice, "Send", { to: ["a"] })
            yield* call(yield* twice, "Send", { to: ["a"] })
          }).pipe(Effect.provide(handlers(succeeds)))
        )
        expect(messages).toEqual([expect.stringContaining("CyclesToolkit.guard received a guarded toolkit")])
        expect(yield* ledger).toEqual({ spent: 40, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("guards a toolkit with handlers, and an effect of one", () =>
      Effect.gen(function* () {
        const built = yield* toolkit.pipe(Effect.provide(handlers(succeeds)))
        yield* call(yield* CyclesToolkit.guard(built, { Send: send }), "Send", { to: ["a"] })
        yield* call(yield* CyclesToolkit.guard(Effect.succeed(built), { Send: send }), "Send", { to: ["a"] })
        expect(yield* ledger).toEqual({ spent: 20, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("fails with the error of the effect that builds the toolkit", () =>
      Effect.gen(function* () {
        const failing: Effect.Effect<Toolkit.WithHandler<Tools>, string> = Effect.fail("no server")
        expect(yield* Effect.flip(CyclesToolkit.guard(failing, { Send: send }))).toBe("no server")
      }).pipe(Effect.provide(world()))
    )
  })

  describe("default rule", () => {
    const rules = (options: CyclesToolkit.Rules) =>
      CyclesToolkit.guard(toolkit, { Send: { estimate } }, options).pipe(Effect.provide(handlers(succeeds)))

    it.effect("runs an unnamed tool without a reservation by default", () =>
      Effect.gen(function* () {
        const [result] = yield* call(yield* rules({}), "Look", {})
        expect(result?.result).toBe("nothing")
        expect(yield* reservations).toEqual([])
      }).pipe(Effect.provide(world()))
    )

    it.effect("reserves for unnamed tools if it is a budget, and keeps named budgets", () =>
      Effect.gen(function* () {
        const guarded = yield* rules({ default: { estimate: Amount.riskPoints(3) } })
        yield* call(guarded, "Look", {})
        yield* call(guarded, "Send", { to: ["a"] })
        expect(yield* ledger).toEqual({ spent: 13, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("deny refuses unnamed tools without a request", () =>
      Effect.gen(function* () {
        const results = yield* call(yield* rules({ default: "deny" }), "Look", {})
        expect(results).toMatchObject([deniedResult("doesn't allow calls of Look")])
        expect(yield* CyclesTest.requests()).toEqual([])
      }).pipe(Effect.provide(world()))
    )

    it.effect("can be a function of the tool", () =>
      Effect.gen(function* () {
        const guarded = yield* rules({
          default: (tool) => (tool.name === "Look" ? "free" : { estimate: Amount.riskPoints(4) })
        })
        yield* call(guarded, "Look", {})
        yield* call(guarded, "Post", { to: ["a"] })
        expect(yield* ledger).toEqual({ spent: 4, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("a named rule overrides the default rule", () =>
      Effect.gen(function* () {
        const guarded = yield* CyclesToolkit.guard(toolkit, { Look: "free" }, { default: "deny" }).pipe(
          Effect.provide(handlers(succeeds))
        )
        expect(yield* call(guarded, "Look", {})).toMatchObject([{ result: "nothing" }])
        expect(yield* call(guarded, "Send", { to: [] })).toMatchObject([deniedResult("Send")])
      }).pipe(Effect.provide(world()))
    )

    it.effect.each(["constructor", "toString", "__proto__", "hasOwnProperty"])(
      "finds a tool named %s only if it is named",
      (name) =>
        Effect.gen(function* () {
          const tools = Toolkit.make(Tool.make(name, { success: Schema.String }))
          const layer = tools.toLayer({ [name]: () => Effect.succeed("ran") })
          const built = yield* tools.pipe(Effect.provide(layer))
          const free = yield* CyclesToolkit.guard(built, {})
          expect(Object.keys(free.tools)).toEqual([name])
          expect(yield* call(free, name, {})).toMatchObject([{ result: "ran" }])
          expect(yield* reservations).toEqual([])
          const priced = yield* CyclesToolkit.guard(built, Object.fromEntries([[name, { estimate }]]))
          expect(yield* call(priced, name, {})).toMatchObject([{ result: "ran" }])
          expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
        }).pipe(Effect.provide(world()))
    )

    it.effect("leaves the failure of an unknown tool to the toolkit", () =>
      Effect.gen(function* () {
        const tools = Toolkit.make(Tool.make(String("Known"), { success: Schema.String }))
        const built = yield* tools.pipe(Effect.provide(tools.toLayer({ Known: () => Effect.succeed("ran") })))
        const guarded = yield* CyclesToolkit.guard(built, {}, { default: "deny" })
        const error = yield* Effect.flip(call(guarded, "toString", {}))
        expect(error).toMatchObject({ reason: { _tag: "ToolNotFoundError" } })
      }).pipe(Effect.provide(world()))
    )
  })

  describe("caps", () => {
    const guarded = guard({ estimate, onFailure: "estimate" }, succeeds)
    const refused = guard({ estimate, onFailure: "estimate" }, () => Effect.die("must not run"))

    it.effect.each<[string, CyclesServer.CapsOptions]>([
      ["tool_denylist", { tool_denylist: ["Send"] }],
      ["tool_allowlist", { tool_allowlist: ["Look"] }],
      ["tool_allowlist", { tool_allowlist: ["Look"], tool_denylist: ["Look"] }],
      ["max_steps_remaining", { max_steps_remaining: 0 }]
    ])("%s refuses the call and releases the reservation", ([name, caps]) =>
      Effect.gen(function* () {
        const results = yield* call(yield* refused, "Send", { to: [] })
        expect(results).toMatchObject([deniedResult(name)])
        expect((yield* reservations).map(({ status }) => status)).toEqual(["RELEASED"])
        expect(yield* ledger).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(world(caps)))
    )

    it.effect.each<[string, CyclesServer.CapsOptions]>([
      ["a tool on the allowlist", { tool_allowlist: ["Send"], tool_denylist: ["Send"] }],
      ["a tool that isn't on the denylist", { tool_allowlist: [], tool_denylist: ["send", "Look"] }],
      ["a call with a step remaining", { max_steps_remaining: 1 }],
      ["a cooldown of 0", { cooldown_ms: 0 }],
      ["a limit of tokens", { max_tokens: 0 }]
    ])("allow %s", ([, caps]) =>
      Effect.gen(function* () {
        expect(yield* call(yield* guarded, "Send", { to: [] })).toMatchObject([{ result: { sent: 1 } }])
        expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
      }).pipe(Effect.provide(world(caps)))
    )

    it.effect("cooldown_ms delays the handler, and the heartbeat extends the lease meanwhile", () =>
      Effect.gen(function* () {
        let ran = false
        const waits = yield* guard({ estimate, ttl: "10 seconds" }, () =>
          Effect.sync(() => ((ran = true), { sent: 1 }))
        )
        const fiber = yield* Effect.forkChild(call(waits, "Send", { to: [] }))
        yield* TestClock.adjust("29999 millis")
        expect(ran).toBe(false)
        expect(yield* ledger).toEqual({ spent: 0, reserved: 10 })
        yield* TestClock.adjust("1 millis")
        yield* Fiber.join(fiber)
        expect(ran).toBe(true)
        const [row] = yield* reservations
        expect(row?.extensions).toBeGreaterThan(1)
        expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
      }).pipe(Effect.provide(world({ cooldown_ms: 30_000 })))
    )

    it.effect("an interruption during the cooldown releases the reservation, whatever onFailure is", () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(call(yield* refused, "Send", { to: [] }))
        yield* TestClock.adjust("10 seconds")
        expect(yield* ledger).toEqual({ spent: 0, reserved: 10 })
        yield* Fiber.interrupt(fiber)
        expect((yield* reservations).map(({ status }) => status)).toEqual(["RELEASED"])
      }).pipe(Effect.provide(world({ cooldown_ms: 30_000 })))
    )

    it.effect("cooldown_ms also delays the handler with heartbeat: cancel, which pulls its results ahead", () =>
      Effect.gen(function* () {
        let ran = false
        const waits = yield* guard({ estimate, heartbeat: "cancel" }, () =>
          Effect.sync(() => ((ran = true), { sent: 1 }))
        )
        const fiber = yield* Effect.forkChild(call(waits, "Send", { to: [] }))
        for (let i = 0; i < 100; i++) yield* Effect.yieldNow
        yield* TestClock.adjust("29999 millis")
        for (let i = 0; i < 100; i++) yield* Effect.yieldNow
        expect(ran).toBe(false)
        yield* TestClock.adjust("1 millis")
        yield* Fiber.join(fiber)
        expect(ran).toBe(true)
        expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
      }).pipe(Effect.provide(world({ cooldown_ms: 30_000 })))
    )

    it.effect("the handler doesn't run if the lease is lost during the cooldown, with heartbeat: cancel", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("extend", Fault.error(410, "RESERVATION_EXPIRED"))
        const waits = yield* guard({ estimate, heartbeat: "cancel", ttl: "10 seconds" }, () =>
          Effect.die("must not run")
        )
        const fiber = yield* Effect.forkChild(Effect.flip(call(waits, "Send", { to: [] })))
        yield* TestClock.adjust("30 seconds")
        const error = yield* Fiber.join(fiber)
        if (!AiError.isAiError(error)) return expect.fail("not an AiError")
        expect(CyclesAiError.causeOf(error)).toMatchObject({ _tag: "LeaseLost" })
      }).pipe(Effect.provide(world({ cooldown_ms: 30_000 })))
    )

    it.effect("are reported as span events and counted by name", () =>
      Effect.gen(function* () {
        const { spans, tracer } = S.recorder()
        const lists = Metric.withAttributes(capsAppliedTotal, { cap: "tool_lists" })
        const before = (yield* Metric.value(lists)).count
        yield* call(yield* refused, "Send", { to: [] }).pipe(Effect.withSpan("agent"), Effect.withTracer(tracer))
        expect((yield* Metric.value(lists)).count).toBe(before + 1)
        const agent = spans.find(({ name }) => name === "agent")
        expect(agent?.events).toMatchObject([["cycles.cap", expect.anything(), { cap: "tool_lists", tool: "Send" }]])
      }).pipe(Effect.provide(world({ tool_denylist: ["Send"] })))
    )
  })

  describe("settlement", () => {
    const policies = ["partial", "estimate", "release"] as const
    const expected = { partial: [0, 4], estimate: [10, 4], release: [0, 0] } as const
    const failing =
      (recorded: boolean): Handler =>
      () =>
        Effect.andThen(recorded ? record(4) : Effect.void, Effect.fail("no route"))

    describe.each(policies)("onFailure: %s", (onFailure) => {
      it.effect.each([false, true])(
        "settles a thrown and a returned failure alike, with recorded spend: %s",
        (recorded) =>
          Effect.gen(function* () {
            const guarded = yield* guard({ estimate, onFailure }, failing(recorded))
            const spent = expected[onFailure][recorded ? 1 : 0]
            expect(yield* Effect.flip(call(guarded, "Send", { to: [] }))).toBe("no route")
            expect(yield* ledger).toEqual({ spent, reserved: 0 })
            expect(yield* call(guarded, "Post", { to: [] })).toMatchObject([{ result: "no route", isFailure: true }])
            expect(yield* ledger).toEqual({ spent: 2 * spent, reserved: 0 })
            const statuses = (yield* reservations).map(({ status }) => status)
            expect(statuses[0]).toBe(statuses[1])
          }).pipe(Effect.provide(world()))
      )

      it.effect.each([false, true])("settles an interrupted call, with recorded spend: %s", (recorded) =>
        Effect.gen(function* () {
          const started = yield* Deferred.make<void>()
          const guarded = yield* guard({ estimate, onFailure }, () =>
            Effect.gen(function* () {
              if (recorded) yield* record(4)
              yield* Deferred.succeed(started, undefined)
              return yield* Effect.never
            })
          )
          const fiber = yield* Effect.forkChild(call(guarded, "Send", { to: [] }))
          yield* Deferred.await(started)
          yield* Fiber.interrupt(fiber)
          expect(yield* ledger).toEqual({ spent: expected[onFailure][recorded ? 1 : 0], reserved: 0 })
        }).pipe(Effect.provide(world()))
      )

      it.effect("settles a call whose caller stops after a preliminary result as an interrupted one", () =>
        Effect.gen(function* () {
          const guarded = yield* guard({ estimate, onFailure }, (_, { preliminary }) =>
            Effect.andThen(preliminary({ sent: 0 }), Effect.never)
          )
          const results = yield* Stream.unwrap(guarded.handle("Send", { to: [] })).pipe(
            Stream.take(1),
            Stream.runCollect
          )
          expect(results).toMatchObject([{ preliminary: true }])
          expect(yield* ledger).toEqual({ spent: expected[onFailure][0], reserved: 0 })
        }).pipe(Effect.provide(world()))
      )

      it.effect("commits a call that succeeded, even if its caller stops at the final result", () =>
        Effect.gen(function* () {
          const guarded = yield* guard({ estimate, onFailure }, succeeds)
          yield* Stream.unwrap(guarded.handle("Send", { to: [] })).pipe(Stream.take(1), Stream.runDrain)
          expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
        }).pipe(Effect.provide(world()))
      )

      it.effect("commits the estimate if actual throws or has another unit, then dies", () =>
        Effect.gen(function* () {
          const throws = yield* guard(
            {
              estimate,
              onFailure,
              actual: () => {
                throw new Error("bad actual")
              }
            },
            succeeds
          )
          expect(String(yield* Effect.exit(call(throws, "Send", { to: [] })))).toContain("bad actual")
          expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
          const differs = yield* guard({ estimate, onFailure, actual: Amount.tokens(3) }, succeeds)
          expect(String(yield* Effect.exit(call(differs, "Send", { to: [] })))).toContain("UnitMismatch")
          expect(yield* ledger).toEqual({ spent: 20, reserved: 0 })
        }).pipe(Effect.provide(world()))
      )
    })

    it.effect("emits preliminary results while the estimate is reserved, and settles before the final result", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate }, (_, { preliminary }) =>
          Effect.as(Effect.andThen(preliminary({ sent: 0 }), preliminary({ sent: 1 })), { sent: 2 })
        )
        const seen = yield* Stream.unwrap(guarded.handle("Send", { to: [] })).pipe(
          Stream.rechunk(1),
          Stream.mapEffect((result) => Effect.map(ledger, ({ spent }) => ({ isFinal: !result.preliminary, spent }))),
          Stream.runCollect
        )
        expect(seen.length).toBe(3)
        expect(seen[2]).toEqual({ isFinal: true, spent: 10 })
      }).pipe(Effect.provide(world()))
    )

    const Story = Schema.Struct({
      tool: Schema.Literals(["Send", "Post"]),
      onFailure: Schema.Literals(policies),
      steps: Schema.Array(Schema.Literals(["preliminary", "record", "yield"])),
      ends: Schema.Literals(["succeeds", "fails", "dies", "never"]),
      stops: Schema.Literals(["never", "take", "interrupt"]),
      after: Schema.Literals([0, 1, 2, 3, 5, 8, 13, 21, 34])
    })

    it.effect.prop(
      "every call is settled once, and recorded spend is committed, however handler and caller end (300 runs)",
      { story: Story },
      ({ story }) =>
        Effect.gen(function* () {
          let recorded = 0
          const guarded = yield* guard({ estimate, onFailure: story.onFailure }, (_, { preliminary }) =>
            Effect.gen(function* () {
              for (const step of story.steps) {
                if (step === "preliminary") yield* preliminary({ sent: 0 })
                if (step === "record") yield* record(++recorded)
                if (step === "yield") yield* Effect.yieldNow
              }
              if (story.ends === "fails") return yield* Effect.fail("no route")
              if (story.ends === "dies") return yield* Effect.die("broken")
              return story.ends === "never" ? yield* Effect.never : { sent: 1 }
            })
          )
          const results: Array<boolean> = []
          const stream = Stream.unwrap(guarded.handle(story.tool, { to: [] })).pipe(
            Stream.tap((result) => Effect.sync(() => results.push(!result.preliminary && !result.isFailure)))
          )
          const fiber = yield* Effect.forkChild(
            Stream.runDrain(story.stops === "take" ? Stream.take(stream, story.after) : stream)
          )
          const yields = story.stops === "interrupt" ? story.after : 200
          for (let i = 0; i < yields; i++) yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)

          const { reserved, spent } = yield* ledger
          expect(reserved).toBe(0)
          expect((yield* reservations).filter(({ status }) => status === "ACTIVE")).toEqual([])
          if (results.includes(true)) expect(spent).toBe(recorded === 0 ? 10 : recorded)
          else if (story.onFailure === "release") expect(spent === 0 || spent === recorded || spent === 10).toBe(true)
          else expect(spent).toBeGreaterThanOrEqual(recorded)
          if (story.stops === "never" && story.ends !== "succeeds") {
            const [nothing, partly] = expected[story.onFailure]
            expect(spent).toBe(recorded === 0 ? nothing : partly === 0 ? 0 : recorded)
          }
        }).pipe(Effect.provide(world(undefined, 1_000))),
      { arbitrary: { runs: 300 }, timeout: 60_000 }
    )

    it.effect("commits recorded spend instead of the estimate", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate }, () => Effect.as(record(6), { sent: 1 }))
        yield* call(guarded, "Send", { to: [] })
        expect(yield* ledger).toEqual({ spent: 6, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("commits the total of several added amounts, and none of them twice", () =>
      Effect.gen(function* () {
        const add = Effect.flatMap(Reservation.current, (reservation) =>
          Option.isNone(reservation) ? Effect.void : Effect.orDie(reservation.value.add(Amount.riskPoints(4)))
        )
        const guarded = yield* guard({ estimate }, () => Effect.as(Effect.andThen(add, add), { sent: 1 }))
        yield* call(guarded, "Send", { to: [] })
        const larger = yield* guard({ estimate, actual: Amount.riskPoints(9) }, () => Effect.as(add, { sent: 1 }))
        yield* call(larger, "Post", { to: [] })
        expect(yield* ledger).toEqual({ spent: 17, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("never commits less than the recorded spend", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate, actual: Amount.riskPoints(3) }, () =>
          Effect.as(record(6), { sent: 1 })
        )
        const { messages } = yield* logged(call(guarded, "Send", { to: [] }))
        expect(messages).toEqual([expect.stringContaining("below the recorded total")])
        expect(yield* ledger).toEqual({ spent: 6, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("commits an actual amount below recorded spend that is marked as an estimate", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate, actual: Amount.riskPoints(3) }, () =>
          Effect.as(record(6, true), { sent: 1 })
        )
        yield* call(guarded, "Send", { to: [] })
        expect(yield* ledger).toEqual({ spent: 3, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("keeps a failure of the handler that is itself a denial", () =>
      Effect.gen(function* () {
        const Nested = Tool.make("Nested", { success: Schema.Void, failure: CyclesError.BudgetExceeded })
        const tools = Toolkit.make(Nested)
        const guarded = yield* CyclesToolkit.guard(tools, { Nested: { estimate } }).pipe(
          Effect.provide(
            tools.toLayer({
              Nested: () =>
                Effect.fail(new CyclesError.BudgetExceeded({ operation: "reserve", code: "NESTED", scopes: [] }))
            })
          )
        )
        expect(yield* Effect.flip(call(guarded, "Nested", {}))).toMatchObject({
          _tag: "BudgetExceeded",
          code: "NESTED"
        })
        expect((yield* reservations).map(({ status }) => status)).toEqual(["RELEASED"])
      }).pipe(Effect.provide(world()))
    )

    it.effect("dies with the value that estimate throws, and the handler doesn't run", () =>
      Effect.gen(function* () {
        const guarded = yield* guard(
          {
            estimate: () => {
              throw new Error("bad estimate")
            }
          },
          () => Effect.die("must not run")
        )
        expect(String(yield* Effect.exit(call(guarded, "Send", { to: [] })))).toContain("bad estimate")
        expect(yield* reservations).toEqual([])
      }).pipe(Effect.provide(world()))
    )

    it.effect("fails if no scope has a budget in the unit of the estimate, and the handler doesn't run", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate: Amount.credits(1) }, () => Effect.die("must not run"))
        const error = yield* Effect.flip(call(guarded, "Send", { to: [] }))
        if (!AiError.isAiError(error)) return expect.fail("not an AiError")
        expect(CyclesAiError.causeOf(error)).toMatchObject({ _tag: "ApiError", status: 400, code: "UNIT_MISMATCH" })
        expect(yield* reservations).toEqual([])
      }).pipe(Effect.provide(world()))
    )
  })

  describe("identity", () => {
    const long = "x".repeat(1_000)
    /** Ids of local and compatible servers: equal, empty, missing, started again, long, and similar to parts of keys. */
    const ids = [
      "call_0",
      "call_0",
      "",
      "",
      undefined,
      undefined,
      "call_0",
      `${long}1`,
      `${long}1`,
      `${long}2`,
      "call_0#2",
      "a:b",
      "@Send",
      "=0",
      "é",
      "\ud800",
      "\udbff",
      "\\ud800",
      " ",
      "0"
    ]
    /** A guarded toolkit that counts the calls of its handler. */
    const counting = (options?: CyclesToolkit.Options) => {
      const state = { ran: 0 }
      const guarded = guard(
        { estimate: Amount.riskPoints(1) },
        () => Effect.sync(() => ({ sent: ++state.ran })),
        options
      )
      return { state, guarded }
    }
    const callAll = (guarded: ReturnType<typeof guard>) =>
      Effect.forEach(ids, (id) => Effect.flatMap(guarded, (toolkit) => call(toolkit, "Send", { to: [] }, id)), {
        concurrency: "unbounded"
      })
    const isDenied = (results: ReadonlyArray<Tool.HandlerResult<typeof Send>>) =>
      results.some(({ isFailure }) => isFailure)

    it.effect.each<CyclesToolkit.Options>([{}, { namespace: "job-1" }, { namespace: "n".repeat(100) }])(
      "runs and charges every call, whatever its id is: %o",
      (options) =>
        Effect.gen(function* () {
          const { guarded, state } = counting(options)
          expect((yield* callAll(guarded)).filter(isDenied)).toEqual([])
          expect(state.ran).toBe(ids.length)
          expect(yield* ledger).toEqual({ spent: ids.length, reserved: 0 })
          const keys = (yield* reservations).map(({ idempotencyKey }) => idempotencyKey)
          expect(new Set(keys).size).toBe(ids.length)
          expect(keys.filter((key) => key.length > 256)).toEqual([])
        }).pipe(Effect.provide(world()))
    )

    it.effect("another run with the same namespace and the same calls runs none of them", () =>
      Effect.gen(function* () {
        yield* callAll(counting({ namespace: "job-1" }).guarded)
        const { guarded, state } = counting({ namespace: "job-1" })
        const results = (yield* callAll(guarded)).flat()
        expect(results).toMatchObject(
          ids.map(() => deniedResult("An earlier run of this job has already made this call of Send"))
        )
        expect(state.ran).toBe(0)
        expect(yield* ledger).toEqual({ spent: ids.length, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("another run without a namespace, or with another one, runs all of them", () =>
      Effect.gen(function* () {
        for (const options of [{}, {}, { namespace: "job-1" }, { namespace: "job-2" }]) {
          const { guarded, state } = counting(options)
          yield* callAll(guarded)
          expect(state.ran).toBe(ids.length)
        }
        expect(yield* ledger).toEqual({ spent: 4 * ids.length, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("ids that start again in each round of a model are different calls", () =>
      Effect.gen(function* () {
        const script = yield* S.Script
        const { guarded, state } = counting({ namespace: "job-1" })
        for (let round = 0; round < 2; round++) {
          const calls = ["0", "0", "0"].map((id) => S.toolCall("Send", { to: [] }, id))
          script.turns.push({ parts: [...calls, S.finish(1, 1, "tool-calls")] })
          yield* LanguageModel.generateText({ prompt: "Write to them", toolkit: guarded })
        }
        expect(state.ran).toBe(6)
        expect(yield* ledger).toEqual({ spent: 6, reserved: 0 })
        const keys = (yield* reservations).map(({ idempotencyKey }) => idempotencyKey)
        expect(keys.toSorted()).toEqual(["", "#2", "#3", "#4", "#5", "#6"].map((ordinal) => `job-1:0${ordinal}`))
      }).pipe(
        Effect.provide(
          S.bare.pipe(Layer.provideMerge(S.world([], { budgets: [{ unit: "RISK_POINTS", allocated: 100 }] })))
        )
      )
    )

    it.effect("running the results of one call again is a new call", () =>
      Effect.gen(function* () {
        const { guarded, state } = counting({ namespace: "job-1" })
        const results = yield* Effect.flatMap(guarded, (toolkit) => toolkit.handle("Send", { to: [] }, "0"))
        yield* Stream.runDrain(results)
        yield* Stream.runDrain(results)
        expect(state.ran).toBe(2)
        expect(yield* ledger).toEqual({ spent: 2, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect.each(["", "n".repeat(101)])(
      "an invalid namespace dies with a RangeError before anything is sent",
      (namespace) =>
        Effect.gen(function* () {
          const exit = yield* Effect.exit(counting({ namespace }).guarded)
          expect(String(exit)).toContain("RangeError: namespace must be a string of 1 to 100 characters")
          expect(yield* CyclesTest.requests()).toEqual([])
        }).pipe(Effect.provide(world()))
    )

    const Id = Schema.Union([
      Schema.String,
      Schema.Undefined,
      Schema.Literals(["", "0", "0#2", "a:0", "@Send", "=0", "\ud800", "\udbff", `${long}1`, `${long}2`])
    ])
    const Calls = Schema.Array(Schema.Struct({ name: Schema.Literals(["Send", "Post", "é"]), id: Id }))
    const Namespace = Schema.Literals(["a", "a:0", "a:@Send", "a:=", "n".repeat(100)])

    it.effect.prop(
      "keys are reproducible, at most 256 characters, and different for different calls and namespaces (500 runs)",
      { calls: Calls, first: Namespace, second: Namespace },
      ({ calls, first, second }) =>
        Effect.gen(function* () {
          const keysOf = (namespace: string) => {
            const keys = ToolKeys.make(namespace)
            return Effect.forEach(calls, ({ id, name }) => keys.next(name, id))
          }
          const some = yield* keysOf(first)
          expect(yield* keysOf(first)).toEqual(some)
          const others = first === second ? [] : yield* keysOf(second)
          expect(new Set([...some, ...others]).size).toBe(some.length + others.length)
          for (const key of some) expect(key).toMatch(/^.{3,256}$/su)
          for (const key of some) expect(key?.startsWith(`${first}:`)).toBe(true)
        }),
      { arbitrary: { runs: 500 }, timeout: 60_000 }
    )
  })

  describe("McpClient.toolkit", () => {
    const registrations = McpServer.toolkit(Toolkit.make(Send, Look)).pipe(
      Layer.provide(Toolkit.make(Send, Look).toLayer({ Send: succeeds, Look: () => Effect.succeed("nothing") }))
    )
    /** A client of an MCP server in this process, over HTTP. */
    const connect = Effect.gen(function* () {
      const protocol = McpProtocol.v2025_11_25
      const { dispose, handler } = HttpRouter.toWebHandler(
        McpServer.layerHttp({ name: "crm", version: "1", path: "/mcp", protocols: [protocol], registrations }),
        { disableLogger: true }
      )
      yield* Effect.addFinalizer(() => Effect.promise(dispose))
      const layer = McpClient.layerHttp({ name: "agent", version: "1", url: "http://crm/mcp", protocol }).pipe(
        Layer.provide(FetchHttpClient.layer),
        Layer.provide(Layer.succeed(FetchHttpClient.Fetch, (input, init) => handler(new Request(input, init))))
      )
      return Context.get(yield* Layer.build(layer), McpClient.McpClient)
    })

    it.effect("is guarded by names with a prefix and by a default rule", () =>
      Effect.gen(function* () {
        const client = yield* connect
        const guarded = yield* CyclesToolkit.guard(
          McpClient.toolkit(client, "crm__"),
          { crm__Send: { estimate, actual: (text) => Amount.riskPoints(text.includes("1") ? 7 : 9) } },
          { default: (tool) => (tool.name === "crm__Look" ? { estimate: Amount.riskPoints(95) } : "deny") }
        )
        expect(yield* call(guarded, "crm__Send", { to: ["a"] })).toMatchObject([{ isFailure: false }])
        expect(yield* ledger).toEqual({ spent: 7, reserved: 0 })
        expect(yield* call(guarded, "crm__Look", {})).toMatchObject([deniedResult("needs 95 RISK_POINTS")])
        expect((yield* reservations).map(({ action }) => action.name)).toEqual(["crm__Send"])
      }).pipe(Effect.scoped, Effect.provide(world()))
    )
  })

  describe("options", () => {
    it.effect("dryRun checks the budget only, and the handler runs if it is allowed", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate: perRecipient, dryRun: true }, succeeds)
        expect(yield* call(guarded, "Send", { to: ["a"] })).toMatchObject([{ result: { sent: 1 } }])
        const large = Array.from({ length: 11 }, String)
        expect(yield* call(guarded, "Send", { to: large })).toMatchObject([deniedResult("BUDGET_EXCEEDED")])
        expect(yield* reservations).toEqual([])
        expect(yield* ledger).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("onSettled runs once with the settlement of each call, except after a denial", () =>
      Effect.gen(function* () {
        const settlements: Array<Settlement.Settlement> = []
        const onSettled = (settlement: Settlement.Settlement) => Effect.sync(() => settlements.push(settlement))
        const budget = { estimate: perRecipient, onSettled }
        yield* call(yield* guard(budget, succeeds), "Send", { to: ["a"] })
        yield* call(yield* guard(budget, () => Effect.fail("no route")), "Post", { to: ["a"] })
        yield* call(yield* guard(budget, succeeds), "Send", { to: Array.from({ length: 11 }, String) })
        expect(settlements.map(({ _tag }) => _tag)).toEqual(["Committed", "Released"])
      }).pipe(Effect.provide(world()))
    )

    it.effect("heartbeat: cancel interrupts the handler of a lost lease, and the call fails with an AiError", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("extend", Fault.error(410, "RESERVATION_EXPIRED"))
        let isInterrupted = false
        const started = yield* Deferred.make<void>()
        const guarded = yield* guard({ estimate, heartbeat: "cancel", ttl: "10 seconds" }, () =>
          Effect.andThen(Deferred.succeed(started, undefined), Effect.never).pipe(
            Effect.onInterrupt(() => Effect.sync(() => void (isInterrupted = true)))
          )
        )
        const fiber = yield* Effect.forkChild(Effect.flip(call(guarded, "Send", { to: [] })))
        yield* Deferred.await(started)
        yield* TestClock.adjust("1 minute")
        const error = yield* Fiber.join(fiber)
        if (!AiError.isAiError(error)) return expect.fail("not an AiError")
        expect(CyclesAiError.causeOf(error)).toMatchObject({ _tag: "LeaseLost" })
        expect(isInterrupted).toBe(true)
      }).pipe(Effect.provide(world()))
    )

    it.effect.each(["cancel", "failOnFinalize", "warn"] as const)(
      "heartbeat: %s runs a long handler to its end while the lease is extended",
      (heartbeat) =>
        Effect.gen(function* () {
          const started = yield* Deferred.make<void>()
          const guarded = yield* guard({ estimate, heartbeat, ttl: "10 seconds" }, (_, { preliminary }) =>
            Effect.gen(function* () {
              yield* Deferred.succeed(started, undefined)
              for (let step = 0; step < 5; step++) {
                yield* preliminary({ sent: step })
                yield* Effect.sleep("10 seconds")
              }
              return { sent: 5 }
            })
          )
          const fiber = yield* Effect.forkChild(call(guarded, "Send", { to: [] }))
          yield* Deferred.await(started)
          yield* Effect.yieldNow
          for (let step = 0; step < 5; step++) yield* TestClock.adjust("10 seconds")
          expect((yield* Fiber.join(fiber)).map(({ result }) => result)).toEqual(
            [0, 1, 2, 3, 4, 5].map((sent) => ({ sent }))
          )
          expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
        }).pipe(Effect.provide(world()))
    )

    it.effect("heartbeat: failOnFinalize fails a call that succeeded under a lost lease, after its settlement", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("extend", Fault.error(410, "RESERVATION_EXPIRED"))
        const guarded = yield* guard({ estimate, heartbeat: "failOnFinalize", ttl: "10 seconds" }, () =>
          Effect.as(Effect.sleep("1 minute"), { sent: 1 })
        )
        const fiber = yield* Effect.forkChild(Effect.flip(call(guarded, "Send", { to: [] })))
        yield* TestClock.adjust("2 minutes")
        const error = yield* Fiber.join(fiber)
        if (!AiError.isAiError(error)) return expect.fail("not an AiError")
        expect(CyclesAiError.causeOf(error)).toMatchObject({ _tag: "LeaseLost" })
        expect((yield* ledger).spent).toBe(10)
      }).pipe(Effect.provide(world()))
    )

    it.effect("subject is merged into the ambient subject", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate, subject: { toolset: "mail" } }, succeeds)
        yield* call(guarded, "Send", { to: [] }).pipe(Cycles.withSubject({ agent: "writer" }))
        expect((yield* reservations)[0]?.subject).toMatchObject({ agent: "writer", toolset: "mail" })
      }).pipe(Effect.provide(world()))
    )
  })

  describe("denials", () => {
    it.effect("say what was refused, why, and what to do instead", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate: perRecipient }, succeeds)
        const [result] = yield* call(guarded, "Send", { to: ["a", "b", "c"] })
        expect(result?.result).toEqual({
          type: "execution-denied",
          reason:
            "The budget refused this call of Send (BUDGET_EXCEEDED): it needs 30 RISK_POINTS. The tool did not run. " +
            "Don't repeat this call. Continue without it, or make a call that needs less."
        })
      }).pipe(Effect.provide(world(undefined, 20)))
    )

    it.effect("say when to call again if the server reports it", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject(
          "reserve",
          Fault.response({
            status: 409,
            headers: { "retry-after": "5" },
            body: {
              error: "BUDGET_EXCEEDED",
              message: "Insufficient remaining budget",
              request_id: "r-1"
            }
          })
        )
        const guarded = yield* guard({ estimate: perRecipient }, succeeds)
        const [result] = yield* call(guarded, "Send", { to: ["a", "b", "c"] })
        expect(result).toMatchObject(deniedResult("Don't repeat this call within 5s."))
      }).pipe(Effect.provide(world(undefined, 20)))
    )

    it("say what remains if the error has it", () => {
      const error = new CyclesError.BudgetExceeded({
        operation: "reserve",
        code: "BUDGET_EXCEEDED",
        requested: Amount.riskPoints(30),
        remaining: Amount.makeSigned("RISK_POINTS", 20),
        scopes: ["tenant:acme"]
      })
      expect(Denial.denied(Send, error)).toMatchObject(
        deniedResult("it needs 30 RISK_POINTS, and 20 RISK_POINTS remain.")
      )
    })

    it.effect("have a valid encoding for every tool", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate }, succeeds)
        const [result] = yield* call(guarded, "Post", { to: [] })
        const encode = Schema.encodeUnknownEffect(Tool.failureResultSchema(Post))
        expect(yield* encode(result?.result)).toEqual(result?.encodedResult)
      }).pipe(Effect.provide(world(undefined, 5)))
    )

    it.effect.each<[string, Fault.Fault]>([
      ["no connection", Fault.connectionRefused],
      ["a 503", Fault.status(503)],
      ["a 401", Fault.error(401, "UNAUTHORIZED")],
      ["a page of a proxy", Fault.garbage]
    ])("an outage of Cycles is a failure, not a denial: %s", ([, fault]) =>
      Effect.gen(function* () {
        yield* CyclesTest.always("reserve", fault)
        const guarded = yield* guard({ estimate }, () => Effect.die("must not run"))
        const error = yield* Effect.flip(call(guarded, "Send", { to: [] }))
        if (!AiError.isAiError(error)) return expect.fail("not an AiError")
        expect(CyclesAiError.causeOf(error)?._tag).toMatch(/^(Transport|Api|Protocol)Error$/)
        yield* CyclesTest.clearFaults()
      }).pipe(Effect.provide(world()))
    )
  })
})

/** The warnings and errors that an effect logs. */
const logged = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const messages: Array<string> = []
    const value = yield* Effect.provide(
      self,
      Logger.layer([
        Logger.make(({ logLevel, message }) => void (logLevel === "Warn" && messages.push(String(message))))
      ])
    )
    return { messages, value }
  })
