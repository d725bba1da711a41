/**
 * Guarded activities on the memory engine: each is charged once across replays, and a replay uses up the budget of the
 * run as the first life did.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Activity from "effect/workflow/Activity"
import * as DurableClock from "effect/workflow/DurableClock"
import * as Workflow from "effect/workflow/Workflow"
import * as WorkflowEngine from "effect/workflow/WorkflowEngine"
import type { Cycles } from "effect-cycles"
import { CyclesError, Reservation, Run } from "effect-cycles"
import { CyclesActivity } from "../../src/workflow/index.ts"
import { action, books, live, operations, tokens } from "../support/live.ts"

class Failed extends Schema.TaggedError<Failed>()("Failed", { attempt: Schema.Int }) {}

const Job = Workflow.make("Job", {
  payload: { id: Schema.String },
  idempotencyKey: ({ id }) => id,
  success: Schema.Array(Schema.String),
  error: Schema.Union([CyclesActivity.GuardError, Failed])
})

type Needs =
  | Cycles.Cycles
  | WorkflowEngine.WorkflowEngine
  | WorkflowEngine.WorkflowInstance
  | import("effect/Scope").Scope

/** Keys are digests, which the engine computes outside of the test's clock. */
const settled = Effect.repeat(
  Effect.promise(async () => {
    await globalThis.crypto.subtle.digest("SHA-256", new Uint8Array(1))
    await new Promise((resolve) => setImmediate(resolve))
  }),
  { times: 30 }
)

/** Runs a workflow with this body, through its sleeps. */
const play = (body: Effect.Effect<ReadonlyArray<string>, CyclesActivity.GuardError | Failed, Needs>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(Effect.exit(Job.execute({ id: "1" })), { startImmediately: true })
    yield* settled
    for (const step of ["400 millis", "1 hour", "1 hour"] as const) {
      yield* TestClock.adjust(step)
      yield* settled
    }
    return yield* Fiber.join(fiber)
  }).pipe(
    Effect.provide(
      Layer.provideMerge(
        Job.toLayer(() => body),
        WorkflowEngine.layerMemory
      )
    )
  )

const cycles = { action, estimate: tokens(100), actual: tokens(80) } as const

/** An activity that counts how often its body runs. */
const counted = (name: string, state: { runs: number }, onRepeat?: Cycles.OnRepeat) =>
  CyclesActivity.make({ name, execute: Effect.sync(() => void (state.runs += 1)), cycles, onRepeat })

/** The key's number and the status of each reservation. */
const rows = Effect.gen(function* () {
  const server = yield* CyclesServer.CyclesServer
  return (yield* server.reservations)
    .map(({ idempotencyKey, status }) => `${idempotencyKey.replace(/^[0-9a-f]+/, "")} ${status}`.trim())
    .toSorted()
})

const failureOf = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.orDie(Effect.flip(effect))

const spentIn = (run: Run.Run) => Effect.map(run.spent("TOKENS"), (amount) => Number(amount.amount))

