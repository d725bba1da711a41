/**
 * Random trees of runs with random programs in them: calls that succeed, fail, die, hang and are interrupted, over a
 * server with faults.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, Reservation, Run } from "effect-cycles"
import type { Amount, Settlement } from "effect-cycles"
import { action, tokens } from "./live.ts"

/** An integer from 0 to the maximum. */
export const below = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

/** A run, in the order of creation. The first one is the root. */
const Node = Schema.Struct({
  /** The index of the parent, modulo the number of earlier runs. */
  parent: below(7),
  budget: Schema.UndefinedOr(Schema.Literals([0, 50, 100, 300, 1_000])),
  share: Schema.Literals(["remaining", "carve"]),
  /** The number of turns after which the run ends. */
  endsAfter: Schema.Literals([5, 40, 10_000])
})

/** How a body ends. */
export const Ends = Schema.Literals(["well", "by failing", "by dying", "never"])

type Ends = typeof Ends.Type

/** A guarded call in one of the runs. */
export const Call = Schema.Struct({
  run: below(7),
  kind: Schema.Literals(["effect", "stream", "reserve", "event", "nested"]),
  estimate: Schema.Literals([0, 10, 50, 100]),
  /** The spend, in percent of the estimate. */
  percent: Schema.Literals([0, 30, 100, 150, 300]),
  ends: Ends,
  startsAfter: below(30),
  turns: below(10),
  interruptedAfter: Schema.Literals([3, 10, 30, 10_000]),
  onFailure: Schema.Literals(["partial", "estimate", "release"])
})

/** The faults of the requests. */
const faults = {
  none: Fault.none,
  denied: Fault.denied,
  refused: Fault.connectionRefused,
  lost: Fault.responseLost,
  failed: Fault.status(503),
  "request lost": Fault.requestLost,
  hangs: Fault.noResponse
} as const

const FaultName = Schema.Literals(["none", "none", "denied", "refused", "lost", "failed"])

/** Faults after which it isn't known whether there is a server. */
const Outage = Schema.Literals(["none", "refused", "lost", "failed", "request lost", "hangs"])

/** A tree, the calls in it, and the faults of their requests. */
export const Story = Schema.Struct({
  nodes: Schema.Array(Node).check(Schema.isMinLength(1), Schema.isMaxLength(6)),
  calls: Schema.Array(Call).check(Schema.isMinLength(1), Schema.isMaxLength(12)),
  onReserve: Schema.Array(FaultName),
  onCommit: Schema.Array(FaultName)
})

/** The same with outages of the server, also for events. */
export const OutageStory = Schema.Struct({
  nodes: Story.fields.nodes,
  calls: Story.fields.calls,
  onReserve: Schema.Array(Outage),
  onCommit: Schema.Array(Outage),
  onEvent: Schema.Array(Outage)
})

/** A story with fewer properties. Without a list of faults, no request fails. */
export interface Story {
  readonly nodes: ReadonlyArray<typeof Node.Type>
  readonly calls: ReadonlyArray<typeof Call.Type>
  readonly onReserve?: ReadonlyArray<keyof typeof faults>
  readonly onCommit?: ReadonlyArray<keyof typeof faults>
  readonly onEvent?: ReadonlyArray<keyof typeof faults>
}

/** The time of a law, for thousands of trees. */
export const timeout = 3_600_000

/** The number of trees of each law: `CYCLES_TREES`. */
export const trees = (usual: number): number => Number(process.env["CYCLES_TREES"] ?? usual)

/** Calls whose spend is limited by their estimates. The spend of events and streams isn't. */
export const withinEstimates = (calls: ReadonlyArray<typeof Call.Type>): ReadonlyArray<typeof Call.Type> =>
  calls.map((call) => ({
    ...call,
    kind: call.kind === "event" || call.kind === "stream" ? "effect" : call.kind,
    percent: call.percent > 100 ? 100 : call.percent
  }))

/** The end of a body without a guard. */
export const endOf = (ends: Ends): Effect.Effect<void, string> =>
  ({ well: Effect.void, "by failing": Effect.fail("failed"), "by dying": Effect.die("died"), never: Effect.never })[
    ends
  ]

/** The end of a body without a guard, as `outcomeOf` names it. */
export const endNameOf = (ends: Ends): string =>
  ({ well: "success", "by failing": "failure", "by dying": "defect", never: "interrupt" })[ends]

