/** The MCP server over standard input and output. Set `CYCLES_BASE_URL`, `CYCLES_API_KEY` and `CYCLES_TENANT`. */
import { NodeRuntime, NodeStdio } from "@effect/platform-node"
import { Layer, Logger } from "effect"
import { McpProtocol, McpServer } from "effect/ai"
import { NodeCycles } from "effect-cycles/node"
import { Registrations } from "./mcpServer.ts"

const Server = McpServer.layerStdio({
  name: "mails",
  version: "1.0.0",
  protocols: [McpProtocol.v2025_11_25],
  registrations: Registrations
}).pipe(
  Layer.provide([NodeCycles.layerConfig(), NodeStdio.layer]),
  // Standard output belongs to the protocol.
  Layer.provide(Layer.succeed(Logger.LogToStderr, true))
)

NodeRuntime.runMain(Layer.launch(Server))