describe("replay", () => {
  it.effect(
    "doesn't run a finished activity again, sends no request, and uses up the budget of the run as before",
    () =>
      Effect.gen(function* () {
        const states = [{ runs: 0 }, { runs: 0 }]
        const seen: Array<number> = []
        const body = Effect.gen(function* () {
          const run = yield* Run.make({ budget: tokens(150), parent: "none" })
          return yield* Effect.gen(function* () {
            yield* counted("First", states[0]!)
            seen.push(yield* spentIn(run))
            yield* DurableClock.sleep({ name: "cool", duration: "1 hour" })
            const error = yield* failureOf(counted("Second", states[1]!))
            return [error._tag, "code" in error ? `${error.code}` : ""]
          }).pipe(Run.within(run))
        })
        expect(yield* play(body)).toEqual(Exit.succeed(["BudgetExceeded", "RUN_BUDGET_EXCEEDED"]))
        expect(seen).toEqual([80, 80])
        expect(states).toEqual([{ runs: 1 }, { runs: 0 }])
        expect(yield* operations).toEqual(["reserve", "commit"])
        expect(yield* books).toEqual({ spent: 80, reserved: 0 })
      }).pipe(Effect.provide(live()))
  )

  it.effect("returns the stored result, and books the spend of a stored failure", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const Reply = CyclesActivity.make({
        name: "Reply",
        success: Schema.Struct({ text: Schema.String, tokens: Schema.Int }),
        execute: Effect.succeed({ text: "Hello Ada", tokens: 30 }),
        cycles: { ...cycles, actual: (reply) => tokens(reply.tokens) }
      })
      const Fails = CyclesActivity.make({
        name: "Fails",
        error: Failed,
        execute: Effect.gen(function* () {
          yield* Effect.orDie(Reservation.record({ actual: tokens(20) }))
          return yield* new Failed({ attempt: 1 })
        }),
        cycles: { action, estimate: tokens(100) }
      })
      const body = Effect.gen(function* () {
        const run = yield* Run.make({ budget: tokens(500), parent: "none" })
        const reply = yield* Run.within(Reply, run)
        const error = yield* failureOf(Run.within(Fails, run))
        seen.push(yield* spentIn(run))
        yield* DurableClock.sleep({ name: "cool", duration: "1 hour" })
        return [reply.text, error._tag]
      })
      expect(yield* play(body)).toEqual(Exit.succeed(["Hello Ada", "Failed"]))
      expect(seen).toEqual([50, 50])
      expect(yield* books).toEqual({ spent: 50, reserved: 0 })
    }).pipe(Effect.provide(live()))
  )

  it.effect("works without a run", () =>
    Effect.gen(function* () {
      const state = { runs: 0 }
      const body = Effect.gen(function* () {
        yield* counted("First", state)
        yield* DurableClock.sleep({ name: "cool", duration: "1 hour" })
        return ["done"]
      })
      expect(yield* play(body)).toEqual(Exit.succeed(["done"]))
      expect([state.runs, yield* books]).toEqual([1, { spent: 80, reserved: 0 }])
    }).pipe(Effect.provide(live()))
  )
})

describe("interruption", () => {
  it.effect("runs the body again under key#2 if it was interrupted once and nothing was spent", () =>
    Effect.gen(function* () {
      let runs = 0
      const Once = CyclesActivity.make({
        name: "Once",
        execute: Effect.suspend(() => ((runs += 1) === 1 ? Effect.interrupt : Effect.void)),
        cycles
      })
      expect(yield* play(Effect.as(Once, ["done"]))).toEqual(Exit.succeed(["done"]))
      expect([runs, yield* rows]).toEqual([2, ["#2 COMMITTED", "RELEASED"]])
      expect(yield* books).toEqual({ spent: 80, reserved: 0 })
    }).pipe(Effect.provide(live()))
  )

  it.effect.each([
    ["ifReleased", "AlreadySettled", 1, 40],
    ["again", "done", 2, 120]
  ] as const)("with %s after an interruption that was charged: %s", ([onRepeat, result, count, spent]) =>
    Effect.gen(function* () {
      let runs = 0
      const seen: Array<number> = []
      const Once = CyclesActivity.make({
        name: "Once",
        execute: Effect.gen(function* () {
          runs += 1
          if (runs > 1) return
          yield* Effect.orDie(Reservation.record({ actual: tokens(40) }))
          return yield* Effect.interrupt
        }),
        cycles,
        onRepeat
      })
      const body = Effect.gen(function* () {
        const run = yield* Run.make({ budget: tokens(500), parent: "none" })
        const end = yield* Effect.match(Run.within(Once, run), {
          onSuccess: () => "done",
          onFailure: (error) => error._tag
        })
        seen.push(yield* spentIn(run))
        yield* DurableClock.sleep({ name: "cool", duration: "1 hour" })
        return [end]
      })
      expect(yield* play(body)).toEqual(Exit.succeed([result]))
      expect([runs, seen, yield* books]).toEqual([count, [spent, spent], { spent, reserved: 0 }])
    }).pipe(Effect.provide(live()))
  )
})

