import { CyclesServer } from "@effect-cycles/server"
import { describe, expect, it } from "@effect/vitest"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Amount, Reservation } from "effect-cycles"
import * as CyclesToolkit from "../src/CyclesToolkit.ts"
import * as S from "./support/script.ts"

const Send = Tool.make("Send", {
  parameters: Schema.Struct({ to: Schema.Array(Schema.String) }),
  success: Schema.Struct({ sent: Schema.Int }),
  failure: Schema.String
})
const Look = Tool.make("Look", { success: Schema.String })
const toolkit = Toolkit.make(Send, Look)

const budgets: CyclesToolkit.Budgets<{ Send: typeof Send; Look: typeof Look }> = {
  Send: {
    estimate: ({ to }) => Amount.riskPoints(to.length * 10),
    actual: ({ sent }) => Amount.riskPoints(sent * 10)
  }
}

const handlers = (send: (to: ReadonlyArray<string>) => Effect.Effect<{ readonly sent: number }, string>) =>
  toolkit.toLayer({ Send: ({ to }) => send(to), Look: () => Effect.succeed("nothing") })

const risk = Effect.map(
  Effect.flatMap(CyclesServer.CyclesServer, (server) => server.books("RISK_POINTS")),
  ({ reserved, spent }) => ({ spent: Number(spent), reserved: Number(reserved) })
)

const world = (params: unknown, allocated = 100, name = "Send") =>
  S.bare.pipe(
    Layer.provideMerge(
      S.world([{ parts: [S.toolCall(name, params), S.finish(20, 10, "tool-calls")] }], {
        budgets: [{ unit: "RISK_POINTS", allocated }]
      })
    )
  )

const run = (
  send: (to: ReadonlyArray<string>) => Effect.Effect<{ readonly sent: number }, string>,
  options?: CyclesToolkit.Options
) =>
  LanguageModel.generateText({ prompt: "Tell them", toolkit: CyclesToolkit.guard(toolkit, budgets, options) }).pipe(
    Effect.provide(handlers(send))
  )

describe("CyclesToolkit", () => {
  describe("guard", () => {
    it.effect("reserves by the parameters and charges by the result", () =>
      Effect.gen(function* () {
        let held = -1
        const server = yield* CyclesServer.CyclesServer
        const response = yield* run((to) =>
          Effect.map(server.books("RISK_POINTS"), ({ reserved }) => {
            held = Number(reserved)
            return { sent: to.length - 1 }
          })
        )
        expect(held).toBe(30)
        expect(response.toolResults[0]?.result).toEqual({ sent: 2 })
        expect(yield* risk).toEqual({ spent: 20, reserved: 0 })
        const [row] = yield* server.reservations
        expect(row?.action).toMatchObject({ kind: "tool.call", name: "Send" })
      }).pipe(Effect.provide(world({ to: ["a", "b", "c"] })))
    )

    it.effect("tells the model of a denial, and the handler never runs", () =>
      Effect.gen(function* () {
        let ran = false
        const response = yield* run(() => Effect.sync(() => ((ran = true), { sent: 0 })))
        expect(ran).toBe(false)
        expect(response.toolResults[0]).toMatchObject({
          isFailure: true,
          result: { type: "execution-denied", reason: expect.stringContaining("BUDGET_EXCEEDED") },
          encodedResult: { type: "execution-denied" }
        })
        expect(yield* risk).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(world({ to: ["a", "b", "c"] }, 20)))
    )

    it.effect("gives everything back when the handler fails, and keeps its failure", () =>
      Effect.gen(function* () {
        expect(yield* Effect.flip(run(() => Effect.fail("no route")))).toBe("no route")
        expect(yield* risk).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(world({ to: ["a"] })))
    )

    it.effect("charges what a handler has recorded before it failed", () =>
      Effect.gen(function* () {
        const send = () =>
          Effect.gen(function* () {
            const reservation = yield* Reservation.current
            if (reservation._tag === "Some") {
              yield* Effect.orDie(reservation.value.record({ actual: Amount.riskPoints(4) }))
            }
            return yield* Effect.fail("half way")
          })
        expect(yield* Effect.flip(run(send))).toBe("half way")
        expect(yield* risk).toEqual({ spent: 4, reserved: 0 })
      }).pipe(Effect.provide(world({ to: ["a"] })))
    )

    it.effect("charges the estimate, then dies, when actual throws", () =>
      Effect.gen(function* () {
        const guarded = CyclesToolkit.guard(toolkit, {
          Send: {
            estimate: Amount.riskPoints(7),
            actual: () => {
              throw new Error("bad actual")
            }
          }
        })
        const exit = yield* LanguageModel.generateText({ prompt: "Tell them", toolkit: guarded }).pipe(
          Effect.provide(handlers(() => Effect.succeed({ sent: 1 }))),
          Effect.exit
        )
        expect(String(exit)).toContain("bad actual")
        expect(yield* risk).toEqual({ spent: 7, reserved: 0 })
      }).pipe(Effect.provide(world({ to: ["a"] })))
    )

    it.effect("reserves nothing for parameters that the tool refuses", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(run(() => Effect.succeed({ sent: 1 })))
        expect(error).toMatchObject({ reason: { _tag: "ToolParameterValidationError" } })
        expect(yield* (yield* CyclesServer.CyclesServer).reservations).toEqual([])
      }).pipe(Effect.provide(world({ to: "everybody" })))
    )

    it.effect("leaves a tool without a budget alone", () =>
      Effect.gen(function* () {
        const response = yield* run(() => Effect.succeed({ sent: 1 }))
        expect(response.toolResults[0]?.result).toBe("nothing")
        expect(yield* (yield* CyclesServer.CyclesServer).reservations).toEqual([])
      }).pipe(Effect.provide(world({}, 100, "Look")))
    )

    it.effect("runs a tool call of the same run once", () =>
      Effect.gen(function* () {
        let ran = 0
        const send = () => Effect.sync(() => ((ran += 1), { sent: 1 }))
        yield* run(send, { namespace: "job-1" })
        const script = yield* S.Script
        script.turns.push({ parts: [S.toolCall("Send", { to: ["a"] }), S.finish(20, 10, "tool-calls")] })
        const again = yield* run(send, { namespace: "job-1" })
        expect(ran).toBe(1)
        expect(again.toolResults[0]?.result).toMatchObject({ type: "execution-denied" })
        expect(yield* risk).toEqual({ spent: 10, reserved: 0 })
      }).pipe(Effect.provide(world({ to: ["a"] })))
    )

    it.effect("asks for approval where the budget says so", () =>
      Effect.gen(function* () {
        const guarded = CyclesToolkit.guard(toolkit, {
          Send: { estimate: Amount.riskPoints(7), approval: ({ to }) => to.length > 2 }
        })
        const response = yield* LanguageModel.generateText({ prompt: "Tell them", toolkit: guarded }).pipe(
          Effect.provide(handlers(() => Effect.die("must wait")))
        )
        expect(response.content.some((part) => part.type === "tool-approval-request")).toBe(true)
        expect(yield* risk).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(world({ to: ["a", "b", "c"] })))
    )
  })
})
