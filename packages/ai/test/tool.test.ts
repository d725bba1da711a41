/** One call of a guarded tool: its caps, its settlement, and its denials. */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { Amount, Cycles, CyclesError, Reservation } from "effect-cycles"
import type { Settlement } from "effect-cycles"
import * as CyclesAiError from "../src/CyclesAiError.ts"
import * as CyclesToolkit from "../src/CyclesToolkit.ts"
import { capsAppliedTotal } from "../src/AiTelemetry.ts"
import * as Denial from "../src/internal/denial.ts"
import * as S from "./support/script.ts"
import type { Handler } from "./support/toolkit.ts"
import {
  Send,
  Post,
  succeeds,
  estimate,
  perRecipient,
  guard,
  call,
  record,
  deniedResult,
  ledger,
  reservations,
  world
} from "./support/toolkit.ts"

describe("CyclesToolkit.guard", () => {
  describe("caps", () => {
    const guarded = guard({ estimate, onFailure: "estimate" }, succeeds)
    const refused = guard({ estimate, onFailure: "estimate" }, () => Effect.die("must not run"))

    it.effect.each<[string, CyclesServer.CapsOptions]>([
      ["tool_denylist", { tool_denylist: ["Send"] }],
      ["tool_allowlist", { tool_allowlist: ["Look"] }],
      ["tool_allowlist", { tool_allowlist: ["Look"], tool_denylist: ["Look"] }],
      ["max_steps_remaining", { max_steps_remaining: 0 }]
    ])("%s refuses the call and releases the reservation", ([name, caps]) =>
      Effect.gen(function* () {
        const results = yield* call(yield* refused, "Send", { to: [] })
        expect(results).toMatchObject([deniedResult(name)])
        expect((yield* reservations).map(({ status }) => status)).toEqual(["RELEASED"])
        expect(yield* ledger).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(world(caps)))
    )

    it.effect.each<[string, CyclesServer.CapsOptions]>([
      ["a tool on the allowlist", { tool_allowlist: ["Send"], tool_denylist: ["Send"] }],
      ["a tool that isn't on the denylist", { tool_allowlist: [], tool_denylist: ["send", "Look"] }],
      ["a call with a step remaining", { max_steps_remaining: 1 }],
      ["a cooldown of 0", { cooldown_ms: 0 }],
      ["a limit of tokens", { max_tokens: 0 }]
    ])("allow %s", ([, caps]) =>
      Effect.gen(function* () {
        expect(yield* call(yield* guarded, "Send", { to: [] })).toMatchObject([{ result: { sent: 1 } }])
        expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
      }).pipe(Effect.provide(world(caps)))
    )

    it.effect("cooldown_ms delays the handler, and the heartbeat extends the lease meanwhile", () =>
      Effect.gen(function* () {
        let ran = false
        const waits = yield* guard({ estimate, ttl: "10 seconds" }, () =>
          Effect.sync(() => ((ran = true), { sent: 1 }))
        )
        const fiber = yield* Effect.forkChild(call(waits, "Send", { to: [] }))
        yield* TestClock.adjust("29999 millis")
        expect(ran).toBe(false)
        expect(yield* ledger).toEqual({ spent: 0, reserved: 10 })
        yield* TestClock.adjust("1 millis")
        yield* Fiber.join(fiber)
        expect(ran).toBe(true)
        const [row] = yield* reservations
        expect(row?.extensions).toBeGreaterThan(1)
        expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
      }).pipe(Effect.provide(world({ cooldown_ms: 30_000 })))
    )

    it.effect("an interruption during the cooldown releases the reservation with every onFailure", () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(call(yield* refused, "Send", { to: [] }))
        yield* TestClock.adjust("10 seconds")
        expect(yield* ledger).toEqual({ spent: 0, reserved: 10 })
        yield* Fiber.interrupt(fiber)
        expect((yield* reservations).map(({ status }) => status)).toEqual(["RELEASED"])
      }).pipe(Effect.provide(world({ cooldown_ms: 30_000 })))
    )

    it.effect("cooldown_ms also delays the handler with heartbeat: cancel, which pulls its results ahead", () =>
      Effect.gen(function* () {
        let ran = false
        const waits = yield* guard({ estimate, heartbeat: "cancel" }, () =>
          Effect.sync(() => ((ran = true), { sent: 1 }))
        )
        const fiber = yield* Effect.forkChild(call(waits, "Send", { to: [] }))
        for (let i = 0; i < 100; i++) yield* Effect.yieldNow
        yield* TestClock.adjust("29999 millis")
        for (let i = 0; i < 100; i++) yield* Effect.yieldNow
        expect(ran).toBe(false)
        yield* TestClock.adjust("1 millis")
        yield* Fiber.join(fiber)
        expect(ran).toBe(true)
        expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
      }).pipe(Effect.provide(world({ cooldown_ms: 30_000 })))
    )

    it.effect("the handler doesn't run if the lease is lost during the cooldown, with heartbeat: cancel", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("extend", Fault.error(410, "RESERVATION_EXPIRED"))
        const waits = yield* guard({ estimate, heartbeat: "cancel", ttl: "10 seconds" }, () =>
          Effect.die("must not run")
        )
        const fiber = yield* Effect.forkChild(Effect.flip(call(waits, "Send", { to: [] })))
        yield* TestClock.adjust("30 seconds")
        const error = yield* Fiber.join(fiber)
        if (!AiError.isAiError(error)) return expect.fail("not an AiError")
        expect(CyclesAiError.causeOf(error)).toMatchObject({ _tag: "LeaseLost" })
      }).pipe(Effect.provide(world({ cooldown_ms: 30_000 })))
    )

    it.effect("are reported as span events and counted by name", () =>
      Effect.gen(function* () {
        const { spans, tracer } = S.recorder()
        const lists = Metric.withAttributes(capsAppliedTotal, { cap: "tool_lists" })
        const before = (yield* Metric.value(lists)).count
        yield* call(yield* refused, "Send", { to: [] }).pipe(Effect.withSpan("agent"), Effect.withTracer(tracer))
        expect((yield* Metric.value(lists)).count).toBe(before + 1)
        const agent = spans.find(({ name }) => name === "agent")
        expect(agent?.events).toMatchObject([["cycles.cap", expect.anything(), { cap: "tool_lists", tool: "Send" }]])
      }).pipe(Effect.provide(world({ tool_denylist: ["Send"] })))
    )
  })

  describe("settlement", () => {
    const policies = ["partial", "estimate", "release"] as const
    const expected = { partial: [0, 4], estimate: [10, 4], release: [0, 0] } as const
    const failing =
      (recorded: boolean): Handler =>
      () =>
        Effect.andThen(recorded ? record(4) : Effect.void, Effect.fail("no route"))

    describe.each(policies)("onFailure: %s", (onFailure) => {
      it.effect.each([false, true])(
        "settles a thrown and a returned failure alike, with recorded spend: %s",
        (recorded) =>
          Effect.gen(function* () {
            const guarded = yield* guard({ estimate, onFailure }, failing(recorded))
            const spent = expected[onFailure][recorded ? 1 : 0]
            expect(yield* Effect.flip(call(guarded, "Send", { to: [] }))).toBe("no route")
            expect(yield* ledger).toEqual({ spent, reserved: 0 })
            expect(yield* call(guarded, "Post", { to: [] })).toMatchObject([{ result: "no route", isFailure: true }])
            expect(yield* ledger).toEqual({ spent: 2 * spent, reserved: 0 })
            const statuses = (yield* reservations).map(({ status }) => status)
            expect(statuses[0]).toBe(statuses[1])
          }).pipe(Effect.provide(world()))
      )

      it.effect.each([false, true])("settles an interrupted call, with recorded spend: %s", (recorded) =>
        Effect.gen(function* () {
          const started = yield* Deferred.make<void>()
          const guarded = yield* guard({ estimate, onFailure }, () =>
            Effect.gen(function* () {
              if (recorded) yield* record(4)
              yield* Deferred.succeed(started, undefined)
              return yield* Effect.never
            })
          )
          const fiber = yield* Effect.forkChild(call(guarded, "Send", { to: [] }))
          yield* Deferred.await(started)
          yield* Fiber.interrupt(fiber)
          expect(yield* ledger).toEqual({ spent: expected[onFailure][recorded ? 1 : 0], reserved: 0 })
        }).pipe(Effect.provide(world()))
      )

      it.effect("settles a call whose caller stops after a preliminary result as an interrupted one", () =>
        Effect.gen(function* () {
          const guarded = yield* guard({ estimate, onFailure }, (_, { preliminary }) =>
            Effect.andThen(preliminary({ sent: 0 }), Effect.never)
          )
          const results = yield* Stream.unwrap(guarded.handle("Send", { to: [] })).pipe(
            Stream.take(1),
            Stream.runCollect
          )
          expect(results).toMatchObject([{ preliminary: true }])
          expect(yield* ledger).toEqual({ spent: expected[onFailure][0], reserved: 0 })
        }).pipe(Effect.provide(world()))
      )

      it.effect("commits a call that succeeded, even if its caller stops at the final result", () =>
        Effect.gen(function* () {
          const guarded = yield* guard({ estimate, onFailure }, succeeds)
          yield* Stream.unwrap(guarded.handle("Send", { to: [] })).pipe(Stream.take(1), Stream.runDrain)
          expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
        }).pipe(Effect.provide(world()))
      )

      it.effect("commits the estimate if actual throws or has another unit, then dies", () =>
        Effect.gen(function* () {
          const throws = yield* guard(
            {
              estimate,
              onFailure,
              actual: () => {
                throw new Error("bad actual")
              }
            },
            succeeds
          )
          expect(String(yield* Effect.exit(call(throws, "Send", { to: [] })))).toContain("bad actual")
          expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
          const differs = yield* guard({ estimate, onFailure, actual: Amount.tokens(3) }, succeeds)
          expect(String(yield* Effect.exit(call(differs, "Send", { to: [] })))).toContain("UnitMismatch")
          expect(yield* ledger).toEqual({ spent: 20, reserved: 0 })
        }).pipe(Effect.provide(world()))
      )
    })

    it.effect("emits preliminary results while the estimate is reserved, and settles before the final result", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate }, (_, { preliminary }) =>
          Effect.as(Effect.andThen(preliminary({ sent: 0 }), preliminary({ sent: 1 })), { sent: 2 })
        )
        const seen = yield* Stream.unwrap(guarded.handle("Send", { to: [] })).pipe(
          Stream.rechunk(1),
          Stream.mapEffect((result) => Effect.map(ledger, ({ spent }) => ({ isFinal: !result.preliminary, spent }))),
          Stream.runCollect
        )
        expect(seen.length).toBe(3)
        expect(seen[2]).toEqual({ isFinal: true, spent: 10 })
      }).pipe(Effect.provide(world()))
    )

    const Story = Schema.Struct({
      tool: Schema.Literals(["Send", "Post"]),
      onFailure: Schema.Literals(policies),
      steps: Schema.Array(Schema.Literals(["preliminary", "record", "yield"])),
      ends: Schema.Literals(["succeeds", "fails", "dies", "never"]),
      stops: Schema.Literals(["never", "take", "interrupt"]),
      after: Schema.Literals([0, 1, 2, 3, 5, 8, 13, 21, 34])
    })

    it.effect.prop(
      "every call is settled once, and recorded spend is committed, however handler and caller end (300 runs)",
      { story: Story },
      ({ story }) =>
        Effect.gen(function* () {
          let recorded = 0
          const guarded = yield* guard({ estimate, onFailure: story.onFailure }, (_, { preliminary }) =>
            Effect.gen(function* () {
              for (const step of story.steps) {
                if (step === "preliminary") yield* preliminary({ sent: 0 })
                if (step === "record") yield* record(++recorded)
                if (step === "yield") yield* Effect.yieldNow
              }
              if (story.ends === "fails") return yield* Effect.fail("no route")
              if (story.ends === "dies") return yield* Effect.die("broken")
              return story.ends === "never" ? yield* Effect.never : { sent: 1 }
            })
          )
          const results: Array<boolean> = []
          const stream = Stream.unwrap(guarded.handle(story.tool, { to: [] })).pipe(
            Stream.tap((result) => Effect.sync(() => results.push(!result.preliminary && !result.isFailure)))
          )
          const fiber = yield* Effect.forkChild(
            Stream.runDrain(story.stops === "take" ? Stream.take(stream, story.after) : stream)
          )
          const yields = story.stops === "interrupt" ? story.after : 200
          for (let i = 0; i < yields; i++) yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)

          const { reserved, spent } = yield* ledger
          expect(reserved).toBe(0)
          expect((yield* reservations).filter(({ status }) => status === "ACTIVE")).toEqual([])
          if (results.includes(true)) expect(spent).toBe(recorded === 0 ? 10 : recorded)
          else if (story.onFailure === "release") expect(spent === 0 || spent === recorded || spent === 10).toBe(true)
          else expect(spent).toBeGreaterThanOrEqual(recorded)
          if (story.stops === "never" && story.ends !== "succeeds") {
            const [nothing, partly] = expected[story.onFailure]
            expect(spent).toBe(recorded === 0 ? nothing : partly === 0 ? 0 : recorded)
          }
        }).pipe(Effect.provide(world(undefined, 1_000))),
      { arbitrary: { runs: 300 }, timeout: 60_000 }
    )

    it.effect("commits recorded spend instead of the estimate", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate }, () => Effect.as(record(6), { sent: 1 }))
        yield* call(guarded, "Send", { to: [] })
        expect(yield* ledger).toEqual({ spent: 6, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("commits the total of several added amounts, and none of them twice", () =>
      Effect.gen(function* () {
        const add = Effect.flatMap(Reservation.current, (reservation) =>
          Option.isNone(reservation) ? Effect.void : Effect.orDie(reservation.value.add(Amount.riskPoints(4)))
        )
        const guarded = yield* guard({ estimate }, () => Effect.as(Effect.andThen(add, add), { sent: 1 }))
        yield* call(guarded, "Send", { to: [] })
        const larger = yield* guard({ estimate, actual: Amount.riskPoints(9) }, () => Effect.as(add, { sent: 1 }))
        yield* call(larger, "Post", { to: [] })
        expect(yield* ledger).toEqual({ spent: 17, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("never commits less than the recorded spend", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate, actual: Amount.riskPoints(3) }, () =>
          Effect.as(record(6), { sent: 1 })
        )
        const logs = S.logs()
        yield* Effect.provide(call(guarded, "Send", { to: [] }), logs.layer)
        expect(logs.warnings).toEqual([expect.stringContaining("below the recorded total")])
        expect(yield* ledger).toEqual({ spent: 6, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("commits an actual amount below recorded spend that is marked as an estimate", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate, actual: Amount.riskPoints(3) }, () =>
          Effect.as(record(6, true), { sent: 1 })
        )
        yield* call(guarded, "Send", { to: [] })
        expect(yield* ledger).toEqual({ spent: 3, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("keeps a failure of the handler that is itself a denial", () =>
      Effect.gen(function* () {
        const Nested = Tool.make("Nested", { success: Schema.Void, failure: CyclesError.BudgetExceeded })
        const tools = Toolkit.make(Nested)
        const guarded = yield* CyclesToolkit.guard(tools, { Nested: { estimate } }).pipe(
          Effect.provide(
            tools.toLayer({
              Nested: () =>
                Effect.fail(new CyclesError.BudgetExceeded({ operation: "reserve", code: "NESTED", scopes: [] }))
            })
          )
        )
        expect(yield* Effect.flip(call(guarded, "Nested", {}))).toMatchObject({
          _tag: "BudgetExceeded",
          code: "NESTED"
        })
        expect((yield* reservations).map(({ status }) => status)).toEqual(["RELEASED"])
      }).pipe(Effect.provide(world()))
    )

    it.effect("dies with the value that estimate throws, and the handler doesn't run", () =>
      Effect.gen(function* () {
        const guarded = yield* guard(
          {
            estimate: () => {
              throw new Error("bad estimate")
            }
          },
          () => Effect.die("must not run")
        )
        expect(String(yield* Effect.exit(call(guarded, "Send", { to: [] })))).toContain("bad estimate")
        expect(yield* reservations).toEqual([])
      }).pipe(Effect.provide(world()))
    )

    it.effect("fails if no scope has a budget in the unit of the estimate, and the handler doesn't run", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate: Amount.credits(1) }, () => Effect.die("must not run"))
        const error = yield* Effect.flip(call(guarded, "Send", { to: [] }))
        if (!AiError.isAiError(error)) return expect.fail("not an AiError")
        expect(CyclesAiError.causeOf(error)).toMatchObject({ _tag: "ApiError", status: 400, code: "UNIT_MISMATCH" })
        expect(yield* reservations).toEqual([])
      }).pipe(Effect.provide(world()))
    )
  })

  describe("options", () => {
    it.effect("dryRun checks the budget only, and the handler runs if it is allowed", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate: perRecipient, dryRun: true }, succeeds)
        expect(yield* call(guarded, "Send", { to: ["a"] })).toMatchObject([{ result: { sent: 1 } }])
        const large = Array.from({ length: 11 }, String)
        expect(yield* call(guarded, "Send", { to: large })).toMatchObject([deniedResult("BUDGET_EXCEEDED")])
        expect(yield* reservations).toEqual([])
        expect(yield* ledger).toEqual({ spent: 0, reserved: 0 })
      }).pipe(Effect.provide(world()))
    )

    it.effect("onSettled runs once with the settlement of each call, except after a denial", () =>
      Effect.gen(function* () {
        const settlements: Array<Settlement.Settlement> = []
        const onSettled = (settlement: Settlement.Settlement) => Effect.sync(() => settlements.push(settlement))
        const budget = { estimate: perRecipient, onSettled }
        yield* call(yield* guard(budget, succeeds), "Send", { to: ["a"] })
        yield* call(yield* guard(budget, () => Effect.fail("no route")), "Post", { to: ["a"] })
        yield* call(yield* guard(budget, succeeds), "Send", { to: Array.from({ length: 11 }, String) })
        expect(settlements.map(({ _tag }) => _tag)).toEqual(["Committed", "Released"])
      }).pipe(Effect.provide(world()))
    )

    it.effect("heartbeat: cancel interrupts the handler of a lost lease, and the call fails with an AiError", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("extend", Fault.error(410, "RESERVATION_EXPIRED"))
        let isInterrupted = false
        const started = yield* Deferred.make<void>()
        const guarded = yield* guard({ estimate, heartbeat: "cancel", ttl: "10 seconds" }, () =>
          Effect.andThen(Deferred.succeed(started, undefined), Effect.never).pipe(
            Effect.onInterrupt(() => Effect.sync(() => void (isInterrupted = true)))
          )
        )
        const fiber = yield* Effect.forkChild(Effect.flip(call(guarded, "Send", { to: [] })))
        yield* Deferred.await(started)
        yield* TestClock.adjust("1 minute")
        const error = yield* Fiber.join(fiber)
        if (!AiError.isAiError(error)) return expect.fail("not an AiError")
        expect(CyclesAiError.causeOf(error)).toMatchObject({ _tag: "LeaseLost" })
        expect(isInterrupted).toBe(true)
      }).pipe(Effect.provide(world()))
    )

    it.effect.each(["cancel", "failOnFinalize", "warn"] as const)(
      "heartbeat: %s runs a long handler to its end while the lease is extended",
      (heartbeat) =>
        Effect.gen(function* () {
          const started = yield* Deferred.make<void>()
          const guarded = yield* guard({ estimate, heartbeat, ttl: "10 seconds" }, (_, { preliminary }) =>
            Effect.gen(function* () {
              yield* Deferred.succeed(started, undefined)
              for (let step = 0; step < 5; step++) {
                yield* preliminary({ sent: step })
                yield* Effect.sleep("10 seconds")
              }
              return { sent: 5 }
            })
          )
          const fiber = yield* Effect.forkChild(call(guarded, "Send", { to: [] }))
          yield* Deferred.await(started)
          yield* Effect.yieldNow
          for (let step = 0; step < 5; step++) yield* TestClock.adjust("10 seconds")
          expect((yield* Fiber.join(fiber)).map(({ result }) => result)).toEqual(
            [0, 1, 2, 3, 4, 5].map((sent) => ({ sent }))
          )
          expect(yield* ledger).toEqual({ spent: 10, reserved: 0 })
        }).pipe(Effect.provide(world()))
    )

    it.effect("heartbeat: failOnFinalize fails a call that succeeded under a lost lease, after its settlement", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("extend", Fault.error(410, "RESERVATION_EXPIRED"))
        const guarded = yield* guard({ estimate, heartbeat: "failOnFinalize", ttl: "10 seconds" }, () =>
          Effect.as(Effect.sleep("1 minute"), { sent: 1 })
        )
        const fiber = yield* Effect.forkChild(Effect.flip(call(guarded, "Send", { to: [] })))
        yield* TestClock.adjust("2 minutes")
        const error = yield* Fiber.join(fiber)
        if (!AiError.isAiError(error)) return expect.fail("not an AiError")
        expect(CyclesAiError.causeOf(error)).toMatchObject({ _tag: "LeaseLost" })
        expect((yield* ledger).spent).toBe(10)
      }).pipe(Effect.provide(world()))
    )

    it.effect("subject is merged into the ambient subject", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate, subject: { toolset: "mail" } }, succeeds)
        yield* call(guarded, "Send", { to: [] }).pipe(Cycles.withSubject({ agent: "writer" }))
        expect((yield* reservations)[0]?.subject).toMatchObject({ agent: "writer", toolset: "mail" })
      }).pipe(Effect.provide(world()))
    )
  })

  describe("denials", () => {
    it.effect("say what was refused, why, and what to do instead", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate: perRecipient }, succeeds)
        const [result] = yield* call(guarded, "Send", { to: ["a", "b", "c"] })
        expect(result?.result).toEqual({
          type: "execution-denied",
          reason:
            "The budget refused this call of Send (BUDGET_EXCEEDED): it needs 30 RISK_POINTS, and 20 RISK_POINTS remain. " +
            "The tool did not run. " +
            "Don't repeat this call. Continue without it, or make a call that needs less."
        })
      }).pipe(Effect.provide(world(undefined, 20)))
    )

    it.effect("say when to call again if the server reports it", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject(
          "reserve",
          Fault.response({
            status: 409,
            headers: { "retry-after": "5" },
            body: {
              error: "BUDGET_EXCEEDED",
              message: "Insufficient remaining budget",
              request_id: "r-1"
            }
          })
        )
        const guarded = yield* guard({ estimate: perRecipient }, succeeds)
        const [result] = yield* call(guarded, "Send", { to: ["a", "b", "c"] })
        expect(result).toMatchObject(deniedResult("Don't repeat this call within 5s."))
      }).pipe(Effect.provide(world(undefined, 20)))
    )

    it("say what remains if the error has it", () => {
      const error = new CyclesError.BudgetExceeded({
        operation: "reserve",
        code: "BUDGET_EXCEEDED",
        requested: Amount.riskPoints(30),
        remaining: Amount.makeSigned("RISK_POINTS", 20),
        scopes: ["tenant:acme"]
      })
      expect(Denial.denied(Send, error)).toMatchObject(
        deniedResult("it needs 30 RISK_POINTS, and 20 RISK_POINTS remain.")
      )
    })

    it.effect("have a valid encoding for every tool", () =>
      Effect.gen(function* () {
        const guarded = yield* guard({ estimate }, succeeds)
        const [result] = yield* call(guarded, "Post", { to: [] })
        const encode = Schema.encodeUnknownEffect(Tool.failureResultSchema(Post))
        expect(yield* encode(result?.result)).toEqual(result?.encodedResult)
      }).pipe(Effect.provide(world(undefined, 5)))
    )

    it.effect.each<[string, Fault.Fault]>([
      ["no connection", Fault.connectionRefused],
      ["a 503", Fault.status(503)],
      ["a 401", Fault.error(401, "UNAUTHORIZED")],
      ["a page of a proxy", Fault.garbage]
    ])("an outage of Cycles is a failure, not a denial: %s", ([, fault]) =>
      Effect.gen(function* () {
        yield* CyclesTest.always("reserve", fault)
        const guarded = yield* guard({ estimate }, () => Effect.die("must not run"))
        const error = yield* Effect.flip(call(guarded, "Send", { to: [] }))
        if (!AiError.isAiError(error)) return expect.fail("not an AiError")
        expect(CyclesAiError.causeOf(error)?._tag).toMatch(/^(Transport|Api|Protocol)Error$/)
        expect([error.module, error.method]).toEqual(["CyclesToolkit", "Send.handle"])
        yield* CyclesTest.clearFaults()
      }).pipe(Effect.provide(world()))
    )
  })
})
