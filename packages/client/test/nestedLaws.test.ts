/**
 * Random trees of runs, with and without `hold`, and random trees of guards in them that join or don't, end in any way,
 * outlive their outer guards, and cost more than their estimates.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, Reservation, Run } from "effect-cycles"
import { action, books, tokens } from "./support/live.ts"
import { rich } from "./support/runs.ts"

const Node = Schema.Struct({
  parent: Schema.Literals([0, 1, 2]),
  budget: Schema.Literals([0, 100, 300, 1_000]),
  share: Schema.Literals(["remaining", "carve"]),
  hold: Schema.Boolean
})

const Guard = Schema.Struct({
  kind: Schema.Literals(["effect", "stream", "reserve"]),
  nested: Schema.Literals(["independent", "join", "join"]),
  estimate: Schema.Literals([0, 10, 50, 100]),
  percent: Schema.Literals([0, 30, 100, 250]),
  ends: Schema.Literals(["well", "by failing", "by dying"]),
  lasts: Schema.Literals([0, 100, 3_000]),
  onFailure: Schema.Literals(["partial", "estimate", "release"]),
  /** Whether it is forked, so that it may outlive the guard around it. */
  isDetached: Schema.Boolean
})

const Call = Schema.Struct({
  run: Schema.Literals([0, 1, 2, 3]),
  /** From the outermost to the innermost. */
  guards: Schema.Array(Guard).check(Schema.isMinLength(1), Schema.isMaxLength(3)),
  interruptedAfter: Schema.Literals([50, 150, 1_000_000])
})

const Story = Schema.Struct({
  nodes: Schema.Array(Node).check(Schema.isMaxLength(3)),
  calls: Schema.Array(Call).check(Schema.isMinLength(1), Schema.isMaxLength(6)),
  lost: Schema.Literals(["none", "commit"])
})

const ends = { well: Effect.void, "by failing": Effect.fail("failed"), "by dying": Effect.die("died") }

/** The guards of a call, one inside the other. */
const programOf = (
  guards: ReadonlyArray<typeof Guard.Type>,
  maximum: number
): Effect.Effect<void, unknown, Cycles.Cycles> => {
  const [guard, ...inner] = guards
  if (guard === undefined) return Effect.void
  const { ends: end, estimate, kind, lasts, nested, onFailure } = guard
  const actual = tokens(Math.floor((estimate * Math.min(guard.percent, maximum)) / 100))
  const options = {
    action: { ...action, name: `level ${guards.length}` },
    estimate: tokens(estimate),
    nested,
    onFailure
  }
  const inside = programOf(inner, maximum)
  const work = Effect.gen(function* () {
    yield* Effect.exit(inside)
    const reservation = yield* Reservation.Reservation
    yield* reservation.add(actual)
    yield* Effect.sleep(lasts)
    yield* ends[end]
  })
  const guarded: Effect.Effect<void, unknown, Cycles.Cycles> =
    kind === "effect"
      ? Cycles.withCycles(work, options)
      : kind === "stream"
        ? Stream.fromEffect(work).pipe(Cycles.withCyclesStream({ ...options, usage: () => actual }), Stream.runDrain)
        : Effect.scoped(
            Effect.gen(function* () {
              const reservation = yield* Cycles.reserve(options)
              yield* Effect.provideService(work, Reservation.Reservation, { ...reservation })
            })
          )
  return guard.isDetached ? Effect.asVoid(Effect.forkDetach(guarded)) : guarded
}

const all = (summary: Run.Summary): ReadonlyArray<Run.Summary> => [summary, ...summary.children.flatMap(all)]

const bookOf = ({ budgets }: Run.Summary) => {
  const book = budgets.find(({ unit }) => unit === "TOKENS")
  return { charged: Number(book?.charged.amount ?? 0n), held: Number(book?.held.amount ?? 0n) }
}

const linesOf = (summary: Run.Summary): number =>
  all(summary).reduce((sum, { lines }) => lines.reduce((total, { charged }) => total + Number(charged), sum), 0)

/** Plays a story to its end. Returns the summary of the root. */
const play = ({ calls, lost, nodes }: typeof Story.Type, maximum: number, onTurn: (root: Run.Summary) => void) =>
  Effect.gen(function* () {
    if (lost === "commit") yield* CyclesTest.inject("commit", Fault.responseLost, Fault.none, Fault.status(503))
    const scope = yield* Scope.make()
    const root = yield* Run.make({ budget: tokens(1_000), hold: nodes.length > 1 }).pipe(Scope.provide(scope))
    const runs = [root]
    for (const { budget, hold, parent, share } of nodes) {
      const made = yield* Run.make({ budget: tokens(budget), share, hold }).pipe(
        Scope.provide(scope),
        Effect.provideService(Run.CurrentRun, runs[parent] ?? root),
        Effect.exit
      )
      if (Exit.isSuccess(made)) runs.push(made.value)
    }
    const fibers = yield* Effect.forEach(calls, ({ guards, interruptedAfter, run }) =>
      Run.within(programOf(guards, maximum), runs[run] ?? root).pipe(
        Effect.timeoutOption(interruptedAfter),
        Effect.exit,
        Effect.forkChild
      )
    )
    for (let turn = 0; turn < 10; turn++) {
      yield* TestClock.adjust("100 millis")
      onTurn(yield* root.summary)
    }
    // Some guards are still open.
    yield* Scope.close(scope, Exit.void)
    yield* TestClock.adjust("1 hour")
    yield* Effect.forEach(fibers, Fiber.join)
    yield* Cycles.flush()
    return yield* root.summary
  })

const runs = Number(process.env["CYCLES_TREES"] ?? 150)

it.effect.prop(
  "the lines of a tree are what its runs and the server charged, and nothing stays held, with guards that join",
  { story: Story },
  ({ story }) =>
    Effect.gen(function* () {
      const root = yield* play(story, 250, () => {})
      for (const run of all(root)) expect(bookOf(run)).toEqual({ charged: linesOf(run), held: 0 })
      expect(yield* books).toEqual({ spent: bookOf(root).charged, reserved: 0 })
    }).pipe(Effect.provide(rich())),
  { arbitrary: { runs }, timeout: 120_000 }
)

it.effect.prop(
  "nothing is charged above a budget, if no guard costs more than its estimate",
  { story: Story },
  ({ story }) =>
    Effect.gen(function* () {
      // An outer guard adds its own spend to the drawn spend, so only guards without inner ones stay within their
      // estimates.
      const calls = story.calls.map((call) => ({ ...call, guards: call.guards.slice(0, 1) }))
      yield* play({ ...story, calls }, 100, (root) => {
        for (const { budgets } of all(root)) {
          for (const { allocated, charged, held } of budgets) {
            if (allocated !== undefined) expect(charged.amount + held.amount).toBeLessThanOrEqual(allocated.amount)
          }
        }
      })
    }).pipe(Effect.provide(rich())),
  { arbitrary: { runs }, timeout: 120_000 }
)
