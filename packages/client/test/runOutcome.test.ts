/** How a job ends within its run: `Run.outcome`. */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { Cycles, CyclesError, Run, RunLimits } from "effect-cycles"
import { action, tokens } from "./support/live.ts"
import { rich, settle, spend, spendAfter } from "./support/runs.ts"

class Wrapped {
  readonly _tag = "Wrapped"
  readonly denial: CyclesError.BudgetExceeded
  constructor(denial: CyclesError.BudgetExceeded) {
    this.denial = denial
  }
}

/** A denial by a run with another id and no relation to a job. */
const foreign = Effect.flip(Cycles.withBudget(spend(10), tokens(1), { parent: "none" }))

describe("Run", () => {
  describe("outcome", () => {
    it.effect("returns the value and the summary of the ended run", () =>
      Effect.gen(function* () {
        const outcome = yield* Effect.as(spend(10), "done").pipe(Run.outcome({ name: "job", budget: tokens(100) }))
        expect(outcome).toMatchObject({
          _tag: "Completed",
          value: "done",
          summary: { name: "job", status: "ended", calls: 1, stoppedBy: undefined }
        })
      }).pipe(Effect.provide(rich()))
    )

    it.effect.each([
      ["of the run", spend(101), "RUN_BUDGET_EXCEEDED", "job"],
      ["of a limit of the run", RunLimits.takeStep(action), "RUN_STEPS_EXCEEDED", "job"],
      ["of a run inside it", Cycles.withBudget(spend(10), tokens(1), { name: "part" }), "RUN_BUDGET_EXCEEDED", "part"],
      ["of a run around it", spend(60), "RUN_BUDGET_EXCEEDED", "outer"],
      [
        "of the server",
        Cycles.withCycles(Effect.void, { action, estimate: tokens(2_000_000) }).pipe(
          Cycles.withBudget(tokens(3_000_000), { parent: "none" })
        ),
        "BUDGET_EXCEEDED",
        undefined
      ],
      [
        "of two parallel calls",
        Effect.all([spend(101), spend(102)], { concurrency: "unbounded" }),
        "RUN_BUDGET_EXCEEDED",
        "job"
      ]
    ] satisfies ReadonlyArray<
      readonly [string, Effect.Effect<unknown, CyclesError.CyclesError, Cycles.Cycles>, string, string | undefined]
    >)("is Stopped after a denial %s", ([, self, code, name]) =>
      Effect.gen(function* () {
        const outer = yield* Run.make({ name: "outer", budget: tokens(50) })
        const outcome = yield* self.pipe(
          Run.outcome({ name: "job", budget: tokens(100), limits: { steps: 0 } }),
          Run.within(outer)
        )
        expect(outcome).toMatchObject({ _tag: "Stopped", by: { code }, summary: { stoppedBy: code, status: "ended" } })
        expect(outcome._tag === "Stopped" && outcome.by.run?.name).toBe(name)
        expect(yield* outer.summary).toMatchObject({ children: [{ name: "job", stoppedBy: code }] })
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("finds the denial in another error by denialOf", () =>
      Effect.gen(function* () {
        const self = Effect.mapError(spend(10), (error) =>
          CyclesError.isBudgetExceeded(error) ? new Wrapped(error) : error
        )
        const options = { budget: tokens(1) }
        expect(yield* Run.outcome(self, options)).toMatchObject({ _tag: "Failed", summary: { stoppedBy: undefined } })
        const outcome = yield* Run.outcome(self, {
          ...options,
          denialOf: (error) => (error._tag === "Wrapped" ? error.denial : undefined)
        })
        expect(outcome).toMatchObject({ _tag: "Stopped", by: { code: "RUN_BUDGET_EXCEEDED" } })
      }).pipe(Effect.provide(rich()))
    )

    it.effect("is Failed with the error and the defect if denialOf throws", () =>
      Effect.gen(function* () {
        const outcome = yield* Run.outcome(Effect.fail("error"), {
          denialOf: () => {
            throw new Error("denialOf")
          }
        })
        expect(outcome).toMatchObject({
          _tag: "Failed",
          cause: { reasons: [{ error: "error" }, { defect: new Error("denialOf") }] }
        })
      })
    )

    const failures: ReadonlyArray<readonly [string, Effect.Effect<never, unknown, Cycles.Cycles>]> = [
      ["an error", Effect.fail("error")],
      ["a defect", Effect.die("defect")],
      ["an error beside a denial", Effect.failCause(Cause.combine(Cause.fail("error"), Cause.fail(denial())))],
      ["a defect beside a denial", Effect.failCause(Cause.combine(Cause.die("defect"), Cause.fail(denial())))],
      ["a denial by a run that isn't part of the job", Effect.flatMap(foreign, Effect.fail)]
    ]
    it.effect.each(failures)("is Failed with the cause after %s", ([, self]) =>
      Effect.gen(function* () {
        const outcome = yield* Run.outcome(self, { budget: tokens(100) })
        expect(outcome._tag).toBe("Failed")
        const exit = yield* Effect.exit(self)
        const cause = Exit.isFailure(exit) ? exit.cause : undefined
        const found = outcome._tag === "Failed" ? outcome.cause : undefined
        expect(found?.reasons.map(({ _tag }) => _tag)).toEqual(cause?.reasons.map(({ _tag }) => _tag))
      }).pipe(Effect.provide(rich()))
    )

    it.effect("is Completed if the effect handles its denials", () =>
      Effect.gen(function* () {
        const self = Cycles.orElseDenied(spend(10), () => Effect.succeed("cheaper"))
        expect(yield* Run.outcome(self, { budget: tokens(1) })).toMatchObject({
          _tag: "Completed",
          value: "cheaper",
          summary: { denials: 1, stoppedBy: undefined }
        })
      }).pipe(Effect.provide(rich()))
    )

    it.effect("remains interrupted, and ends the run", () =>
      Effect.gen(function* () {
        const outer = yield* Run.make({ name: "outer" })
        const latch = yield* Deferred.make<void>()
        const fiber = yield* spendAfter(latch, 10).pipe(
          Run.outcome({ budget: tokens(100) }),
          Run.within(outer),
          Effect.forkChild
        )
        yield* settle
        expect(yield* outer.held("TOKENS")).toEqual(tokens(10))
        yield* Fiber.interrupt(fiber)
        const exit = yield* Fiber.await(fiber)
        expect(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)).toBe(true)
        expect(yield* outer.held("TOKENS")).toEqual(tokens(0))
        expect(yield* outer.summary).toMatchObject({ children: [{ status: "ended" }] })
        expect(Exit.hasInterrupts(yield* Effect.exit(Run.outcome(Effect.interrupt, {})))).toBe(true)
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("fails without starting the effect if a carved budget doesn't fit", () =>
      Effect.gen(function* () {
        let hasStarted = false
        const job = Effect.sync(() => {
          hasStarted = true
        })
        const error = yield* job.pipe(
          Run.outcome({ name: "part", budget: tokens(60), share: "carve" }),
          Cycles.withBudget(tokens(50), { name: "job" }),
          Effect.flip
        )
        expect(error).toMatchObject({ code: "RUN_BUDGET_EXCEEDED", run: { name: "job" } })
        expect(hasStarted).toBe(false)
      })
    )

    it.effect("leaves the scope of the effect open", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        let isClosed = false
        const finalizer = Effect.sync(() => {
          isClosed = true
        })
        yield* Scope.provide(
          Run.outcome(
            Effect.addFinalizer(() => finalizer),
            {}
          ),
          scope
        )
        expect(isClosed).toBe(false)
        yield* Scope.close(scope, Exit.void)
        expect(isClosed).toBe(true)
      })
    )

    it.effect("is Failed if the server can't be reached", () =>
      Effect.gen(function* () {
        yield* CyclesTest.always("reserve", Fault.connectionRefused)
        const outcome = yield* Run.outcome(spend(10), { budget: tokens(100) })
        expect(outcome).toMatchObject({ _tag: "Failed", cause: { reasons: [{ error: { _tag: "TransportError" } }] } })
        expect(outcome.summary.budgets).toMatchObject([{ held: tokens(0) }])
      }).pipe(Effect.provide(rich()))
    )
  })
})

/** A denial of the server. */
function denial(): CyclesError.BudgetExceeded {
  return new CyclesError.BudgetExceeded({ operation: "reserve", code: "BUDGET_EXCEEDED", scopes: [] })
}
