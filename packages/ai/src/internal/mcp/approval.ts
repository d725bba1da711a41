/**
 * Asks the user of an MCP client to approve a tool call, by elicitation. A client that can't ask its user, or that
 * doesn't respond with an approval, refuses the call.
 */
import * as McpSchema from "effect/ai/McpSchema"
import type * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** The outcome of a request for approval. */
export type Approval = "approved" | "declined" | "unavailable"

/** Whether a call of a tool needs an approval. */
export const isNeeded = (tool: Tool.Any, params: unknown): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const { needsApproval } = tool
    if (typeof needsApproval !== "function") return Effect.succeed(needsApproval === true)
    // A served call has neither an id nor a conversation.
    const needed = needsApproval(params, { toolCallId: "", messages: [] })
    return typeof needed === "boolean" ? Effect.succeed(needed) : needed
  })

/** Asks the user of the client that made the call. */
export const ask = (tool: string, params: unknown): Effect.Effect<Approval> =>
  Effect.gen(function* () {
    const session = Option.getOrUndefined(yield* Effect.serviceOption(McpSchema.McpServerClient))
    if (session === undefined || !canAsk(session.clientCapabilities)) return "unavailable"
    const client = yield* session.getClient
    const response = yield* Effect.exit(
      client.elicit(
        new McpSchema.ElicitRequestFormParams({
          message: `Allow this call of ${tool} with ${textOf(params)}?`,
          requestedSchema: { type: "object", properties: {} }
        })
      )
    )
    if (response._tag === "Success") return response.value.action === "accept" ? "approved" : "declined"
    yield* Effect.logWarning(`The approval of a call of ${tool} could not be requested`, response.cause)
    return "unavailable"
  }).pipe(Effect.scoped)

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** A client that names no mode supports forms. */
const canAsk = ({ elicitation }: McpSchema.ClientCapabilities): boolean =>
  elicitation !== undefined && (elicitation.form !== undefined || elicitation.url === undefined)

const textOf = (params: unknown): string => JSON.stringify(params) ?? "no arguments"
