/** The tools of an MCP server: mails that are guarded where they are served, and the read-only budget tools. */
import { CyclesMcp, CyclesToolkit } from "@effect-cycles/ai"
import { Effect, Layer, Schema } from "effect"
import { McpServer, Tool, Toolkit } from "effect/ai"
import { Amount } from "effect-cycles"

const SendMail = Tool.make("send_mail", {
  description: "Send a mail",
  parameters: Schema.Struct({ to: Schema.String, text: Schema.String }),
  success: Schema.Struct({ id: Schema.String }),
  failure: Schema.String
})
const DeleteMails = Tool.make("delete_mails", {
  description: "Delete all mails. The user is asked first",
  success: Schema.Struct({ deleted: Schema.Int })
})
const CountMails = Tool.make("count_mails", {
  description: "Count the mails that were sent",
  success: Schema.Struct({ count: Schema.Int })
}).annotate(Tool.Readonly, true)

const mails = Toolkit.make(SendMail, DeleteMails, CountMails)

/** A mail to "crash" throws, one to "nobody" fails, and one to "slow" is never sent. */
const handlers = mails.toLayer(
  Effect.sync(() => {
    let sent = 0
    return {
      send_mail: ({ to }) => {
        if (to === "crash") return Effect.die(new Error("The mail server is on fire"))
        if (to === "nobody") return Effect.fail("There is no such user")
        if (to === "slow") return Effect.never
        return Effect.sync(() => ({ id: `mail-${++sent}` }))
      },
      delete_mails: () =>
        Effect.sync(() => {
          const deleted = sent
          sent = 0
          return { deleted }
        }),
      count_mails: () => Effect.sync(() => ({ count: sent }))
    }
  })
)

/** A mail costs 10 risk points and a deletion 50, after the approval of the user. Counting is free. */
const guarded = CyclesToolkit.guarded(mails, {
  send_mail: { estimate: Amount.riskPoints(10) },
  delete_mails: { estimate: Amount.riskPoints(50), approval: "always" }
})

/** Everything that the server offers. It needs a `Cycles` client. */
export const Registrations = Layer.mergeAll(
  Layer.unwrap(Effect.map(guarded, McpServer.toolkit)).pipe(Layer.provide(handlers)),
  CyclesMcp.layer({ tools: ["balances", "decide"] })
)
