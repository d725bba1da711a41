/**
 * The types that the compiler infers for `CyclesToolkit.guard` and `guarded`. Nothing here runs: `pnpm check` compiles it, and a
 * wrong type, or an expected error that doesn't come, fails it.
 */
import type { Cycles } from "effect-cycles/Cycles"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as McpClient from "effect/ai/McpClient"
import * as McpServer from "effect/ai/McpServer"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Amount } from "effect-cycles"
import * as CyclesToolkit from "../src/CyclesToolkit.ts"

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <Actual>(_: Actual) => ({
  as: <Expected>(..._ok: Equal<Actual, Expected> extends true ? [] : [never, Actual, Expected]): void => {}
})

const Send = Tool.make("Send", {
  parameters: Schema.Struct({ to: Schema.Array(Schema.String) }),
  success: Schema.Struct({ sent: Schema.Int })
})
const Look = Tool.make("Look", { success: Schema.String })
const toolkit = Toolkit.make(Send, Look)
type Tools = Toolkit.Tools<typeof toolkit>

class NoServer {
  readonly _tag = "NoServer"
}
declare const built: Toolkit.WithHandler<Tools>
declare const effect: Effect.Effect<Toolkit.WithHandler<Tools>, NoServer, Tool.Handler<"Other">>
declare const client: McpClient.McpClient

const estimate = Amount.riskPoints(1)

// ---- the toolkits that the guard accepts, and its errors and requirements
same(CyclesToolkit.guard(toolkit, { Send: { estimate } })).as<
  Effect.Effect<Toolkit.WithHandler<Tools>, never, Tool.HandlersFor<Tools> | Cycles>
>()
same(CyclesToolkit.guard(built, { Send: { estimate } })).as<Effect.Effect<Toolkit.WithHandler<Tools>, never, Cycles>>()
same(CyclesToolkit.guard(effect, { Send: { estimate } })).as<
  Effect.Effect<Toolkit.WithHandler<Tools>, NoServer, Tool.Handler<"Other"> | Cycles>
>()

// ---- inference of the parameters and the result
void CyclesToolkit.guard(toolkit, {
  Send: {
    estimate: (params) => {
      same(params).as<{ readonly to: ReadonlyArray<string> }>()
      return Amount.riskPoints(params.to.length)
    },
    actual: (result) => {
      same(result).as<{ readonly sent: number }>()
      return Amount.riskPoints(result.sent)
    },
    approval: ({ to }) => to.length > 1
  },
  Look: "free"
})
void CyclesToolkit.guard(built, {
  Send: { estimate: ({ to }) => Amount.riskPoints(to.length), actual: ({ sent }) => Amount.riskPoints(sent) },
  Look: "deny"
})
void CyclesToolkit.guard(effect, {
  Send: { estimate: ({ to }) => Amount.riskPoints(to.length), actual: ({ sent }) => Amount.riskPoints(sent) }
})

// ---- an unknown name is an error for a typed toolkit
// @ts-expect-error no tool is named Sent
void CyclesToolkit.guard(toolkit, { Sent: { estimate } })
// @ts-expect-error no tool is named Sent
void CyclesToolkit.guard(built, { Sent: { estimate } })
// @ts-expect-error no tool is named Sent
void CyclesToolkit.guard(effect, { Sent: { estimate } })

// ---- a wrong rule is an error
// @ts-expect-error a budget has an estimate
void CyclesToolkit.guard(toolkit, { Send: {} })
// @ts-expect-error the parameters have no field `from`
void CyclesToolkit.guard(toolkit, { Send: { estimate: ({ from }) => Amount.riskPoints(from.length) } })
// @ts-expect-error the result has no field `cost`
void CyclesToolkit.guard(built, { Send: { estimate, actual: ({ cost }) => cost } })
// @ts-expect-error rules are budgets, `free` or `deny`
void CyclesToolkit.guard(toolkit, {}, { default: "allow" })
// @ts-expect-error onSettled has no requirements
void CyclesToolkit.guard(toolkit, { Send: { estimate, onSettled: () => Send } })

// ---- the options of all tools
void CyclesToolkit.guard(toolkit, { Send: { estimate, dryRun: true, heartbeat: "cancel", onFailure: "estimate" } })
void CyclesToolkit.guard(
  toolkit,
  {},
  { namespace: "job-1", default: (tool) => (tool.name === "Look" ? "free" : { estimate }) }
)

// ---- a toolkit whose names are known at run time only
const mcp = CyclesToolkit.guard(
  McpClient.toolkit(client, "crm__"),
  { crm__send: { estimate: Amount.riskPoints(20), actual: (text) => Amount.riskPoints(text.length) } },
  { default: "deny" }
)
type OfMcp = ReturnType<typeof McpClient.toolkit>
same(mcp).as<Effect.Effect<Effect.Success<OfMcp>, Effect.Error<OfMcp>, Cycles>>()

// ---- a guarded toolkit replaces the toolkit in calls of a model
void LanguageModel.generateText({ prompt: "Go", toolkit: CyclesToolkit.guard(toolkit, { Send: { estimate } }) })
void Effect.flatMap(mcp, (toolkit) => LanguageModel.generateText({ prompt: "Go", toolkit }))

// ---- a toolkit that is guarded where it is served
const served = CyclesToolkit.guarded(toolkit, {
  Send: { estimate: ({ to }) => Amount.riskPoints(to.length), actual: ({ sent }) => Amount.riskPoints(sent) }
})
same(served).as<Effect.Effect<Toolkit.Toolkit<Tools>, never, Cycles>>()
same(Layer.unwrap(Effect.map(served, McpServer.toolkit))).as<
  Layer.Layer<never, never, Cycles | McpServer.McpServer | Tool.HandlersFor<Tools>>
>()
void CyclesToolkit.guarded(
  toolkit,
  {},
  { default: "deny", subject: ({ headers }) => ({ agent: headers?.["x-agent"] }) }
)
// @ts-expect-error no tool is named Sent
void CyclesToolkit.guarded(toolkit, { Sent: { estimate } })
// @ts-expect-error calls over MCP have no ids, so their keys can't be reproducible
void CyclesToolkit.guarded(toolkit, {}, { namespace: "job-1" })
// @ts-expect-error a server takes a toolkit, so a toolkit with handlers can't be served
void CyclesToolkit.guarded(built, {})
