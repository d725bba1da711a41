import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as McpClient from "effect/ai/McpClient"
import * as McpProtocol from "effect/ai/McpProtocol"
import * as McpServer from "effect/ai/McpServer"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Cycles } from "effect-cycles"
import { Amount, Run } from "effect-cycles"
import * as CyclesToolkit from "../src/CyclesToolkit.ts"
import * as ToolKeys from "../src/internal/toolKeys.ts"
import * as S from "./support/script.ts"
import type { Tools } from "./support/toolkit.ts"
import {
  Send,
  Look,
  toolkit,
  handlers,
  succeeds,
  estimate,
  send,
  guard,
  call,
  deniedResult,
  ledger,
  reservations,
  world,
  model,
  ask
} from "./support/toolkit.ts"

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

    it.effect("requests approval if the budget requires it", () =>
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
        const logs = S.logs()
        yield* Effect.gen(function* () {
          yield* call(yield* twice, "Send", { to: ["a"] })
          yield* call(yield* twice, "Send", { to: ["a"] })
        }).pipe(Effect.provide([logs.layer, handlers(succeeds)]))
        expect(logs.warnings).toEqual([expect.stringContaining("CyclesToolkit.guard received a guarded toolkit")])
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
      "call_0~2",
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
    const counting = (options?: CyclesToolkit.Options, onRepeat?: Cycles.OnRepeat) => {
      const state = { ran: 0 }
      const guarded = guard(
        { estimate: Amount.riskPoints(1), onRepeat },
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

    it.effect("another run runs all of them again, each charged under a new key, with onRepeat: again", () =>
      Effect.gen(function* () {
        for (let run = 0; run < 2; run++) {
          const { guarded, state } = counting({ namespace: "job-1" }, "again")
          expect((yield* callAll(guarded)).filter(isDenied)).toEqual([])
          expect(state.ran).toBe(ids.length)
        }
        expect(yield* ledger).toEqual({ spent: 2 * ids.length, reserved: 0 })
        const keys = (yield* reservations).map(({ idempotencyKey }) => idempotencyKey)
        expect(new Set(keys).size).toBe(2 * ids.length)
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

    it.effect(
      "the id of a run is the namespace by default, so that a restored run refuses a call that hung before",
      () =>
        Effect.gen(function* () {
          const sent: Array<string> = []
          const guarded = guard({ estimate: Amount.riskPoints(1) }, ({ to }) =>
            Effect.gen(function* () {
              sent.push(...to)
              if (sent.length === 2) return yield* Effect.never
              return { sent: sent.length }
            })
          )
          const first = yield* Run.make({ id: "job-1", budget: Amount.riskPoints(10) })
          const sendIn = (run: Run.Run, to: string, id: string) =>
            Run.within(
              Effect.flatMap(guarded, (toolkit) => call(toolkit, "Send", { to: [to] }, id)),
              run
            )
          yield* sendIn(first, "a", "call_a")
          const hung = yield* Effect.forkChild(sendIn(first, "b", "call_b"), { startImmediately: true })
          yield* Effect.repeat(Effect.yieldNow, { until: () => sent.length === 2 })
          const restore = yield* first.snapshot
          yield* Fiber.interrupt(hung)
          const second = yield* Run.make({ restore })
          expect(yield* sendIn(second, "b", "call_b")).toMatchObject([
            deniedResult("An earlier run of this job has already made this call of Send")
          ])
          yield* sendIn(second, "c", "call_c")
          expect(sent).toEqual(["a", "b", "c"])
          const keys = (yield* reservations).map(({ idempotencyKey }) => idempotencyKey)
          expect(keys.toSorted()).toEqual(["job-1:call_a", "job-1:call_b", "job-1:call_c"])
        }).pipe(Effect.scoped, Effect.provide(world()))
    )

    it.effect("a run without a chosen id isn't a namespace, and neither is one for calls without an id", () =>
      Effect.gen(function* () {
        for (const id of [undefined, "job-1", "job-1", "job-1"]) {
          const { guarded, state } = counting()
          const callId = id === undefined ? "0" : undefined
          const called = Effect.flatMap(guarded, (toolkit) => call(toolkit, "Send", { to: [] }, callId))
          const run = yield* Run.make({ id, budget: Amount.riskPoints(10) })
          yield* Run.within(called, run)
          expect(state.ran).toBe(1)
        }
      }).pipe(Effect.scoped, Effect.provide(world()))
    )

    it.effect("toolkits in the same run never have the same key, whatever the ids are", () =>
      Effect.gen(function* () {
        for (const id of ["job-1", "a run with spaces, é and \ud800", "j".repeat(300)]) {
          const run = yield* Run.make({ id })
          const [one, other] = [counting(), counting()]
          yield* Run.within(
            Effect.all([callAll(one.guarded), callAll(other.guarded)], { concurrency: "unbounded" }),
            run
          )
          expect([one.state.ran, other.state.ran]).toEqual([ids.length, ids.length])
        }
        const keys = (yield* reservations).map(({ idempotencyKey }) => idempotencyKey)
        expect(new Set(keys).size).toBe(6 * ids.length)
        expect(keys.filter((key) => key.length > 256)).toEqual([])
      }).pipe(Effect.scoped, Effect.provide(world(undefined, 1_000)))
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
        expect(keys.toSorted()).toEqual(["", "~2", "~3", "~4", "~5", "~6"].map((ordinal) => `job-1:0${ordinal}`))
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
      Schema.Literals(["", "0", "0~2", "0#2", "a:0", "@Send", "=0", "\ud800", "\udbff", `${long}1`, `${long}2`])
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
            return Effect.forEach(calls, ({ id, name }) => keys.next(name, id, undefined))
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
})
