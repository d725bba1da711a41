/** `CyclesToolkit.guarded`: tools that are guarded where an MCP server serves them. */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as McpClient from "effect/ai/McpClient"
import * as McpProtocol from "effect/ai/McpProtocol"
import * as McpSchema from "effect/ai/McpSchema"
import * as McpServer from "effect/ai/McpServer"
import * as McpTest from "effect/ai/McpTest"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import { Amount, Cycles, Run } from "effect-cycles"
import * as CyclesToolkit from "../src/CyclesToolkit.ts"
import type { Handler, Tools } from "./support/toolkit.ts"
import {
  call,
  deniedResult,
  estimate,
  handlers,
  ledger,
  refused,
  registrations,
  reservations,
  send,
  succeeds,
  toolkit,
  world
} from "./support/toolkit.ts"

// ---------------------------------------------------------------------------------------------------------------------
// the server
// ---------------------------------------------------------------------------------------------------------------------

const serve = (
  budgets: CyclesToolkit.Budgets<Tools>,
  handler: Handler = succeeds,
  options?: CyclesToolkit.ServedOptions & CyclesToolkit.Rules
) => McpTest.makeClient(registrations(budgets, handler, options), { protocols: [McpProtocol.v2025_11_25] })

const post = (to: ReadonlyArray<string> = ["a"]) => ({ name: "Post", arguments: { to } })

/** The reserves so far. */
const sent = Effect.map(CyclesTest.requests("reserve"), (requests) => requests.map(({ body }) => Sent(body)))
const Sent = Schema.decodeUnknownSync(
  Schema.fromJsonString(
    Schema.Struct({
      idempotency_key: Schema.String,
      estimate: Schema.Struct({ amount: Schema.Int }),
      subject: Schema.Struct({ agent: Schema.optionalKey(Schema.String) })
    })
  )
)

/** A client whose user gives one response to every request for approval. */
const user = (
  elicit: McpSchema.McpReverseClient["elicit"],
  capabilities: typeof McpSchema.ClientCapabilities.Encoded = { elicitation: {} }
): McpSchema.McpServerClient["Service"] => {
  const clientCapabilities = new McpSchema.ClientCapabilities(capabilities)
  const clientInfo = { name: "test", version: "1.0.0" }
  return {
    clientId: 0,
    protocolVersion: "2025-11-25",
    clientCapabilities,
    clientInfo,
    initializePayload: { protocolVersion: "2025-11-25", capabilities: clientCapabilities, clientInfo },
    getClient: Effect.succeed({
      listRoots: () => Effect.die("not asked"),
      createMessage: () => Effect.die("not asked"),
      elicit
    })
  }
}

/** Calls a served tool as a session of this client. */
const callAs = <E>(
  client: McpSchema.McpServerClient["Service"] | undefined,
  name: "Post" | "Send",
  toolkit: Effect.Effect<Toolkit.Toolkit<Tools>, E, Cycles.Cycles>,
  handler: Handler = succeeds
) =>
  Effect.gen(function* () {
    const built = yield* Effect.flatMap(toolkit, (served) => served)
    const results = call(built, name, { to: ["a"] })
    return yield* client === undefined ? results : Effect.provideService(results, McpSchema.McpServerClient, client)
  }).pipe(Effect.provide(handlers(handler)))

