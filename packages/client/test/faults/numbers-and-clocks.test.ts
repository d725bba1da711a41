/**
 * Large amounts in programs that change how JSON is written, and records that were written under a wrong clock.
 */
import { CyclesServer } from "@effect-cycles/server"
import { CyclesTest } from "@effect-cycles/testing"
import { afterEach, describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Cycles, SettlementJournal } from "effect-cycles"
import { JournalFiles } from "effect-cycles/node"
import { owner, record } from "../node/records.ts"
import { temporaryFolder } from "../node/support.ts"
import { faultyJournal } from "../support/collaborators.ts"
import { action, books, live, tokens } from "../support/live.ts"
import { leaveRecord } from "../support/journal.ts"

describe("BigInt.prototype.toJSON of the program", () => {
  const large = 2n ** 60n + 1n

  const rich = { server: { budgets: [{ unit: "TOKENS", allocated: 2n ** 62n }] } } as const

  /** Defines `toJSON` as many programs do, so that `JSON.stringify` doesn't throw. */
  const define = Effect.sync(() => {
    Reflect.defineProperty(BigInt.prototype, "toJSON", {
      configurable: true,
      value(this: bigint) {
        return this.toString()
      }
    })
  })

  afterEach(() => void Reflect.deleteProperty(BigInt.prototype, "toJSON"))

  /** Runs while `toJSON` is defined, and asserts that the amounts are sent as numbers, digit by digit. */
  const sendsNumbers = <A, E>(operation: string, run: Effect.Effect<A, E, Cycles.Cycles>) =>
    Effect.gen(function* () {
      yield* define
      yield* Effect.exit(run)
      yield* Effect.sync(() => Reflect.deleteProperty(BigInt.prototype, "toJSON"))
      const sent = (yield* CyclesTest.requests()).find((one) => one.operation === operation)
      expect(sent?.body ?? "").toContain(`"amount":${large}`)
    }).pipe(Effect.provide(live({}, rich)))

  it.effect("doesn't change the amount of a reserve", () =>
    sendsNumbers("reserve", Cycles.withCycles(Effect.void, { action, estimate: tokens(large) }))
  )

  it.effect("doesn't change the amount of a commit", () =>
    sendsNumbers("commit", Cycles.withCycles(Effect.void, { action, estimate: tokens(1), actual: tokens(large) }))
  )

  it.effect("doesn't change the amount of an event", () =>
    sendsNumbers("event", Cycles.event({ action, actual: tokens(large) }))
  )

  it.effect("doesn't change the amount of a decide", () =>
    sendsNumbers("decide", Cycles.decide({ action, estimate: tokens(large) }))
  )

  it.effect("doesn't change large spend in the ledger", () =>
    Effect.gen(function* () {
      yield* define
      yield* Effect.exit(Cycles.withCycles(Effect.void, { action, estimate: tokens(large), actual: tokens(large) }))
      const { spent } = yield* (yield* CyclesServer.CyclesServer).books("TOKENS")
      expect(spent).toBe(large)
    }).pipe(Effect.provide(live({}, rich)))
  )

  it.effect("doesn't change the amount of a record that is read from files", () =>
    Effect.gen(function* () {
      const journal = yield* (yield* SettlementJournal.SettlementJournal).open(owner)
      yield* journal.put(record("r1"))
      yield* define
      const [found] = yield* Stream.runCollect(journal.pending)
      yield* Effect.sync(() => Reflect.deleteProperty(BigInt.prototype, "toJSON"))
      expect(found?.commitBody).toBe(record("r1").commitBody)
    }).pipe(Effect.scoped, Effect.provide(JournalFiles.layer({ folder: temporaryFolder() })))
  )
})

describe("wrong clock", () => {
  const now = Date.UTC(2026, 6, 1)

  for (const [what, recordedAtMs] of [
    ["in 1970", 5_000],
    ["in 2000", Date.UTC(2000, 0, 1)]
  ] as const) {
    it.effect(`doesn't make a dead letter of a commit that was recorded ${what}: it is sent`, () => {
      const journal = faultyJournal()
      const replay = Effect.gen(function* () {
        yield* journal.leave(yield* leaveRecord({ recordedAtMs }))
        yield* TestClock.adjust("5 minutes")
        expect(yield* Stream.runCollect(Cycles.deadLetters)).toEqual([])
        expect((yield* books).spent).toBe(42)
      }).pipe(Effect.provide(live({}, { journal: journal.layer })))
      // Set the time before the client starts. Otherwise it would scan the journal every minute of these years.
      return Effect.andThen(TestClock.setTime(now), replay)
    })
  }
})
