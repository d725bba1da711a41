/**
 * The MCP server of `docs/examples/support/mcpServer.ts`, with the client of the official SDK, over stdio and over
 * Streamable HTTP.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { NodeCyclesServer } from "@effect-cycles/server"
import { describe, expect, it } from "@effect/vitest"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js"
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js"
import { Context, Effect, Layer, Redacted, Schedule, Schema } from "effect"
import type { Scope } from "effect"
import { McpProtocol, McpServer } from "effect/ai"
import { HttpRouter, HttpServer } from "effect/http"
import { SettlementJournal } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import { createServer } from "node:http"
import { join } from "node:path"
import { makeTenant } from "../../examples/support/administrator.ts"
import { Registrations } from "../../examples/support/mcpServer.ts"

// ---------------------------------------------------------------------------------------------------------------------
// servers and clients
// ---------------------------------------------------------------------------------------------------------------------

/** A Cycles server with a tenant that has some risk points. */
interface Budget {
  readonly url: string
  readonly apiKey: string
}

const budgetOf = (amount: number): Effect.Effect<Budget, never, Scope.Scope> =>
  Effect.gen(function* () {
    const adminKey = crypto.randomUUID()
    const { adminUrl, url } = yield* NodeCyclesServer.make({ port: 0, adminKey })
    const apiKey = yield* Effect.promise(() =>
      makeTenant({ adminUrl, adminKey }, "acme", { unit: "RISK_POINTS", amount })
    )
    return { url, apiKey }
  }).pipe(Effect.orDie)

/** Starts a server and returns a function that makes a transport to it. */
type Server = (budget: Budget) => Effect.Effect<() => Transport, never, Scope.Scope>

const program = join(import.meta.dirname, "../../examples/support/mcpStdio.ts")

/** Each transport starts a process. */
const stdio: Server = ({ apiKey, url }) =>
  Effect.succeed(
    () =>
      new StdioClientTransport({
        command: process.execPath,
        args: ["--no-warnings", program],
        env: { CYCLES_BASE_URL: url, CYCLES_API_KEY: apiKey, CYCLES_TENANT: "acme" },
        stderr: "ignore"
      })
  )

const http: Server = ({ apiKey, url }) =>
  Effect.gen(function* () {
    const cycles = NodeCycles.layer({
      baseUrl: url,
      apiKey: Redacted.make(apiKey),
      subject: { tenant: "acme" }
    }).pipe(Layer.provide(SettlementJournal.layerMemory))
    const server = McpServer.layerHttp({
      name: "mails",
      version: "1.0.0",
      path: "/mcp",
      protocols: [McpProtocol.v2025_11_25],
      registrations: Registrations
    })
    const services = yield* Layer.build(
      HttpRouter.serve(server, { disableLogger: true, disableListenLog: true }).pipe(
        Layer.provide(cycles),
        Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0 }))
      )
    )
    const { address } = Context.get(services, HttpServer.HttpServer)
    if (address._tag === "UnixPathAddress") return yield* Effect.die("the server has no port")
    const endpoint = new URL(`http://127.0.0.1:${address.port}/mcp`)
    return () => new StreamableHTTPClientTransport(endpoint)
  }).pipe(Effect.orDie)

/** A connected client of the SDK. With `approve` it supports elicitation. */
const connect = (transport: () => Transport, approve?: (message: string) => "accept" | "decline") =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const capabilities = approve === undefined ? {} : { elicitation: {} }
      const client = new Client({ name: "test", version: "1.0.0" }, { capabilities })
      if (approve !== undefined) {
        client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
          const action = approve(params.message)
          return action === "accept" ? { action, content: {} } : { action }
        })
      }
      await client.connect(transport())
      return client
    }),
    (client) => Effect.promise(() => client.close())
  )

const CallResult = Schema.decodeUnknownSync(
  Schema.Struct({
    isError: Schema.optional(Schema.Boolean),
    structuredContent: Schema.optional(Schema.Unknown),
    content: Schema.Array(Schema.Struct({ type: Schema.String, text: Schema.String }))
  })
)

const use = (client: Client, name: string, args: Record<string, unknown> = {}) =>
  Effect.promise(async () => CallResult(await client.callTool({ name, arguments: args })))

const mailTo = (to: string) => ({ to, text: "Hello" })