describe("CyclesToolkit.guarded", () => {
  it.effect("reserves and commits for each call, and returns the result as structured content", () =>
    Effect.gen(function* () {
      const client = yield* serve({ Post: send })
      expect(yield* client.callTool(post(["a", "b"]))).toMatchObject({
        isError: false,
        structuredContent: { sent: 1 }
      })
      expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
      expect((yield* sent).map(({ estimate }) => estimate.amount)).toEqual([20])
    }).pipe(Effect.scoped, Effect.provide(world()))
  )

  it.effect("refuses the third call of a tool with a budget for two", () =>
    Effect.gen(function* () {
      const runs = yield* Ref.make(0)
      const client = yield* serve({ Post: { estimate } }, () =>
        Effect.as(
          Ref.update(runs, (n) => n + 1),
          { sent: 1 }
        )
      )
      expect(yield* client.callTool(post())).toMatchObject({ isError: false })
      expect(yield* client.callTool(post())).toMatchObject({ isError: false })
      expect(yield* client.callTool(post())).toMatchObject(refused("BUDGET_EXCEEDED"))
      expect(yield* Ref.get(runs)).toBe(2)
      expect(yield* ledger).toEqual({ spent: 20, reserved: 0 })
    }).pipe(Effect.scoped, Effect.provide(world(undefined, 20)))
  )

  it.effect("refuses a tool that throws its failures in the same way", () =>
    Effect.gen(function* () {
      const client = yield* serve({ Send: { estimate } })
      expect(yield* client.callTool({ ...post(), name: "Send" })).toMatchObject(refused("BUDGET_EXCEEDED"))
    }).pipe(Effect.scoped, Effect.provide(world(undefined, 5)))
  )

  it.effect("refuses a call by a cap, and releases its reservation", () =>
    Effect.gen(function* () {
      const client = yield* serve({ Post: send }, () => Effect.die("must not run"))
      expect(yield* client.callTool(post())).toMatchObject(refused("tool_denylist"))
      expect(yield* ledger).toEqual({ spent: 0, reserved: 0 })
    }).pipe(Effect.scoped, Effect.provide(world({ tool_denylist: ["Post"] })))
  )

  it.effect("applies the default rule to tools without a budget", () =>
    Effect.gen(function* () {
      const client = yield* serve({ Post: "free" }, succeeds, { default: "deny" })
      expect(yield* client.callTool(post())).toMatchObject({ isError: false })
      expect(yield* client.callTool({ ...post(), name: "Send" })).toMatchObject(refused("doesn't allow"))
      expect(yield* reservations).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(world()))
  )

  it.effect("gives every call a fresh key, so that a client that repeats a call pays twice", () =>
    Effect.gen(function* () {
      const client = yield* serve({ Post: send })
      yield* client.callTool(post())
      yield* client.callTool(post())
      expect(new Set((yield* sent).map((request) => request.idempotency_key)).size).toBe(2)
      expect(yield* ledger).toEqual({ spent: 20, reserved: 0 })
    }).pipe(Effect.scoped, Effect.provide(world()))
  )

  it.effect("reserves nothing if the arguments are invalid", () =>
    Effect.gen(function* () {
      const client = yield* serve({ Post: { ...send, approval: "always" }, Send: { estimate, approval: "always" } })
      const params = { to: 7 }
      const returned = yield* client.callTool({ name: "Post", arguments: params })
      expect(returned).toMatchObject(refused("Invalid parameters"))
      const thrown = yield* client.callTool({ name: "Send", arguments: params })
      expect(thrown).toMatchObject(refused("Invalid parameters"))
      expect(yield* reservations).toEqual([])
    }).pipe(Effect.scoped, Effect.provide(world()))
  )

  it.effect("releases the reservation of a cancelled call", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const stopped = yield* Deferred.make<void>()
      const client = yield* serve({ Post: send }, () =>
        Deferred.succeed(started, undefined).pipe(
          Effect.andThen(Effect.never),
          Effect.onInterrupt(() => Deferred.succeed(stopped, undefined))
        )
      )
      const fiber = yield* Effect.forkChild(client.callTool(post()))
      yield* Deferred.await(started)
      expect(yield* ledger).toEqual({ spent: 0, reserved: 10 })
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(stopped)
      yield* TestClock.adjust("1 minute")
      yield* CyclesTest.expectNothingReserved()
      expect(yield* ledger).toEqual({ spent: 0, reserved: 0 })
    }).pipe(Effect.scoped, Effect.provide(world()))
  )

  it.effect("returns a declared failure of the handler, and settles by onFailure", () =>
    Effect.gen(function* () {
      const client = yield* serve({ Post: { ...send, onFailure: "estimate" }, Send: { estimate } }, () =>
        Effect.fail("no such user")
      )
      expect(yield* client.callTool(post())).toMatchObject(refused("no such user"))
      expect(yield* client.callTool({ ...post(), name: "Send" })).toMatchObject(refused("no such user"))
      expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
    }).pipe(Effect.scoped, Effect.provide(world()))
  )

  it.effect("returns an internal error if the handler throws, and releases the reservation", () =>
    Effect.gen(function* () {
      const client = yield* serve({ Post: send }, () => Effect.die(new Error("secret detail")))
      const result = yield* client.callTool(post())
      expect(result).toMatchObject(refused("internal server error"))
      expect(JSON.stringify(result)).not.toContain("secret detail")
      expect(yield* ledger).toEqual({ spent: 0, reserved: 0 })
      expect(yield* client.callTool({ name: "Look", arguments: {} })).toMatchObject({ isError: false })
    }).pipe(Effect.scoped, Effect.provide(world()))
  )

  it.effect("refuses a call with a reason if its budget can't be checked", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("reserve", Fault.connectionRefused)
      const client = yield* serve({ Post: send }, () => Effect.die("must not run"))
      const fiber = yield* Effect.forkChild(client.callTool(post()))
      yield* TestClock.adjust("5 minutes")
      expect(yield* Fiber.join(fiber)).toMatchObject(
        refused("couldn't be checked (TransportError). The tool did not run.")
      )
    }).pipe(Effect.scoped, Effect.provide(world()))
  )

  it.effect("reports that a call may have run if its lease was lost, with the heartbeat policy cancel", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("extend", Fault.error(410, "RESERVATION_EXPIRED"))
      const started = yield* Deferred.make<void>()
      const client = yield* serve({ Post: { estimate, heartbeat: "cancel", ttl: "10 seconds" } }, () =>
        Effect.andThen(Deferred.succeed(started, undefined), Effect.never)
      )
      const fiber = yield* Effect.forkChild(client.callTool(post()))
      yield* Deferred.await(started)
      yield* TestClock.adjust("1 minute")
      expect(yield* Fiber.join(fiber)).toMatchObject(refused("The tool may have run"))
    }).pipe(Effect.scoped, Effect.provide(world()))
  )

  it.effect("leaves the failure of a guarded model inside the handler to the handler", () =>
    Effect.gen(function* () {
      const failure = AiError.make({
        module: "CyclesModel",
        method: "generateText",
        reason: new AiError.QuotaExhaustedError({})
      })
      const own = Toolkit.make(Tool.make("Post", { success: Schema.String }))
      const client = yield* McpTest.makeClient(
        Layer.unwrap(Effect.map(CyclesToolkit.guarded(own, { Post: { estimate } }), McpServer.toolkit)).pipe(
          Layer.provide(own.toLayer({ Post: () => Effect.fail(failure) }))
        ),
        { protocols: [McpProtocol.v2025_11_25] }
      )
      const result = yield* client.callTool({ name: "Post", arguments: {} })
      expect(result.isError).toBe(true)
      expect(JSON.stringify(result)).not.toContain("did not run")
      expect(yield* ledger).toEqual({ spent: 0, reserved: 0 })
    }).pipe(Effect.scoped, Effect.provide(world()))
  )

  it.effect("guards the calls of two clients against the same budget", () =>
    Effect.gen(function* () {
      const one = yield* serve({ Post: { estimate } })
      const two = yield* serve({ Post: { estimate } })
      const results = yield* Effect.all(
        Array.from({ length: 10 }, (_, index) => (index % 2 === 0 ? one : two).callTool(post())),
        { concurrency: "unbounded" }
      )
      expect(results.filter(({ isError }) => isError !== true)).toHaveLength(5)
      expect(yield* ledger).toEqual({ spent: 50, reserved: 0 })
    }).pipe(Effect.scoped, Effect.provide(world(undefined, 50)))
  )

  describe("subject", () => {
    const subjects = Effect.map(sent, (requests) => requests.map(({ subject }) => subject.agent))

    it.effect("is a function of the request, including for calls inside the handler", () =>
      Effect.gen(function* () {
        const seen: Array<CyclesToolkit.Request> = []
        const nested = Effect.succeed({ sent: 1 }).pipe(
          Cycles.withCycles({ action: { kind: "tool.call", name: "inner" }, estimate: Amount.riskPoints(1) }),
          Effect.orDie
        )
        const cycles = yield* Cycles.Cycles
        const client = yield* serve({ Post: send }, () => Effect.provideService(nested, Cycles.Cycles, cycles), {
          subject: (request) => {
            seen.push(request)
            return { agent: String(request.meta["agent"]) }
          }
        })
        yield* client.callTool({ ...post(), _meta: { agent: "planner" } })
        expect(yield* subjects).toEqual(["planner", "planner"])
        expect(seen).toMatchObject([
          {
            tool: "Post",
            params: { to: ["a"] },
            clientId: 0,
            client: { name: "McpTest", version: "1.0.0" },
            protocolVersion: "2025-11-25",
            sessionId: undefined,
            headers: undefined
          }
        ])
      }).pipe(Effect.scoped, Effect.provide(world()))
    )

    it.effect("can depend on the session and the headers of an HTTP request", () =>
      Effect.gen(function* () {
        const cycles = yield* Cycles.Cycles
        const seen: Array<CyclesToolkit.Request> = []
        const subject = (request: CyclesToolkit.Request) => {
          seen.push(request)
          return { agent: request.headers?.["x-agent"] }
        }
        const protocol = McpProtocol.v2025_11_25
        const server = McpServer.layerHttp({
          name: "mails",
          version: "1",
          path: "/mcp",
          protocols: [protocol],
          registrations: registrations({ Post: send }, succeeds, { subject }).pipe(
            Layer.provide(Layer.succeed(Cycles.Cycles, cycles))
          )
        })
        const { dispose, handler } = HttpRouter.toWebHandler(server, { disableLogger: true })
        yield* Effect.addFinalizer(() => Effect.promise(dispose))
        const callAs = (agent: string) =>
          Effect.gen(function* () {
            const fetch = Layer.succeed(FetchHttpClient.Fetch, (input, init) => {
              const request = new Request(input, init)
              request.headers.set("x-agent", agent)
              return handler(request)
            })
            const layer = McpClient.layerHttp({ name: agent, version: "1", url: "http://mails/mcp", protocol }).pipe(
              Layer.provide(FetchHttpClient.layer.pipe(Layer.provide(fetch)))
            )
            const client = Context.get(yield* Layer.build(layer), McpClient.McpClient)
            const tool = (yield* client.listTools()).find(({ name }) => name === "Post")
            if (tool === undefined) return yield* Effect.die("no tool Post")
            return yield* client.callTool({ tool, arguments: { to: ["a"] } })
          })
        yield* Effect.all([callAs("a"), callAs("b")], { concurrency: 2 })
        expect((yield* subjects).toSorted()).toEqual(["a", "b"])
        expect(seen.map(({ client }) => client?.name).toSorted()).toEqual(["a", "b"])
        expect(new Set(seen.map(({ sessionId }) => sessionId)).size).toBe(2)
        expect(seen.every(({ sessionId }) => sessionId !== undefined)).toBe(true)
      }).pipe(Effect.scoped, Effect.provide(world()))
    )

    it.effect("is overridden by the budget of the tool", () =>
      Effect.gen(function* () {
        const client = yield* serve({ Post: { ...send, subject: { agent: "mail" } } }, succeeds, {
          subject: { agent: "all" }
        })
        yield* client.callTool(post())
        expect(yield* subjects).toEqual(["mail"])
      }).pipe(Effect.scoped, Effect.provide(world()))
    )

    it.effect("fails the call if the function throws, and the handler doesn't run", () =>
      Effect.gen(function* () {
        const client = yield* serve({ Post: send }, () => Effect.die("must not run"), {
          subject: () => {
            throw new Error("no subject")
          }
        })
        expect(yield* client.callTool(post())).toMatchObject(refused("internal server error"))
        expect(yield* reservations).toEqual([])
      }).pipe(Effect.scoped, Effect.provide(world()))
    )

    it.effect("can be set by a middleware of the server, and the run as well", () =>
      Effect.gen(function* () {
        const run = yield* Run.make({ name: "session", budget: Amount.riskPoints(10) })
        const Session = McpServer.middleware((effect) =>
          effect.pipe(Cycles.withSubject({ agent: "session" }), Run.within(run))
        )
        const client = yield* McpTest.makeClient(
          registrations({ Post: { estimate } }, succeeds).pipe(Layer.provide(Session.layer)),
          { protocols: [McpProtocol.v2025_11_25] }
        )
        expect(yield* client.callTool(post())).toMatchObject({ isError: false })
        expect(yield* client.callTool(post())).toMatchObject(refused("RUN_BUDGET_EXCEEDED"))
        expect(yield* subjects).toEqual(["session"])
      }).pipe(Effect.scoped, Effect.provide(world()))
    )
  })

  describe("approval", () => {
    const always = CyclesToolkit.guarded(toolkit, { Post: { estimate, approval: "always" } })

    it.effect("is refused if the client can't ask its user", () =>
      Effect.gen(function* () {
        const client = yield* serve({ Post: { estimate, approval: "always" } }, () => Effect.die("must not run"))
        expect(yield* client.callTool(post())).toMatchObject(refused("need the approval of a user"))
        expect(yield* reservations).toEqual([])
      }).pipe(Effect.scoped, Effect.provide(world()))
    )

    it.effect("is refused for a protocol version without sessions", () =>
      Effect.gen(function* () {
        const client = yield* McpTest.makeClient(
          registrations({ Post: { estimate, approval: "always" } }, () => Effect.die("must not run")),
          {
            protocols: [McpProtocol.v2026_07_28],
            clientCapabilities: new McpSchema.ClientCapabilities({ elicitation: {} })
          }
        )
        expect(yield* client.callTool(post())).toMatchObject(refused("need the approval of a user"))
      }).pipe(Effect.scoped, Effect.provide(world()))
    )

    it.effect("is requested with the arguments, before anything is reserved", () =>
      Effect.gen(function* () {
        let message = ""
        let asked = -1
        const cycles = yield* CyclesTest.CyclesTest
        const client = user((request) =>
          Effect.gen(function* () {
            message = request.message
            asked = (yield* CyclesTest.requests("reserve")).length
            return { action: "accept", content: {} } as const
          }).pipe(Effect.provideService(CyclesTest.CyclesTest, cycles))
        )
        expect(yield* callAs(client, "Post", always)).toMatchObject([{ isFailure: false, result: { sent: 1 } }])
        expect({ asked, message }).toEqual({ asked: 0, message: 'Allow this call of Post with {"to":["a"]}?' })
        expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
      }).pipe(Effect.scoped, Effect.provide(world()))
    )

    for (const action of ["decline", "cancel"] as const) {
      it.effect(`refuses the call if the response is ${action}`, () =>
        Effect.gen(function* () {
          const client = user(() => Effect.succeed({ action }))
          const results = callAs(client, "Post", always, () => Effect.die("must not run"))
          expect(yield* results).toMatchObject([deniedResult("The user didn't approve")])
          expect(yield* reservations).toEqual([])
        }).pipe(Effect.scoped, Effect.provide(world()))
      )
    }

    it.effect("refuses the call if the request for approval fails", () =>
      Effect.gen(function* () {
        const client = user(() => Effect.die(new Error("gone")))
        const results = callAs(client, "Post", always, () => Effect.die("must not run"))
        expect(yield* results).toMatchObject([deniedResult("need the approval of a user")])
      }).pipe(Effect.scoped, Effect.provide(world()))
    )

    it.effect("isn't requested from a client that shows URLs only, nor for calls that don't need it", () =>
      Effect.gen(function* () {
        const urls = user(() => Effect.die("can't show a form"), { elicitation: { url: {} } })
        expect(yield* callAs(urls, "Post", always)).toMatchObject([deniedResult("need the approval of a user")])
        const some = CyclesToolkit.guarded(toolkit, { Post: { estimate, approval: ({ to }) => to.length > 1 } })
        expect(yield* callAs(undefined, "Post", some)).toMatchObject([{ isFailure: false }])
      }).pipe(Effect.scoped, Effect.provide(world()))
    )

    it.effect("is requested if the tool itself requires it, even without a budget", () =>
      Effect.gen(function* () {
        const Wipe = Tool.make("Wipe", { success: Schema.String, needsApproval: true })
        const own = Toolkit.make(Wipe)
        const client = yield* McpTest.makeClient(
          Layer.unwrap(Effect.map(CyclesToolkit.guarded(own, {}), McpServer.toolkit)).pipe(
            Layer.provide(own.toLayer({ Wipe: () => Effect.die("must not run") }))
          ),
          { protocols: [McpProtocol.v2025_11_25] }
        )
        expect(yield* client.callTool({ name: "Wipe", arguments: {} })).toMatchObject(
          refused("need the approval of a user")
        )
      }).pipe(Effect.scoped, Effect.provide(world()))
    )
  })
})