describe("Activity.retry", () => {
  it.effect("reserves under another key for each attempt, and charges the failed ones", () =>
    Effect.gen(function* () {
      let runs = 0
      const seen: Array<number> = []
      const Flaky = CyclesActivity.make({
        name: "Flaky",
        error: Failed,
        execute: Effect.gen(function* () {
          runs += 1
          yield* Effect.orDie(Reservation.record({ actual: tokens(10) }))
          if (runs < 3) return yield* new Failed({ attempt: runs })
        }),
        cycles: { action, estimate: tokens(100) }
      })
      const body = Effect.gen(function* () {
        const run = yield* Run.make({ budget: tokens(500), parent: "none" })
        yield* Flaky.pipe(Activity.retry({ times: 5 }), Run.within(run))
        seen.push(yield* spentIn(run))
        yield* DurableClock.sleep({ name: "cool", duration: "1 hour" })
        return ["done"]
      })
      expect(yield* play(body)).toEqual(Exit.succeed(["done"]))
      expect([runs, seen, yield* rows]).toEqual([3, [30, 30], ["COMMITTED", "COMMITTED", "COMMITTED"]])
      expect(yield* books).toEqual({ spent: 30, reserved: 0 })
    }).pipe(Effect.provide(live()))
  )
})

describe("crash after settling, before the engine has the result", () => {
  it.effect.each([
    ["refuse", "AlreadySettled", 1, 80],
    ["ifReleased", "AlreadySettled", 1, 80],
    ["again", "done", 2, 160]
  ] as const)("with %s: %s", ([onRepeat, result, count, spent]) =>
    Effect.gen(function* () {
      const state = { runs: 0 }
      const body = Effect.match(counted("Draft", state, onRepeat), {
        onSuccess: () => ["done"],
        onFailure: (error) => [error._tag]
      })
      // An engine without memory is the process that was killed.
      expect(yield* play(body)).toEqual(Exit.succeed(["done"]))
      expect(yield* play(body)).toEqual(Exit.succeed([result]))
      expect([state.runs, yield* books]).toEqual([count, { spent, reserved: 0 }])
    }).pipe(Effect.provide(live()))
  )
})

describe("GuardError", () => {
  it.effect("the engine stores the errors of guards: a denial, an outage, an invalid option", () =>
    Effect.gen(function* () {
      yield* CyclesTest.inject("reserve", Fault.denied, Fault.connectionRefused, Fault.connectionRefused)
      const tags: Array<string> = []
      const names = ["Denied", "Refused", "Invalid"]
      const body = Effect.gen(function* () {
        for (const name of names) {
          const ttl = name === "Invalid" ? "0 seconds" : undefined
          const failing = CyclesActivity.make({ name, execute: Effect.void, cycles: { ...cycles, ttl } })
          tags.push((yield* failureOf(failing))._tag)
        }
        yield* DurableClock.sleep({ name: "cool", duration: "1 hour" })
        return yield* new CyclesError.AlreadySettled({ reservationId: "1", by: "earlier run", status: "COMMITTED" })
      })
      const exit = yield* play(body)
      expect(String(Exit.isFailure(exit) ? exit.cause : exit)).toContain("AlreadySettled")
      const life = ["BudgetExceeded", "TransportError", "InvalidRequest"]
      expect(tags).toEqual([...life, ...life])
    }).pipe(Effect.provide(live()))
  )

  it.effect("stores an error whose details have an integer of any size", () =>
    Effect.gen(function* () {
      const details = '{"amount":9223372036854775807}'
      yield* CyclesTest.always(
        "reserve",
        Fault.replaced({
          status: 400,
          body: `{"error":"INVALID_REQUEST","message":"No","request_id":"r","details":${details}}`
        })
      )
      const body = Effect.match(counted("Draft", { runs: 0 }), {
        onSuccess: () => ["done"],
        onFailure: (error) => [error._tag, JSON.stringify("details" in error ? error.details : undefined)]
      })
      expect(yield* play(body)).toEqual(Exit.succeed(["ApiError", '{"amount":9223372036854776000}']))
    }).pipe(Effect.provide(live()))
  )
})
