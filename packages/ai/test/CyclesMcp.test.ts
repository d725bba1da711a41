import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as McpProtocol from "effect/ai/McpProtocol"
import * as McpTest from "effect/ai/McpTest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { TestClock } from "effect/testing"
import { Amount, Cycles, Run } from "effect-cycles"
import * as CyclesMcp from "../src/CyclesMcp.ts"

const connect = (options: CyclesMcp.Options) =>
  McpTest.makeClient(CyclesMcp.layer(options), { protocols: [McpProtocol.v2025_11_25] })

const both = connect({ tools: ["balances", "decide"] })

const decide = (estimate: { readonly unit: string; readonly amount: unknown }, subject?: Record<string, string>) => ({
  name: "cycles_decide",
  arguments: {
    action: { kind: "tool.call", name: "search" },
    estimate,
    ...(subject === undefined ? undefined : { subject })
  }
})
const balances = (args: Record<string, unknown> = {}) => ({ name: "cycles_balances", arguments: args })

/** A typed failure as an MCP result. */
const failure = (error: string, message: string) => ({
  isError: true,
  content: [
    {
      type: "text",
      text: expect.stringMatching(
        new RegExp(`"error":"${error}","message":"${message.startsWith(".*") ? "" : '[^"]*'}${message}`)
      )
    }
  ]
})

const world = CyclesTest.layer({
  tenant: "acme",
  budgets: [
    { unit: "TOKENS", allocated: 1_000 },
    { unit: "USD_MICROCENTS", allocated: 2n ** 62n },
    { unit: "TOKENS", allocated: 100, scope: "agent:planner" }
  ]
})

