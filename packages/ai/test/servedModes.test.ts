/** Tools that an MCP server serves, in shadow mode and while the Cycles server is away. */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as McpProtocol from "effect/ai/McpProtocol"
import * as McpServer from "effect/ai/McpServer"
import * as McpTest from "effect/ai/McpTest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { TestClock } from "effect/testing"
import { Amount, Cycles, Run } from "effect-cycles"
import type { CyclesConfig } from "effect-cycles"
import * as CyclesToolkit from "../src/CyclesToolkit.ts"
import type { Handler, Tools } from "./support/toolkit.ts"
import { ledger, refused, registrations, reservations, send, succeeds } from "./support/toolkit.ts"

/** A server with a budget in risk points, and a client. */
const world = (client: Partial<CyclesConfig.CyclesConfig>, allocated: number, caps?: CyclesServer.CapsOptions) =>
  CyclesTest.layer({ budgets: [{ unit: "RISK_POINTS", allocated, caps }], client })

/** A client of an MCP server whose requests run within a run, if one is given. */
const serve = (budgets: CyclesToolkit.Budgets<Tools>, handler: Handler = succeeds, run?: Run.Run) => {
  const tools = registrations(budgets, handler)
  const within = run === undefined ? undefined : McpServer.middleware((effect) => Run.within(effect, run))
  return McpTest.makeClient(within === undefined ? tools : Layer.provide(tools, within.layer), {
    protocols: [McpProtocol.v2025_11_25]
  })
}

const post = { name: "Post", arguments: { to: ["a", "b"] } }
const done = { isError: false, structuredContent: { sent: 1 } }

/** The server is reached again. */
const back = Effect.gen(function* () {
  yield* CyclesTest.clearFaults()
  yield* TestClock.adjust("10 minutes")
  expect(yield* Cycles.flush()).toEqual({ isComplete: true, pending: 0 })
  return yield* ledger
})

describe("served tools in shadow mode", () => {
  const shadow = { mode: "shadow" } as const

  it.effect.each<readonly [name: string, world: ReturnType<typeof world>]>([
    ["a budget that is too small", world(shadow, 5)],
    ["caps that deny them", world(shadow, 1_000, { tool_denylist: ["Post"], max_steps_remaining: 0 })]
  ])("run with %s, and nothing is charged", ([, server]) =>
    Effect.gen(function* () {
      const client = yield* serve({ Post: send })
      expect(yield* client.callTool(post)).toMatchObject(done)
      expect(yield* ledger).toEqual({ spent: 0, reserved: 0 })
      expect(yield* reservations).toEqual([])
      expect((yield* CyclesTest.requests()).map(({ operation }) => operation)).toEqual(["reserve"])
    }).pipe(Effect.scoped, Effect.provide(server))
  )

  it.effect("run beyond the budget and the limits of a run, which counts them", () =>
    Effect.gen(function* () {
      const run = yield* Run.make({ budget: Amount.riskPoints(20), limits: { toolCalls: 2 } })
      const client = yield* serve({ Post: send }, succeeds, run)
      for (let i = 0; i < 3; i++) expect(yield* client.callTool(post)).toMatchObject(done)
      expect(yield* run.summary).toMatchObject({ toolCalls: 2, denials: 0, wouldDeny: 3 })
      expect(yield* ledger).toEqual({ spent: 0, reserved: 0 })
    }).pipe(Effect.scoped, Effect.provide(world(shadow, 1_000)))
  )

  it.effect("return their failures as without a guard", () =>
    Effect.gen(function* () {
      const client = yield* serve({ Post: send }, () => Effect.fail("no such user"))
      expect(yield* client.callTool(post)).toMatchObject(refused("no such user"))
    }).pipe(Effect.scoped, Effect.provide(world(shadow, 5)))
  )

  it.effect("are refused if they need an approval that the client can't ask for, or if a rule denies them", () =>
    Effect.gen(function* () {
      const die: Handler = () => Effect.die("must not run")
      const client = yield* serve({ Post: { ...send, approval: "always" }, Send: "deny" }, die)
      expect(yield* client.callTool(post)).toMatchObject(refused("need the approval of a user"))
      expect(yield* client.callTool({ ...post, name: "Send" })).toMatchObject({ isError: true })
    }).pipe(Effect.scoped, Effect.provide(world(shadow, 1_000)))
  )
})

describe('served tools with onUnreachable: "allow"', () => {
  const client = { onUnreachable: "allow" } as const

  it.effect("run while the server is away, and are charged once afterwards", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("any", Fault.connectionRefused)
      const client = yield* serve({ Post: send })
      for (let i = 0; i < 3; i++) expect(yield* client.callTool(post)).toMatchObject(done)
      expect(yield* back).toEqual({ spent: 30, reserved: 0 })
      expect(yield* client.callTool(post)).toMatchObject(done)
      expect(yield* ledger).toEqual({ spent: 40, reserved: 0 })
    }).pipe(Effect.scoped, Effect.provide(world(client, 1_000)))
  )

  it.effect("are refused by the budget of a run, and by the server once it is back", () =>
    Effect.gen(function* () {
      yield* CyclesTest.always("any", Fault.connectionRefused)
      const run = yield* Run.make({ name: "session", budget: Amount.riskPoints(25) })
      const client = yield* serve({ Post: send }, succeeds, run)
      expect(yield* client.callTool(post)).toMatchObject(done)
      expect(yield* client.callTool(post)).toMatchObject(refused("RUN_BUDGET_EXCEEDED"))
      expect(yield* back).toEqual({ spent: 10, reserved: 0 })
      yield* run.raise(Amount.riskPoints(100))
      expect(yield* client.callTool(post)).toMatchObject(refused("BUDGET_EXCEEDED"))
      expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
    }).pipe(Effect.scoped, Effect.provide(world(client, 25)))
  )
})
