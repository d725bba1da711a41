/** The steps and tool calls of runs, counted without a model. Their laws are properties of random programs. */
import { CyclesTest } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Cycles, Run, RunLimits } from "effect-cycles"
import type { CyclesError } from "effect-cycles"
import { tokens } from "./support/live.ts"
import { rich, settle, spend } from "./support/runs.ts"

const action = { kind: "llm.completion", name: "openai:gpt-5" }
const step = RunLimits.takeStep(action)
const call = (tool: string, params: unknown = {}) => RunLimits.takeToolCall(tool, params)

/** The number of effects that pass. */
const passed = <A, E, R>(effects: ReadonlyArray<Effect.Effect<A, E, R>>) =>
  Effect.map(
    Effect.forEach(effects, Effect.result, { concurrency: "unbounded" }),
    (results) => results.filter(Result.isSuccess).length
  )
const times = <A>(count: number, value: A): ReadonlyArray<A> => Array.from({ length: count }, () => value)

/** The fields of a denial by a run. */
const denied = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.flip(self)

describe("RunLimits", () => {
  describe("takeStep", () => {
    it.effect("passes 3 of 10 parallel steps under steps: 3, in the run and in all runs around it", () =>
      Effect.gen(function* () {
        const outer = yield* Run.make({ name: "outer", limits: { steps: 3 } })
        const inner = yield* Run.make({ name: "inner" }).pipe(Run.within(outer))
        const delayed = Effect.andThen(settle, step)
        expect(yield* passed(times(10, Run.within(delayed, inner)))).toBe(3)
        expect(yield* denied(Run.within(step, inner))).toMatchObject({
          _tag: "BudgetExceeded",
          code: "RUN_STEPS_EXCEEDED",
          action,
          scopes: ["run:outer"],
          run: { id: outer.id, name: "outer" },
          hint: "the run allows 3 steps: raise limits.steps if the job needs more"
        })
        expect(yield* inner.summary).toMatchObject({ steps: 3, denials: 8 })
        expect(yield* outer.summary).toMatchObject({ steps: 3, denials: 0 })
      }).pipe(Effect.scoped)
    )

    it.effect("returns a step once, to the run and all runs around it", () =>
      Effect.gen(function* () {
        const outer = yield* Run.make({ limits: { steps: 2 } })
        const inner = yield* Run.make({ limits: { steps: 1 } }).pipe(Run.within(outer))
        const first = yield* Run.within(step, inner)
        expect(first.isLast()).toBe(true)
        first.giveBack()
        first.giveBack()
        expect(first.isLast()).toBe(false)
        yield* Run.within(step, inner)
        expect(yield* outer.summary).toMatchObject({ steps: 1 })
        expect(yield* passed(times(3, Run.within(step, outer)))).toBe(1)
      }).pipe(Effect.scoped)
    )

    it.effect("counts down from the smallest number of remaining steps", () =>
      Effect.gen(function* () {
        const run = yield* Run.make({})
        const inRun = Run.within(step, run)
        const first = yield* inRun
        first.allowMore(2)
        expect(first.isLast()).toBe(false)
        const second = yield* inRun
        second.allowMore(2)
        expect(second.isLast()).toBe(false)
        const third = yield* inRun
        expect(third.isLast()).toBe(true)
        expect(yield* denied(inRun)).toMatchObject({
          code: "RUN_STEPS_EXCEEDED",
          hint: "the cap max_steps_remaining of the budget allows 3 steps in this run"
        })
        expect(() => third.allowMore(-1)).toThrow(RangeError)
      }).pipe(Effect.scoped)
    )

    it.effect("emits an event for each denied step and tool call", () =>
      Effect.gen(function* () {
        const run = yield* Run.make({ name: "job", limits: { steps: 0, toolCalls: 0 } })
        const reader = yield* Effect.forkChild(Stream.runCollect(Stream.take(run.events, 2)), {
          startImmediately: true
        })
        yield* denied(Run.within(step, run))
        yield* denied(Run.within(call("Search"), run))
        const reference = { id: run.id, name: "job" }
        expect(yield* Fiber.join(reader)).toMatchObject([
          { _tag: "Denied", run: reference, action, amount: undefined, denial: { code: "RUN_STEPS_EXCEEDED" } },
          { _tag: "Denied", run: reference, amount: undefined, denial: { code: "RUN_TOOL_CALLS_EXCEEDED" } }
        ])
      }).pipe(Effect.scoped)
    )

    it.effect("fails with RUN_ENDED after the end of the run", () =>
      Effect.gen(function* () {
        const run = yield* Effect.scoped(Run.make({ limits: { steps: 1 } }))
        expect(yield* denied(Run.within(step, run))).toMatchObject({ code: "RUN_ENDED" })
        expect(yield* denied(Run.within(call("Search"), run))).toMatchObject({ code: "RUN_ENDED" })
      })
    )

    it.effect("counts nothing without a run", () =>
      Effect.gen(function* () {
        const taken = yield* step
        taken.allowMore(0)
        taken.countToolCall("Search")
        expect(taken.isLast()).toBe(false)
        taken.giveBack()
        yield* call("Search")
      })
    )
  })

  describe("withinStep", () => {
    it.effect("puts the number of the step into the metadata of reserves and into events", () =>
      Effect.gen(function* () {
        const run = yield* Run.make({ id: "job-1" })
        const reader = yield* Effect.forkChild(Stream.runCollect(Stream.take(run.events, 10)), {
          startImmediately: true
        })
        yield* Effect.gen(function* () {
          yield* spend(1)
          const [first, second] = [yield* step, yield* step]
          expect([first.number, second.number]).toEqual([1, 2])
          yield* RunLimits.withinStep(spend(2), first)
          yield* spend(3).pipe(RunLimits.withinStep(second))
          // Belongs to the step in which it began.
          yield* Cycles.withCycles(step, { action, estimate: tokens(4), metadata: { step: "own" } })
          yield* Cycles.withCycles(Effect.void, { action, estimate: tokens(5), idempotencyKey: "key-1" })
        }).pipe(Run.within(run))
        const bodies = (yield* CyclesTest.requests("reserve")).map(({ body }): unknown => JSON.parse(body).metadata)
        expect(bodies).toEqual([
          { run_id: "job-1" },
          { run_id: "job-1", step: 1 },
          { run_id: "job-1", step: 2 },
          { run_id: "job-1", step: "own" },
          // A repetition of the job may make this call in another step.
          { run_id: "job-1" }
        ])
        const events = yield* Fiber.join(reader)
        expect(events.map((event) => ("step" in event ? [event._tag, event.step] : event._tag))).toEqual(
          [0, 1, 2, 2, 3].flatMap((step) => [
            ["Opened", step],
            ["Charged", step]
          ])
        )
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )

    it.effect("applies to joined guards and to events, even if a later step is taken meanwhile", () =>
      Effect.gen(function* () {
        const run = yield* Run.make({})
        const reader = yield* Effect.forkChild(Stream.runCollect(Stream.take(run.events, 9)), {
          startImmediately: true
        })
        yield* Effect.gen(function* () {
          const [first] = [yield* step, yield* step]
          const inner = Effect.andThen(spend(1), Cycles.event({ action, actual: tokens(2) }))
          yield* Cycles.withCycles(inner, { action, estimate: tokens(10) }).pipe(RunLimits.withinStep(first))
          // Belongs to the step in which it began.
          yield* Cycles.withCycles(Cycles.withCycles(step, { action, estimate: tokens(1) }), {
            action,
            estimate: tokens(10)
          })
        }).pipe(Run.within(run))
        const events = yield* Fiber.join(reader)
        expect(events.map((event) => ("step" in event ? [event._tag, event.step] : event._tag))).toEqual([
          ["Opened", 1],
          ["Opened", 1],
          ["Charged", 1],
          ["Charged", 1],
          ["Charged", 1],
          ["Opened", 2],
          ["Opened", 2],
          ["Charged", 2],
          ["Charged", 2]
        ])
      }).pipe(Effect.scoped, Effect.provide(rich()))
    )
  })

  describe("takeToolCall", () => {
    it.effect.each([
      ["toolCalls", { toolCalls: 3 }, ["Search", "Mail", "Search", "Mail"], "the run allows 3 tool calls"],
      [
        "callsPerTool for each tool",
        { callsPerTool: 1 },
        ["Search", "Mail", "Search"],
        "the run allows 1 call of Search"
      ],
      ["callsPerTool by name", { callsPerTool: { Mail: 1 } }, ["Search", "Search", "Mail", "Mail"], "1 call of Mail"],
      ["a limit of 0", { callsPerTool: { Mail: 0 } }, ["Search", "Mail"], "0 calls of Mail"]
    ] satisfies ReadonlyArray<readonly [string, Run.Limits, ReadonlyArray<string>, string]>)(
      "denies the first call beyond %s",
      ([, limits, tools, hint]) =>
        Effect.gen(function* () {
          const exits = yield* Effect.forEach(tools, (tool) => Effect.result(call(tool))).pipe(
            Cycles.withBudget([], { name: "job", limits })
          )
          expect(exits.slice(0, -1).every(Result.isSuccess)).toBe(true)
          expect(exits.at(-1)).toMatchObject({
            failure: {
              code: "RUN_TOOL_CALLS_EXCEEDED",
              scopes: ["run:job"],
              action: { kind: "tool.call", name: tools.at(-1) },
              hint: expect.stringContaining(hint)
            }
          })
        })
    )

    it.effect("has no limits for tools that are named like members of Object", () =>
      Effect.gen(function* () {
        const calls = ["constructor", "__proto__", "toString"].map((tool) => call(tool))
        const limits = { callsPerTool: { Mail: 0 }, repeats: { default: 1, Mail: 0 } }
        expect(yield* passed(calls).pipe(Cycles.withBudget([], { limits }))).toBe(3)
        const own = { callsPerTool: JSON.parse('{ "__proto__": 1 }') }
        expect(yield* passed(times(2, call("__proto__"))).pipe(Cycles.withBudget([], { limits: own }))).toBe(1)
      })
    )

    it.effect("counts the calls of the provider, and can't deny them", () =>
      Effect.gen(function* () {
        const run = yield* Run.make({ limits: { toolCalls: 2, callsPerTool: { web: 1 } } })
        const { countToolCall } = yield* Run.within(step, run)
        for (let i = 0; i < 3; i++) countToolCall("web")
        expect(yield* run.summary).toMatchObject({ toolCalls: 3 })
        expect(yield* denied(Run.within(call("Search"), run))).toMatchObject({ code: "RUN_TOOL_CALLS_EXCEEDED" })
      }).pipe(Effect.scoped)
    )

    describe("repeats", () => {
      const repeats = (limit: Run.Limits["repeats"], calls: ReadonlyArray<readonly [string, unknown]>) =>
        passed(calls.map(([tool, params]) => call(tool, params))).pipe(
          Cycles.withBudget([], { limits: { repeats: limit } })
        )

      it.effect("counts calls with the same parameters in any order of keys, also between other calls", () =>
        Effect.gen(function* () {
          const a = { to: "x", deep: [{ b: 1, a: undefined, c: 2 }] }
          const same = { deep: [{ c: 2, b: 1 }], to: "x" }
          const b = { to: "y" }
          expect(
            yield* repeats(2, [
              ["T", a],
              ["T", b],
              ["T", same],
              ["T", b],
              ["T", a],
              ["U", a],
              ["T", b]
            ])
          ).toBe(5)
          expect(
            yield* repeats(1, [
              ["T", [1, 2]],
              ["T", [2, 1]],
              ["T", "1"],
              ["T", 1],
              ["T", undefined]
            ])
          ).toBe(5)
          expect(yield* repeats(0, [["T", a]])).toBe(0)
        })
      )

      it.effect("allows a tool that polls its own number", () =>
        Effect.gen(function* () {
          const calls = [...times(4, ["CheckStatus", {}] as const), ...times(4, ["Search", {}] as const)]
          expect(yield* repeats({ default: 1, CheckStatus: 3 }, calls)).toBe(4)
        })
      )

      it.effect("admits parameters that can't be encoded as JSON", () =>
        Effect.gen(function* () {
          const cyclic: Record<string, unknown> = {}
          cyclic.self = cyclic
          const throwing = {
            toJSON: () => {
              throw new Error("no")
            }
          }
          const getter = {
            get x(): number {
              throw new Error("no")
            }
          }
          const odd: ReadonlyArray<unknown> = [cyclic, throwing, getter, new Map([[1, 2]]), new Set([1])]
          expect(
            yield* repeats(
              1,
              [...odd, ...odd].map((params) => ["T", params] as const)
            )
          ).toBe(10)
          expect(
            yield* repeats(1, [
              ["T", 1n],
              ["T", 1n],
              ["T", new Date(0)],
              ["T", new Date(0)]
            ])
          ).toBe(2)
        })
      )

      it.effect("names the repeated call", () =>
        Effect.gen(function* () {
          const error = yield* denied(
            Effect.andThen(call("Search"), call("Search")).pipe(Cycles.withBudget([], { limits: { repeats: 1 } }))
          )
          expect(error).toMatchObject({
            code: "RUN_REPEATED_CALL",
            hint: "the run allows 1 call of Search with the same parameters: raise limits.repeats for a tool that polls"
          })
        })
      )
    })
  })

  it.effect.each([
    ["limits.steps", { steps: -1 }],
    ["limits.steps", { steps: 1.5 }],
    ["limits.toolCalls", { toolCalls: Number.NaN }],
    ["limits.toolCalls", { toolCalls: Number.POSITIVE_INFINITY }],
    ["limits.callsPerTool", { callsPerTool: -1 }],
    ["limits.callsPerTool.Mail", { callsPerTool: { Mail: 0.5 } }],
    ["limits.repeats", { repeats: 2 ** 53 }],
    ["limits.repeats.Poll", { repeats: { default: 1, Poll: -1 } }],
    ["limits.repeats.default", JSON.parse('{ "repeats": { "Poll": 1 } }')],
    ["limits.callsPerTool", JSON.parse('{ "callsPerTool": null }')],
    ["limits.steps", JSON.parse('{ "steps": "3" }')]
  ] satisfies ReadonlyArray<readonly [string, Run.Limits]>)("dies with a RangeError that names %s", ([field, limits]) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Effect.scoped(Run.make({ limits })))
      expect(exit).toEqual(Exit.die(new RangeError(exit._tag === "Failure" ? messageOf(exit) : "")))
      expect(exit._tag === "Failure" ? messageOf(exit) : "").toMatch(`${field}: expected an integer of at least 0, got`)
    })
  )
})

