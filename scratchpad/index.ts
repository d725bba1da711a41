/**
 * A place to try things: the client on an embedded server, in process. Copy it, or change it: git ignores the other files of this folder.
 *
 *     node scratchpad/index.ts
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest } from "@effect-cycles/testing"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import { Amount, Cycles, Settlement } from "effect-cycles"

const Live = CyclesTest.layer({ tenant: "acme", budgets: [{ unit: "TOKENS", allocated: 1_000 }] })

const program = Effect.gen(function* () {
  const server = yield* CyclesServer.CyclesServer
  yield* Effect.succeed("hello").pipe(
    Cycles.withCycles({
      action: { kind: "llm.completion", name: "openai:gpt-5" },
      estimate: Amount.tokens(100),
      actual: (text) => Amount.tokens(text.length),
      onSettled: (settlement) => Effect.sync(() => console.log(Settlement.format(settlement)))
    })
  )
  console.log(yield* server.books("TOKENS"))
})

NodeRuntime.runMain(Effect.provide(program, Live))
