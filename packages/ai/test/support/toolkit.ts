/** Tools with budgets in risk points, an embedded server for them, and calls of the tools. */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest } from "@effect-cycles/testing"
import { expect } from "@effect/vitest"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as McpServer from "effect/ai/McpServer"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Amount, Reservation } from "effect-cycles"
import * as CyclesToolkit from "../../src/CyclesToolkit.ts"
import * as S from "./script.ts"

// ---------------------------------------------------------------------------------------------------------------------
// tools
// ---------------------------------------------------------------------------------------------------------------------

const fields = {
  parameters: Schema.Struct({ to: Schema.Array(Schema.String) }),
  success: Schema.Struct({ sent: Schema.Int }),
  failure: Schema.String
}
/** Throws its failures. */
export const Send = Tool.make("Send", fields)
/** Returns its failures as results. */
export const Post = Tool.make("Post", { ...fields, failureMode: "return" })
export const Look = Tool.make("Look", { success: Schema.String })
export const toolkit = Toolkit.make(Send, Post, Look)

export type Tools = Toolkit.Tools<typeof toolkit>
export type Handler = (
  params: { readonly to: ReadonlyArray<string> },
  context: { readonly preliminary: (result: { readonly sent: number }) => Effect.Effect<void> }
) => Effect.Effect<{ readonly sent: number }, string>

export const handlers = (send: Handler) =>
  toolkit.toLayer({ Send: send, Post: send, Look: () => Effect.succeed("nothing") })
export const succeeds: Handler = () => Effect.succeed({ sent: 1 })

export const estimate = Amount.riskPoints(10)
export const perRecipient = ({ to }: { readonly to: ReadonlyArray<string> }) => Amount.riskPoints(to.length * 10)
export const send: CyclesToolkit.Budget<typeof Send | typeof Post> = {
  estimate: perRecipient,
  actual: ({ sent }) => Amount.riskPoints(sent * 10)
}

/** Guards `Send` and `Post` alike. */
export const guard = (
  budget: CyclesToolkit.Budget<typeof Send | typeof Post>,
  handler: Handler,
  options?: CyclesToolkit.Options
) => CyclesToolkit.guard(toolkit, { Send: budget, Post: budget }, options).pipe(Effect.provide(handlers(handler)))

/** All results of a call. */
export const call = <T extends Record<string, Tool.Any>, Name extends keyof T>(
  toolkit: Toolkit.WithHandler<T>,
  name: Name,
  params: Tool.ParametersEncoded<T[Name]>,
  id?: string
) => Stream.runCollect(Stream.unwrap(toolkit.handle(name, params, id)))

/** Records spend in the reservation of the handler. */
export const record = (amount: number, isEstimated = false) =>
  Effect.flatMap(Reservation.current, (reservation) =>
    Option.isNone(reservation)
      ? Effect.die("no reservation")
      : Effect.orDie(reservation.value.record({ actual: Amount.riskPoints(amount), isEstimated }))
  )

export const deniedResult = (reason: string) => ({
  isFailure: true,
  preliminary: false,
  result: { type: "execution-denied", reason: expect.stringContaining(reason) },
  encodedResult: { type: "execution-denied", reason: expect.stringContaining(reason) }
})

// ---------------------------------------------------------------------------------------------------------------------
// served tools
// ---------------------------------------------------------------------------------------------------------------------

/** Registers the guarded tools with an MCP server. */
export const registrations = (
  budgets: CyclesToolkit.Budgets<Tools>,
  handler: Handler,
  options?: CyclesToolkit.ServedOptions & CyclesToolkit.Rules
) =>
  Layer.unwrap(Effect.map(CyclesToolkit.guarded(toolkit, budgets, options), McpServer.toolkit)).pipe(
    Layer.provide(handlers(handler))
  )

/** The refusal of a call as an MCP result. */
export const refused = (reason: string) => ({
  isError: true,
  content: [{ type: "text", text: expect.stringContaining(reason) }]
})

// ---------------------------------------------------------------------------------------------------------------------
// the world
// ---------------------------------------------------------------------------------------------------------------------

export const ledger = Effect.map(
  Effect.flatMap(CyclesServer.CyclesServer, (server) => server.books("RISK_POINTS")),
  ({ reserved, spent }) => ({ spent: Number(spent), reserved: Number(reserved) })
)
export const reservations = Effect.flatMap(CyclesServer.CyclesServer, (server) => server.reservations)

export const world = (caps?: CyclesServer.CapsOptions, allocated = 100) =>
  CyclesTest.layer({ budgets: [{ unit: "RISK_POINTS", allocated, caps }] })

/** A model that calls one tool. */
export const model = (name: string, params: unknown, allocated = 100) =>
  S.bare.pipe(
    Layer.provideMerge(
      S.world([{ parts: [S.toolCall(name, params), S.finish(20, 10, "tool-calls")] }], {
        budgets: [{ unit: "RISK_POINTS", allocated }]
      })
    )
  )

/** A model call that may call `Send`. */
export const ask = (handler: Handler, options?: CyclesToolkit.Options) =>
  LanguageModel.generateText({
    prompt: "Write to them",
    toolkit: CyclesToolkit.guard(toolkit, { Send: send }, options)
  }).pipe(Effect.provide(handlers(handler)))