/** An error result with this text. */
const refused = (text: string) => ({ isError: true, content: [{ text: expect.stringContaining(text) }] })

/** The balance of the tenant. */
const balance = (client: Client) =>
  Effect.map(use(client, "cycles_balances"), ({ structuredContent }) => Balances(structuredContent).balances[0])

const Balances = Schema.decodeUnknownSync(
  Schema.Struct({
    balances: Schema.Array(Schema.Struct({ remaining: Schema.String, reserved: Schema.String, spent: Schema.String }))
  })
)

/** Reads the balance until this amount is reserved. */
const untilReserved = (client: Client, reserved: string) =>
  balance(client).pipe(
    Effect.repeat({ until: (found) => found?.reserved === reserved, schedule: Schedule.spaced("20 millis") }),
    Effect.timeout("10 seconds"),
    Effect.orDie
  )

// ---------------------------------------------------------------------------------------------------------------------
// tests
// ---------------------------------------------------------------------------------------------------------------------

/** A loaded machine starts processes slowly. */
const timeout = 60_000

describe.each([
  ["stdio", stdio],
  ["Streamable HTTP", http]
] as const)("an MCP server over %s", (_name, serve) => {
  it.live(
    "lists its tools with annotations and output schemas",
    () =>
      Effect.gen(function* () {
        const client = yield* Effect.flatMap(Effect.flatMap(budgetOf(25), serve), (transport) => connect(transport))
        const { tools } = yield* Effect.promise(() => client.listTools())
        expect(tools.map(({ name }) => name)).toEqual([
          "send_mail",
          "delete_mails",
          "count_mails",
          "cycles_balances",
          "cycles_decide"
        ])
        for (const { annotations, name, outputSchema } of tools) {
          expect(outputSchema, name).toMatchObject({ type: "object" })
          expect(annotations?.readOnlyHint, name).toBe(/^(count|cycles)_/.test(name))
        }
      }).pipe(Effect.scoped),
    timeout
  )

  it.live(
    "returns balances and decisions that match their output schemas",
    () =>
      Effect.gen(function* () {
        const client = yield* Effect.flatMap(Effect.flatMap(budgetOf(25), serve), (transport) => connect(transport))
        // After `listTools`, the SDK checks structured content against the output schemas.
        yield* Effect.promise(() => client.listTools())
        expect(yield* balance(client)).toEqual({ remaining: "25", reserved: "0", spent: "0" })
        const decide = (unit: string, amount: number | string) =>
          use(client, "cycles_decide", {
            action: { kind: "tool.call", name: "send_mail" },
            estimate: { unit, amount }
          })
        expect(yield* decide("RISK_POINTS", 25)).toMatchObject({ structuredContent: { decision: "ALLOW" } })
        expect(yield* decide("RISK_POINTS", "26")).toMatchObject({
          structuredContent: { decision: "DENY", reason_code: "BUDGET_EXCEEDED" }
        })
        expect(yield* decide("RISK_POINTS", -1)).toMatchObject(refused("greater than or equal to 0"))
        expect(yield* decide("EUROS", 1)).toMatchObject(refused('"error":"UnknownUnit"'))
        expect(yield* balance(client)).toEqual({ remaining: "25", reserved: "0", spent: "0" })
      }).pipe(Effect.scoped),
    timeout
  )

  it.live(
    "refuses the third call of a tool with a budget for two",
    () =>
      Effect.gen(function* () {
        const client = yield* Effect.flatMap(Effect.flatMap(budgetOf(25), serve), (transport) => connect(transport))
        yield* Effect.promise(() => client.listTools())
        expect(yield* use(client, "send_mail", mailTo("ann"))).toMatchObject({ structuredContent: { id: "mail-1" } })
        expect(yield* use(client, "send_mail", mailTo("bob"))).toMatchObject({ structuredContent: { id: "mail-2" } })
        expect(yield* use(client, "send_mail", mailTo("eve"))).toMatchObject(refused("BUDGET_EXCEEDED"))
        expect(yield* use(client, "count_mails")).toMatchObject({ structuredContent: { count: 2 } })
        expect(yield* balance(client)).toEqual({ remaining: "5", reserved: "0", spent: "20" })
      }).pipe(Effect.scoped),
    timeout
  )

  it.live(
    "releases the reservation of a cancelled call",
    () =>
      Effect.gen(function* () {
        const client = yield* Effect.flatMap(Effect.flatMap(budgetOf(25), serve), (transport) => connect(transport))
        const cancel = new AbortController()
        const call = client.callTool({ name: "send_mail", arguments: mailTo("slow") }, undefined, {
          signal: cancel.signal
        })
        const ended = call.then(
          () => "returned",
          () => "cancelled"
        )
        yield* untilReserved(client, "10")
        cancel.abort()
        expect(yield* Effect.promise(() => ended)).toBe("cancelled")
        expect(yield* untilReserved(client, "0")).toMatchObject({ remaining: "25", spent: "0" })
      }).pipe(Effect.scoped),
    timeout
  )

  it.live(
    "releases the reservation of a call whose client disconnects",
    () =>
      Effect.gen(function* () {
        const transport = yield* Effect.flatMap(budgetOf(25), serve)
        const client = yield* connect(transport)
        const call = client.callTool({ name: "send_mail", arguments: mailTo("slow") }).catch(() => "disconnected")
        const observer = yield* connect(transport)
        yield* untilReserved(observer, "10")
        yield* Effect.promise(() => client.close())
        expect(yield* Effect.promise(() => call)).toBe("disconnected")
        expect(yield* untilReserved(observer, "0")).toMatchObject({ remaining: "25", spent: "0" })
      }).pipe(Effect.scoped),
    timeout
  )

  it.live(
    "continues after a handler that fails or throws, and charges neither",
    () =>
      Effect.gen(function* () {
        const client = yield* Effect.flatMap(Effect.flatMap(budgetOf(25), serve), (transport) => connect(transport))
        expect(yield* use(client, "send_mail", mailTo("nobody"))).toMatchObject(refused("There is no such user"))
        const thrown = yield* use(client, "send_mail", mailTo("crash"))
        expect(thrown).toMatchObject(refused("internal server error"))
        expect(JSON.stringify(thrown)).not.toContain("on fire")
        expect(yield* use(client, "send_mail", mailTo("ann"))).toMatchObject({ structuredContent: { id: "mail-1" } })
        expect(yield* balance(client)).toEqual({ remaining: "15", reserved: "0", spent: "10" })
      }).pipe(Effect.scoped),
    timeout
  )

  it.live(
    "guards the calls of two concurrent clients against one budget",
    () =>
      Effect.gen(function* () {
        const transport = yield* Effect.flatMap(budgetOf(55), serve)
        const clients = yield* Effect.all([connect(transport), connect(transport)], { concurrency: 2 })
        const results = yield* Effect.forEach(
          Array.from({ length: 12 }, (_, index) => clients[index % 2]),
          (client) => (client === undefined ? Effect.die("no client") : use(client, "send_mail", mailTo("ann"))),
          { concurrency: "unbounded" }
        )
        expect(results.filter(({ isError }) => isError !== true)).toHaveLength(5)
        for (const result of results.filter(({ isError }) => isError === true)) {
          expect(result).toMatchObject(refused("BUDGET_EXCEEDED"))
        }
        expect(yield* balance(clients[0])).toEqual({ remaining: "5", reserved: "0", spent: "50" })
      }).pipe(Effect.scoped),
    timeout
  )

  it.live(
    "asks the user for an approval, and runs the tool only if the user accepts",
    () =>
      Effect.gen(function* () {
        const transport = yield* Effect.flatMap(budgetOf(100), serve)
        const messages: Array<string> = []
        const accepting = yield* connect(transport, (message) => {
          messages.push(message)
          return "accept"
        })
        expect(yield* use(accepting, "delete_mails")).toMatchObject({ structuredContent: { deleted: 0 } })
        expect(messages).toEqual(["Allow this call of delete_mails with {}?"])
        const declining = yield* connect(transport, () => "decline")
        expect(yield* use(declining, "delete_mails")).toMatchObject(refused("The user didn't approve"))
        const silent = yield* connect(transport)
        expect(yield* use(silent, "delete_mails")).toMatchObject(refused("need the approval of a user"))
        expect(yield* balance(silent)).toEqual({ remaining: "50", reserved: "0", spent: "50" })
      }).pipe(Effect.scoped),
    timeout
  )
})