/** A stream of `turns + 1` elements, one in each chunk, with an end. */
export const chunks = (turns: number, ends: Ends): Stream.Stream<number, string> =>
  Stream.rechunk(Stream.fromIterable(Array.from({ length: turns + 1 }, (_, i) => i)), 1).pipe(
    Stream.concat(Stream.fromEffectDrain(endOf(ends)))
  )

/** Lets other fibers run for a number of turns. */
export const turns = (count: number) =>
  Effect.forEach(Array.from({ length: count }), () => Effect.yieldNow, { discard: true })

const number = ({ amount }: Amount.Amount) => Number(amount)

/** The spend that a settlement commits. */
const spendOf = (settlement: Settlement.Settlement) => ("actual" in settlement ? number(settlement.actual) : 0)

/** The program of a call. `charge` is called with the spend of each settlement. */
export const programOf = (
  call: typeof Call.Type,
  charge: (amount: number) => void,
  more?: Pick<Cycles.LeaseOptions, "onCrash" | "settle">
): Effect.Effect<void, unknown, Cycles.Cycles> => {
  const actual = tokens(Math.floor((call.estimate * call.percent) / 100))
  const end = endOf(call.ends)
  const options = {
    action,
    estimate: tokens(call.estimate),
    onFailure: call.onFailure,
    ...more,
    onSettled: (settlement: Settlement.Settlement) => Effect.sync(() => charge(spendOf(settlement)))
  }
  const body = Effect.gen(function* () {
    const reservation = yield* Reservation.Reservation
    yield* turns(call.turns)
    yield* reservation.record({ actual })
    yield* end
  })
  switch (call.kind) {
    case "effect":
      return Cycles.withCycles(body, options)
    case "nested":
      return Cycles.withCycles(Effect.andThen(Effect.exit(Cycles.withCycles(body, options)), end), options)
    case "reserve":
      return Effect.scoped(
        Effect.gen(function* () {
          const reservation = yield* Cycles.reserve(options)
          yield* turns(call.turns)
          yield* reservation.record({ actual })
          yield* end
        })
      )
    case "stream":
      return chunks(call.turns, call.ends).pipe(
        Cycles.withCyclesStream({ ...options, usage: () => tokens((Number(actual.amount) / 2) | 0) }),
        Stream.runDrain
      )
    case "event":
      return Effect.uninterruptible(
        Effect.andThen(
          Cycles.event({ action, actual }),
          Effect.sync(() => charge(number(actual)))
        )
      )
  }
}

/** A run with the sum that its own calls were charged. */
export interface Member {
  readonly run: Run.Run
  readonly scope: Scope.Closeable
  readonly endsAfter: number
  readonly budget: number | undefined
  charged: number
}

/** Makes the runs. A carved run that doesn't fit is left out. */
export const plant = (nodes: ReadonlyArray<typeof Node.Type>) =>
  Effect.gen(function* () {
    const members: Array<Member> = []
    for (const { budget, endsAfter, parent, share } of nodes) {
      const around = members[parent % Math.max(members.length, 1)]?.run
      const scope = yield* Scope.make()
      const made = Run.make({ budget: budget === undefined ? [] : tokens(budget), share }).pipe(
        Effect.provideService(Scope.Scope, scope),
        Effect.provideService(Run.CurrentRun, around)
      )
      const exit = yield* Effect.exit(made)
      if (Exit.isSuccess(exit)) members.push({ run: exit.value, scope, endsAfter, budget, charged: 0 })
    }
    return members
  })

/** The spend of a run and its children by the settlements of their calls. */
const expected = (summary: Run.Summary, members: ReadonlyArray<Member>): number =>
  summary.children.reduce(
    (total, child) => total + expected(child, members),
    members.find(({ run }) => run.id === summary.id)?.charged ?? 0
  )

/** The summaries of every run in a tree. */
export const all = (summary: Run.Summary): ReadonlyArray<Run.Summary> => [summary, ...summary.children.flatMap(all)]

/** What a run and its children have charged and hold, in tokens. */
export const bookOf = (summary: Run.Summary) => {
  const book = summary.budgets.find(({ unit }) => unit === "TOKENS")
  return { charged: book === undefined ? 0 : number(book.charged), held: book === undefined ? 0 : number(book.held) }
}

/** The spend of a run by its own lines and the budgets of its children. */
export const chargedByLines = ({ children, lines }: Run.Summary): number =>
  lines.reduce((total, { charged }) => total + Number(charged), 0) +
  children.reduce((total, child) => total + bookOf(child).charged, 0)

