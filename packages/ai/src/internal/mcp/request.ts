/** The MCP request of a served tool call: the data that the transport and the client send with it. */
import * as McpSchema from "effect/ai/McpSchema"
import * as Effect from "effect/Effect"
import type * as Headers from "effect/http/Headers"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Option from "effect/Option"

/**
 * A tool call that an MCP server has received.
 *
 * **Gotchas**
 *
 * Only the transport's part can be trusted: `params`, `client` and `meta` come from the client, and can be false.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request {
  /** The name of the tool. */
  readonly tool: string
  /** The arguments as the client sent them, before they are checked. */
  readonly params: unknown
  /** The number of the connection within the server. Absent if the tool isn't called over MCP. */
  readonly clientId: number | undefined
  /** The name and version of the client's program. Absent if the client didn't send them. */
  readonly client: { readonly name: string; readonly version: string } | undefined
  /** The protocol version of the connection, such as `2025-11-25`. Absent if the tool isn't called over MCP. */
  readonly protocolVersion: string | undefined
  /** The `_meta` of the request. Empty if the client sent none. */
  readonly meta: Readonly<Record<string, unknown>>
  /** The header `Mcp-Session-Id`. Absent over stdio and for protocol versions without sessions. */
  readonly sessionId: string | undefined
  /** The headers of the HTTP request. Absent over stdio. */
  readonly headers: Headers.Headers | undefined
}

/** The request of the current fiber. */
export const current = (tool: string, params: unknown): Effect.Effect<Request> =>
  Effect.gen(function* () {
    const context = Option.getOrUndefined(yield* Effect.serviceOption(McpSchema.McpRequestContext))
    const http = Option.getOrUndefined(yield* Effect.serviceOption(HttpServerRequest.HttpServerRequest))
    return {
      tool,
      params,
      clientId: context?.clientId,
      client: context?.clientInfo && { name: context.clientInfo.name, version: context.clientInfo.version },
      protocolVersion: context?.protocolVersion,
      meta: { ...context?.requestMetadata },
      sessionId: http?.headers["mcp-session-id"],
      headers: http?.headers
    }
  })