const messageOf = (exit: Exit.Failure<unknown, unknown>): string => {
  const [reason] = exit.cause.reasons
  return reason?._tag === "Die" && reason.defect instanceof RangeError ? reason.defect.message : String(reason)
}

// ---------------------------------------------------------------------------------------------------------------------
// laws
// ---------------------------------------------------------------------------------------------------------------------

const small = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 6 }))
const tool = Schema.Literals(["Search", "Mail", "constructor"])

const Story = Schema.Struct({
  /** Runs, each a child of the one before it. */
  chain: Schema.Array(
    Schema.Struct({
      steps: Schema.UndefinedOr(small),
      toolCalls: Schema.UndefinedOr(small),
      callsPerTool: Schema.UndefinedOr(small),
      repeats: Schema.UndefinedOr(small)
    })
  ).check(Schema.isMinLength(1), Schema.isMaxLength(4)),
  acts: Schema.Array(
    Schema.Struct({
      run: small,
      waits: small,
      act: Schema.Union([
        Schema.Struct({ kind: Schema.Literal("step"), isAsked: Schema.Boolean, more: Schema.UndefinedOr(small) }),
        Schema.Struct({ kind: Schema.Literal("tool"), tool, params: Schema.Literals(["a", "b"]) })
      ])
    })
  ).check(Schema.isMaxLength(40))
})