/** Expects that no run of a tree has spent and holds more than its budget, or less than its children. */
export const expectWithinBudgets = (root: Run.Summary, members: ReadonlyArray<Member>): void => {
  for (const run of all(root)) {
    const { charged, held } = bookOf(run)
    expect(chargedByLines(run)).toBe(charged)
    const budget = members.find((member) => member.run.id === run.id)?.budget
    if (budget !== undefined) expect(charged + held).toBeLessThanOrEqual(budget)
    const children = run.children.map(bookOf)
    expect(charged).toBeGreaterThanOrEqual(children.reduce((sum, child) => sum + child.charged, 0))
    expect(held).toBeGreaterThanOrEqual(children.reduce((sum, child) => sum + child.held, 0))
  }
}

/** Expects that the runs of a tree have ended, hold nothing, and have charged the sums of their lines. */
export const expectEnded = (root: Run.Summary): void => {
  for (const run of all(root)) {
    const { charged, held } = bookOf(run)
    expect({ charged, held }).toEqual({ charged: chargedByLines(run), held: 0 })
    expect(run.status).toBe("ended")
    for (const { open } of run.lines) expect(open).toBe(0)
  }
}

/** Expects the same, and that every run has charged what the settlements of its calls charge. */
export const expectCharged = (root: Run.Summary, members: ReadonlyArray<Member>): void => {
  expectEnded(root)
  for (const run of all(root)) expect(bookOf(run).charged).toBe(expected(run, members))
}

/** The number of turns of a story. */
export const turnsPlayed = 120

/** Injects the faults of a story. */
export const inject = ({ onCommit = [], onEvent = [], onReserve = [] }: Omit<Story, "nodes" | "calls">) =>
  Effect.gen(function* () {
    yield* CyclesTest.inject("reserve", Fault.none, ...onReserve.map((name) => faults[name]))
    // A denied commit would be a dead letter: the run counts it, and the server never charges it.
    const possible = onCommit.map((name) => (name === "denied" ? "none" : name))
    yield* CyclesTest.inject("commit", Fault.none, ...possible.map((name) => faults[name]))
    yield* CyclesTest.inject("event", Fault.none, ...onEvent.map((name) => faults[name]))
  })

/** Runs a story to its end. `onTurn` runs after each turn with the root. */
export const play = (
  story: Story,
  onTurn: (root: Run.Summary, members: ReadonlyArray<Member>) => void = () => {},
  /** How the server is reached again before the end. */
  back: Effect.Effect<void, never, CyclesTest.CyclesTest> = Effect.void
) =>
  Effect.gen(function* () {
    yield* inject(story)
    const members = yield* plant(story.nodes)
    const root = members[0]
    if (root === undefined) throw new Error("a story without a run")
    const fibers: Array<readonly [fiber: Fiber.Fiber<unknown, unknown>, after: number]> = []
    for (const call of story.calls) {
      const member = members[call.run % members.length] ?? root
      const program = Effect.andThen(
        turns(call.startsAfter),
        programOf(call, (amount) => {
          member.charged += amount
        })
      )
      fibers.push([yield* Effect.forkChild(Run.within(program, member.run)), call.startsAfter + call.interruptedAfter])
    }
    const snapshots: Array<{ readonly summary: Run.Summary; readonly snapshot: Run.Snapshot }> = []
    const interrupted: Array<Fiber.Fiber<unknown, unknown>> = []
    for (let turn = 0; turn < turnsPlayed; turn++) {
      yield* Effect.yieldNow
      for (const [fiber, after] of fibers) {
        if (after === turn) interrupted.push(yield* Effect.forkChild(Fiber.interrupt(fiber)))
      }
      for (const { endsAfter, scope } of members) if (endsAfter === turn) yield* Scope.close(scope, Exit.void)
      const summary = yield* root.run.summary
      onTurn(summary, members)
      if (turn % 20 === 9) snapshots.push({ summary, snapshot: yield* root.run.snapshot })
    }
    // Retries and requests without a response end.
    yield* TestClock.adjust("5 minutes")
    onTurn(yield* root.run.summary, members)
    for (const [fiber] of fibers) interrupted.push(yield* Effect.forkChild(Fiber.interrupt(fiber)))
    yield* TestClock.adjust("10 minutes")
    yield* back
    yield* TestClock.adjust("2 hours")
    yield* Effect.forEach(interrupted, Fiber.await)
    for (const { scope } of members) yield* Scope.close(scope, Exit.void)
    const flushed = yield* Cycles.flush()
    return { root, members, snapshots, flushed, exits: yield* Effect.forEach(fibers, ([fiber]) => Fiber.await(fiber)) }
  })