describe("CyclesMcp.layer", () => {
  it.effect("registers the named tools only, as read-only, with an output schema", () =>
    Effect.gen(function* () {
      const { tools } = yield* Effect.flatMap(both, (client) => client.listTools())
      expect(tools.map(({ name }) => name)).toEqual(["cycles_balances", "cycles_decide"])
      for (const { annotations, outputSchema } of tools) {
        expect(annotations).toMatchObject({
          readOnlyHint: true,
          destructiveHint: false,
          idempotentHint: true,
          openWorldHint: false
        })
        expect(outputSchema).toMatchObject({ type: "object" })
      }
      const one = yield* Effect.flatMap(connect({ tools: ["decide", "decide"] }), (client) => client.listTools())
      expect(one.tools.map(({ name }) => name)).toEqual(["cycles_decide"])
    }).pipe(Effect.scoped, Effect.provide(world))
  )

  describe("balances", () => {
    it.effect("returns amounts as text, and leaves out absent amounts", () =>
      Effect.gen(function* () {
        const client = yield* both
        const { content, isError, structuredContent } = yield* client.callTool(balances({ unit: "USD_MICROCENTS" }))
        expect(isError).toBe(false)
        expect(structuredContent).toMatchObject({
          balances: [
            {
              scope: "tenant:acme",
              unit: "USD_MICROCENTS",
              remaining: "4611686018427387904",
              allocated: "4611686018427387904"
            }
          ],
          has_more: false
        })
        expect(content).toMatchObject([{ type: "text", text: JSON.stringify(structuredContent) }])
      }).pipe(Effect.scoped, Effect.provide(world))
    )

    it.effect("reads the subject that the client names", () =>
      Effect.gen(function* () {
        const client = yield* both
        const planner = { subject: { agent: "planner" }, unit: "TOKENS" }
        expect(yield* client.callTool(balances(planner))).toMatchObject({
          structuredContent: { balances: [{ scope_path: "tenant:acme/agent:planner", remaining: "100" }] }
        })
      }).pipe(Effect.scoped, Effect.provide(world))
    )

    it.effect("reads at most 200 balances, and reports whether there are more", () =>
      Effect.gen(function* () {
        const client = yield* both
        const result = yield* client.callTool(balances({ include_children: true }))
        expect(Object(result.structuredContent).balances).toHaveLength(200)
        expect(result.structuredContent).toMatchObject({ has_more: true })
      }).pipe(
        Effect.scoped,
        Effect.provide(
          CyclesTest.layer({
            tenant: "acme",
            budgets: Array.from({ length: 201 }, (_, index) => ({
              unit: "TOKENS",
              allocated: 1,
              scope: `agent:a${index}`
            }))
          })
        )
      )
    )

    it.effect("fails for an unknown unit", () =>
      Effect.gen(function* () {
        const client = yield* both
        expect(yield* client.callTool(balances({ unit: "EUROS" }))).toMatchObject(
          failure("UnknownUnit", "must be one of USD_MICROCENTS, TOKENS, CREDITS, RISK_POINTS")
        )
      }).pipe(Effect.scoped, Effect.provide(world))
    )
  })

  describe("decide", () => {
    it.effect("returns ALLOW and DENY as results, and reserves nothing", () =>
      Effect.gen(function* () {
        const client = yield* both
        expect(yield* client.callTool(decide({ unit: "TOKENS", amount: 1_000 }))).toMatchObject({
          isError: false,
          structuredContent: { decision: "ALLOW" }
        })
        expect(yield* client.callTool(decide({ unit: "TOKENS", amount: "1001" }))).toMatchObject({
          isError: false,
          structuredContent: { decision: "DENY", reason_code: "BUDGET_EXCEEDED" }
        })
        expect(yield* CyclesTest.requests("reserve")).toEqual([])
      }).pipe(Effect.scoped, Effect.provide(world))
    )

    it.effect("returns the caps of ALLOW_WITH_CAPS", () =>
      Effect.gen(function* () {
        const client = yield* both
        expect(yield* client.callTool(decide({ unit: "TOKENS", amount: 1 }))).toMatchObject({
          structuredContent: {
            decision: "ALLOW_WITH_CAPS",
            caps: { max_tokens: 10, tool_denylist: ["shell"], cooldown_ms: 5 }
          }
        })
      }).pipe(
        Effect.scoped,
        Effect.provide(
          CyclesTest.layer({
            budgets: [
              { unit: "TOKENS", allocated: 10, caps: { max_tokens: 10, tool_denylist: ["shell"], cooldown_ms: 5 } }
            ]
          })
        )
      )
    )

    for (const [amount, reason] of [
      [-1, "greater than or equal to 0"],
      [1.5, "an integer"],
      [2 ** 53, "an integer"],
      ["-1", "digits"],
      ["9223372036854775808", "less than or equal to 9223372036854775807"],
      ["", "digits"]
    ] as const) {
      it.effect(`refuses the amount ${JSON.stringify(amount)} by its schema`, () =>
        Effect.gen(function* () {
          const client = yield* both
          const result = yield* client.callTool(decide({ unit: "TOKENS", amount }))
          expect(result).toMatchObject({
            isError: true,
            content: [{ type: "text", text: expect.stringContaining("Invalid parameters") }]
          })
          expect(JSON.stringify(result)).toContain(reason)
          expect(yield* CyclesTest.requests()).toEqual([])
        }).pipe(Effect.scoped, Effect.provide(world))
      )
    }

    it.effect("accepts the largest amount of the protocol", () =>
      Effect.gen(function* () {
        const client = yield* both
        const largest = { unit: "TOKENS", amount: "9223372036854775807" }
        expect(yield* client.callTool(decide(largest))).toMatchObject({ structuredContent: { decision: "DENY" } })
      }).pipe(Effect.scoped, Effect.provide(world))
    )

    it.effect("fails for an unknown unit", () =>
      Effect.gen(function* () {
        const client = yield* both
        expect(yield* client.callTool(decide({ unit: "euros", amount: 1 }))).toMatchObject(
          failure("UnknownUnit", "got")
        )
        expect(yield* CyclesTest.requests()).toEqual([])
      }).pipe(Effect.scoped, Effect.provide(world))
    )

    it.effect("fails if the subject has no budget in the unit", () =>
      Effect.gen(function* () {
        const client = yield* both
        expect(yield* client.callTool(decide({ unit: "CREDITS", amount: 1 }))).toMatchObject({
          isError: true,
          content: [
            {
              type: "text",
              text: JSON.stringify({
                error: "NoBudgetInUnit",
                message: "This subject has budgets, but none in this unit.",
                code: "UNIT_MISMATCH"
              })
            }
          ]
        })
      }).pipe(Effect.scoped, Effect.provide(world))
    )

    it.effect("fails with the invalid fields if a limit of the protocol is violated", () =>
      Effect.gen(function* () {
        const client = yield* both
        expect(yield* client.callTool(decide({ unit: "TOKENS", amount: 1 }, { agent: "a/b" }))).toMatchObject(
          failure("InvalidRequest", "subject.agent must be")
        )
      }).pipe(Effect.scoped, Effect.provide(world))
    )
  })

  describe("subject", () => {
    const planner = connect({ tools: ["balances", "decide"], subject: { agent: "planner" } })

    it.effect("limits what clients can read", () =>
      Effect.gen(function* () {
        const client = yield* planner
        expect(yield* client.callTool(balances({ unit: "TOKENS" }))).toMatchObject({
          structuredContent: { balances: [{ scope_path: "tenant:acme/agent:planner" }] }
        })
        for (const call of [
          balances({ subject: { agent: "other" } }),
          decide({ unit: "TOKENS", amount: 1 }, { agent: "other" })
        ]) {
          expect(yield* client.callTool(call)).toMatchObject(failure("FixedSubject", "only the agent planner"))
        }
        expect(yield* client.callTool(decide({ unit: "TOKENS", amount: 101 }, { agent: "planner" }))).toMatchObject({
          structuredContent: { decision: "DENY" }
        })
      }).pipe(Effect.scoped, Effect.provide(world))
    )

    it.effect("is a function of the request", () =>
      Effect.gen(function* () {
        const client = yield* connect({
          tools: ["balances"],
          subject: ({ meta }) => ({ agent: String(meta["agent"]) })
        })
        const call = { ...balances({ unit: "TOKENS" }), _meta: { agent: "planner" } }
        expect(yield* client.callTool(call)).toMatchObject({
          structuredContent: { balances: [{ scope_path: "tenant:acme/agent:planner" }] }
        })
      }).pipe(Effect.scoped, Effect.provide(world))
    )
  })

  describe("failures", () => {
    const calls = [balances(), decide({ unit: "TOKENS", amount: 1 })]

    const faults: ReadonlyArray<readonly [Fault.Fault, string, string]> = [
      [Fault.connectionRefused, "Unavailable", "Try again later"],
      [Fault.responseLost, "Unavailable", "Try again later"],
      [Fault.garbage, "Unavailable", "Try again later"],
      [Fault.status(502), "Unavailable", "Try again later"],
      [Fault.error(500, "INTERNAL_ERROR"), "Unavailable", "Try again later"],
      [Fault.error(429, "LIMIT_EXCEEDED", { "retry-after": "90" }), "RateLimited", '.*"retry_after_ms":90000'],
      [Fault.error(401, "UNAUTHORIZED"), "Unauthorized", "doesn't accept the key of this server"],
      [Fault.error(403, "FORBIDDEN"), "Forbidden", "isn't allowed to read this subject"],
      [Fault.error(404, "NOT_FOUND"), "NoBudget", "No scope of this subject has a budget"],
      [Fault.error(400, "NEW_CODE"), "Refused", '.*"code":"NEW_CODE"']
    ]
    for (const [fault, error, message] of faults) {
      it.effect(`name ${error} for ${fault.name}, and contain nothing of the server's response or URL`, () =>
        Effect.gen(function* () {
          yield* CyclesTest.always("balances", fault)
          yield* CyclesTest.always("decide", fault)
          const client = yield* both
          for (const call of calls) {
            const fiber = yield* Effect.forkChild(client.callTool(call))
            yield* TestClock.adjust("10 minutes")
            const result = yield* Fiber.join(fiber)
            expect(result).toMatchObject(failure(error, message))
            expect(JSON.stringify(result)).not.toMatch(/https?:|key"|injected|html/i)
          }
        }).pipe(Effect.scoped, Effect.provide(world))
      )
    }
  })

  describe("remaining", () => {
    it.effect("reads the budget of the run of the request", () =>
      Effect.gen(function* () {
        const run = yield* Run.make({ name: "job", id: "job-1", budget: Amount.tokens(50) })
        yield* Effect.void.pipe(
          Cycles.withCycles({
            action: { kind: "tool.call", name: "search" },
            estimate: Amount.tokens(20),
            actual: () => Amount.tokens(5)
          }),
          Run.within(run)
        )
        const client = yield* connect({
          tools: ["remaining"],
          runOf: ({ meta }) => Effect.succeed(meta["job"] === "job-1" ? run : undefined)
        })
        const call = { name: "cycles_remaining", arguments: {} }
        expect(yield* client.callTool({ ...call, _meta: { job: "job-1" } })).toMatchObject({
          isError: false,
          structuredContent: {
            run: { id: "job-1", name: "job", status: "running" },
            budgets: [{ unit: "TOKENS", allocated: "50", charged: "5", held: "0", remaining: "45" }]
          }
        })
        expect(yield* client.callTool(call)).toMatchObject(failure("NoRun", "doesn't belong to a run"))
      }).pipe(Effect.scoped, Effect.provide(world))
    )

    it("requires runOf", () => {
      // @ts-expect-error: the tool `remaining` needs to know the run
      CyclesMcp.layer({ tools: ["remaining"] })
    })
  })
})