/** What happened in a run and the runs inside it, as an observer counts it. */
interface Seen {
  steps: number
  highest: number
  /** The highest number of steps by `allowMore`. */
  cap: number
  readonly calls: Array<readonly [tool: string, params: string]>
}

it.effect.prop(
  "no program of parallel steps and tool calls exceeds a limit in the chain, and a step that is returned is free",
  { story: Story },
  ({ story: { acts, chain } }) =>
    Effect.gen(function* () {
      const runs: Array<Run.Run> = []
      for (const limits of chain) {
        runs.push(yield* Effect.provideService(Run.make({ limits }), Run.CurrentRun, runs.at(-1)))
      }
      const seen: ReadonlyArray<Seen> = runs.map(() => ({ steps: 0, highest: 0, cap: Infinity, calls: [] }))
      const around = (index: number) => seen.slice(0, index + 1)
      const denials: Array<CyclesError.BudgetExceeded> = []
      /** A denial is due only if the run that denies is full. */
      const note = (denial: CyclesError.BudgetExceeded) => {
        const by = runs.findIndex(({ id }) => id === denial.run?.id)
        denials.push(denial)
        const counted = seen[by]
        if (denial.code !== "RUN_STEPS_EXCEEDED") return
        expect(counted?.steps).toBe(Math.min(counted?.cap ?? -1, chain[by]?.steps ?? Infinity))
      }
      const hasCap = acts.some(({ act }) => act.kind === "step" && act.more !== undefined)

      yield* Effect.forEach(
        acts,
        ({ act, run: place, waits }) => {
          const index = place % runs.length
          const turns = Effect.forEach(times(waits, 0), () => Effect.yieldNow, { discard: true })
          const program = Effect.gen(function* () {
            yield* turns
            if (act.kind === "tool") {
              yield* call(act.tool, { params: act.params })
              for (const one of around(index)) one.calls.push([act.tool, act.params])
              return
            }
            const taken = yield* step
            for (const one of around(index)) {
              one.steps += 1
              one.highest = Math.max(one.highest, one.steps)
              expect(one.steps).toBeLessThanOrEqual(one.cap)
            }
            if (act.more !== undefined) {
              taken.allowMore(act.more)
              for (const one of around(index)) one.cap = Math.min(one.cap, one.steps + act.more)
            }
            expect(taken.isLast()).toBe(
              around(index).some(({ cap, steps }, i) => steps >= Math.min(cap, chain[i]?.steps ?? Infinity))
            )
            yield* turns
            if (act.isAsked) return
            taken.giveBack()
            for (const one of around(index)) one.steps -= 1
          })
          const run = runs[index]
          return run === undefined
            ? Effect.void
            : Effect.catch(Run.within(program, run), (denial) => Effect.sync(() => note(denial)))
        },
        { concurrency: "unbounded", discard: true }
      )

      for (const [index, run] of runs.entries()) {
        const limits = chain[index]
        const counted = seen[index]
        if (limits === undefined || counted === undefined) continue
        const { callsPerTool = Infinity, repeats = Infinity, steps = Infinity, toolCalls = Infinity } = limits
        const { calls, highest } = counted
        const most = (keys: ReadonlyArray<string>) =>
          Math.max(0, ...Array.from(new Set(keys), (key) => keys.filter((one) => one === key).length))
        expect(highest).toBeLessThanOrEqual(steps)
        expect(calls.length).toBeLessThanOrEqual(toolCalls)
        expect(most(calls.map(([tool]) => tool))).toBeLessThanOrEqual(callsPerTool)
        expect(most(calls.map((one) => one.join()))).toBeLessThanOrEqual(repeats)
        expect(yield* run.summary).toMatchObject({ steps: counted.steps, toolCalls: calls.length })
      }
      // Nothing is denied without a limit.
      if (chain.every((limits) => Object.values(limits).every((limit) => limit === undefined)) && !hasCap) {
        expect(denials).toEqual([])
      }
    }).pipe(Effect.scoped),
  { arbitrary: { runs: 500 }, timeout: 60_000 }
)
