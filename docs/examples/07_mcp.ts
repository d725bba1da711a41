/** An MCP server with guarded tools and budget tools, and an agent that guards the tools of that server itself. */
import { CyclesToolkit } from "@effect-cycles/ai"
import { Effect, Layer, Stream } from "effect"
import { McpClient, McpProtocol, McpServer } from "effect/ai"
import { FetchHttpClient, HttpRouter } from "effect/http"
import { Amount, Cycles } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import { Registrations } from "./support/mcpServer.ts"
import { check, say, section, withServer } from "./support/stage.ts"

const protocol = McpProtocol.v2025_11_25

/** A client of the server, over HTTP within this process. */
const Client = Layer.unwrap(
  Effect.gen(function* () {
    const cycles = yield* Cycles.Cycles
    const registrations = Registrations.pipe(Layer.provide(Layer.succeed(Cycles.Cycles, cycles)))
    const server = McpServer.layerHttp({
      name: "mails",
      version: "1",
      path: "/mcp",
      protocols: [protocol],
      registrations
    })
    const { dispose, handler } = HttpRouter.toWebHandler(server, { disableLogger: true })
    yield* Effect.addFinalizer(() => Effect.promise(dispose))
    return McpClient.layerHttp({ name: "agent", version: "1", url: "http://mails/mcp", protocol }).pipe(
      Layer.provide(FetchHttpClient.layer),
      Layer.provide(Layer.succeed(FetchHttpClient.Fetch, (input, init) => handler(new Request(input, init))))
    )
  })
)

withServer({ unit: "RISK_POINTS", allocated: 25 }, ({ apiKey, baseUrl, journal, tenant }) =>
  Effect.gen(function* () {
    const client = yield* McpClient.McpClient
    const use = (name: string, args: Record<string, unknown> = {}) =>
      Effect.gen(function* () {
        const tool = (yield* client.listTools()).find((tool) => tool.name === name)
        if (tool === undefined) return yield* Effect.die(new Error(`The server has no tool ${name}`))
        const { content, isError = false } = yield* client.callTool({ tool, arguments: args })
        const text = content.map((part) => (part.type === "text" ? part.text : part.type)).join()
        yield* say(`${name}: ${text}`)
        return { isError, text }
      })
    const mail = { to: "ann@example.com", text: "Hello" }

    yield* section(
      "1. The server offers its own tools and the budget tools",
      Effect.gen(function* () {
        for (const { annotations, name } of yield* client.listTools()) {
          yield* say(`${name}${annotations?.readOnlyHint === true ? ", read-only" : ""}`)
        }
      })
    )
    yield* section(
      "2. A client reads the budget before it acts",
      Effect.gen(function* () {
        yield* use("cycles_balances", { unit: "RISK_POINTS" })
        const decided = (amount: number) =>
          use("cycles_decide", {
            action: { kind: "tool.call", name: "send_mail" },
            estimate: { unit: "RISK_POINTS", amount }
          })
        yield* check("20 points are allowed", (yield* decided(20)).text.includes('"ALLOW"'))
        yield* check("30 points are denied", (yield* decided(30)).text.includes('"DENY"'))
        yield* check("a negative amount is refused", (yield* decided(-1)).isError)
      })
    )
    yield* section(
      "3. The server guards its tools: 25 risk points are enough for two mails",
      Effect.gen(function* () {
        yield* use("send_mail", mail)
        yield* use("send_mail", mail)
        yield* check("the third mail is refused", (yield* use("send_mail", mail)).isError)
        yield* check("two mails were sent", (yield* use("count_mails")).text.includes('"count":2'))
        yield* check("no user approved the deletion, so it is refused", (yield* use("delete_mails")).isError)
      })
    )
    yield* section(
      "4. An agent guards the tools of a server that it doesn't own",
      Effect.gen(function* () {
        const toolkit = yield* CyclesToolkit.guard(
          McpClient.toolkit(client, "mails__"),
          { mails__send_mail: { estimate: Amount.riskPoints(100) } },
          { default: (tool) => (tool.name.startsWith("mails__cycles_") ? "free" : "deny") }
        )
        const call = (name: string, args: unknown) => Stream.runCollect(Stream.unwrap(toolkit.handle(name, args)))
        const [refused] = yield* call("mails__send_mail", mail)
        yield* say(JSON.stringify(refused?.encodedResult))
        yield* check("the agent's own budget refused the mail", refused?.isFailure === true)
      })
    )
  }).pipe(
    Effect.provide(Client),
    Effect.scoped,
    Effect.provide(NodeCycles.layer({ baseUrl, apiKey, subject: { tenant } }).pipe(Layer.provide(journal)))
  )
)
