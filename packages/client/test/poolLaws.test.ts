/** The laws of pools: random programs of calls on a pool with a small budget. */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, Pool, Reservation } from "effect-cycles"
import { action, live, tokens } from "./support/live.ts"
import { settle } from "./support/runs.ts"

const within = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** A call that starts and ends at given times. Its cost is recorded in two steps. */
const Call = Schema.Struct({
  startMs: within(0, 400),
  lastsMs: within(0, 300),
  estimate: within(0, 130),
  /** The cost in per cent of the estimate. */
  percent: within(0, 140),
  end: Schema.Literals(["succeed", "fail", "die", "interrupt"]),
  onFailure: Schema.Literals(["partial", "estimate"]),
  /** Whether the call has another subject, and so makes its own reservation. */
  isElsewhere: Schema.Boolean
})

const Program = Schema.Struct({
  calls: Schema.Array(Call).check(Schema.isMinLength(1), Schema.isMaxLength(24)),
  size: within(1, 100),
  lowMark: within(0, 99),
  maxAgeMs: within(1_000, 1_300),
  allocated: within(100, 1_500),
  closesAtMs: within(50, 1_500),
  durability: Schema.Literals(["journal", "memory"]),
  faults: Schema.Array(Schema.Literals(["none", "responseLost", "requestLost", "late"])).check(Schema.isMaxLength(6)),
  isInRun: Schema.Boolean
})

const faults = {
  none: Fault.none,
  responseLost: Fault.responseLost,
  requestLost: Fault.requestLost,
  late: Fault.late("150 millis")
}

interface Counts {
  /** The costs of the calls that have ended, and the known spend of those that run. */
  spent: number
  /** The costs of the calls that have ended. */
  ended: number
  /** The estimates of the calls that run. */
  open: number
  denied: number
}

const callOf = (call: typeof Call.Type, counts: Counts, isExact: boolean) => {
  const percent = isExact ? Math.min(call.percent, 100) : call.percent
  const cost = Math.floor((call.estimate * percent) / 100)
  const half = Math.floor(cost / 2)
  let known = 0
  const record = (total: number) =>
    Effect.andThen(
      Effect.sync(() => {
        counts.spent += total - known
        known = total
      }),
      Reservation.record({ actual: tokens(total) })
    )
  const body = Effect.gen(function* () {
    counts.open += call.estimate
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        counts.open -= call.estimate
        counts.ended += known
      })
    )
    yield* record(half)
    yield* Effect.sleep(call.lastsMs)
    if (call.end === "fail") return yield* Effect.fail("no")
    if (call.end === "die") return yield* Effect.die("no")
    if (call.end === "interrupt") return yield* Effect.interrupt
    yield* record(cost)
  }).pipe(Effect.scoped)
  const guarded = Cycles.withCycles(body, {
    action: { ...action, name: `model ${call.estimate % 3}` },
    estimate: tokens(call.estimate),
    subject: call.isElsewhere ? { agent: "elsewhere" } : undefined,
    onFailure: call.onFailure,
    overagePolicy: "ALLOW_WITH_OVERDRAFT"
  })
  return guarded.pipe(
    Effect.catchTag("BudgetExceeded", () => Effect.sync(() => void (counts.denied += 1))),
    Effect.delay(call.startMs)
  )
}

/** Runs the calls in a pool, and checks after every 50 ms of the first 2 s. */
const play = (
  program: typeof Program.Type,
  isExact: boolean,
  check: (counts: Counts, pool: Pool.Pool | undefined) => Effect.Effect<void, never, CyclesServer.CyclesServer>
) =>
  Effect.gen(function* () {
    const counts: Counts = { spent: 0, ended: 0, open: 0, denied: 0 }
    let opened: Pool.Pool | undefined
    const pooled = Effect.scoped(
      Effect.gen(function* () {
        const pool = yield* Cycles.pool({
          action: { kind: "test.pool", name: "pool" },
          size: tokens(program.size),
          lowMark: tokens(program.lowMark % program.size),
          maxAge: program.maxAgeMs,
          durability: program.durability,
          overagePolicy: "ALLOW_WITH_OVERDRAFT"
        })
        opened = pool
        for (const call of program.calls) {
          yield* Effect.forkDetach(Pool.within(Effect.exit(callOf(call, counts, isExact)), pool))
        }
        yield* Effect.sleep(program.closesAtMs)
      })
    )
    const fiber = yield* Effect.forkChild(
      Effect.exit(program.isInRun ? Cycles.withBudget(pooled, tokens(100_000)) : pooled)
    )
    for (let i = 0; i < 40; i++) {
      yield* settle
      yield* check(counts, opened)
      yield* TestClock.adjust(50)
    }
    for (let i = 0; i < 20; i++) {
      yield* settle
      yield* TestClock.adjust("10 seconds")
    }
    yield* Fiber.join(fiber)
    yield* Cycles.flush()
    return counts
  })

const liveOf = ({ allocated }: typeof Program.Type) =>
  live(
    {},
    {
      server: {
        budgets: [{ unit: "TOKENS", allocated, overdraftLimit: 1_000_000 }]
      }
    }
  )

const books = Effect.flatMap(CyclesServer.CyclesServer, (server) => server.books("TOKENS"))

const timeout = 120_000

it.effect.prop(
  "the costs of ended calls and the estimates of open calls never exceed the spent and reserved amount",
  { program: Program },
  ({ program }) =>
    // A call that outlives the pool is no longer reserved.
    play({ ...program, closesAtMs: program.closesAtMs + 800 }, true, ({ ended, open }, pool) =>
      Effect.gen(function* () {
        const book = yield* books
        expect(Number(book.spent + book.reserved)).toBeGreaterThanOrEqual(ended + open)
        for (const { handle } of pool?.["~effect-cycles/Pool"].blocks ?? []) {
          if (!handle.isDecided) expect(handle.shared.room).toBeGreaterThanOrEqual(0n)
        }
      })
    ).pipe(Effect.provide(liveOf(program))),
  { arbitrary: { runs: 100 }, timeout }
)

it.effect.prop(
  "the sum of all calls is charged, and nothing stays reserved, whatever happens to requests and calls",
  { program: Program },
  ({ program }) =>
    Effect.gen(function* () {
      const { faults: names } = program
      yield* CyclesTest.inject("any", Fault.none, ...names.map((name) => faults[name]))
      const counts = yield* play(program, false, () => Effect.void)
      const { debt, reserved, spent } = yield* books
      expect(counts.open).toBe(0)
      expect({ reserved: Number(reserved), spent: Number(spent + debt) }).toEqual({ reserved: 0, spent: counts.spent })
    }).pipe(Effect.provide(liveOf(program))),
  { arbitrary: { runs: 100 }, timeout }
)
