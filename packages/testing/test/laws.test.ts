/**
 * With any faults of the requests of guarded calls, the ledger finally contains the spend and nothing is reserved.
 */
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import { Amount, Cycles, Reservation } from "effect-cycles"
import { action, outcome } from "./support/program.ts"

const faults = {
  none: Fault.none,
  connectionRefused: Fault.connectionRefused,
  requestLost: Fault.requestLost,
  responseLost: Fault.responseLost,
  noResponse: Fault.noResponse,
  late: Fault.late("3 seconds"),
  tooLate: Fault.late("1 minute"),
  requestLate: Fault.requestLate("3 seconds"),
  status503: Fault.status(503),
  status404: Fault.status(404),
  error500: Fault.error(500, "INTERNAL_ERROR"),
  throttled: Fault.error(429, "LIMIT_EXCEEDED", { "retry-after": "2" }),
  garbage: Fault.garbage,
  replaced502: Fault.replaced({ status: 502 }),
  duplicated: Fault.duplicated
}

const Step = Schema.Struct({
  operation: Schema.Literals(["reserve", "commit", "release", "extend", "event", "getReservation", "any"]),
  fault: Schema.Literals(Struct.keys(faults))
})

const Call = Schema.Struct({
  /** The tokens that the body spends. */
  spends: Schema.Literals([0, 1, 42, 100, 130]),
  /** How long the body runs. */
  seconds: Schema.Literals([0, 1, 90]),
  ends: Schema.Literals(["well", "badly"])
})

it.effect.prop(
  "the ledger contains the spend and nothing is reserved (200 runs)",
  { calls: Schema.NonEmptyArray(Call), script: Schema.Array(Step) },
  ({ calls, script }) =>
    Effect.gen(function* () {
      let ran = 0
      for (const { fault, operation } of script) yield* CyclesTest.inject(operation, faults[fault])
      for (const { ends, seconds, spends } of calls) {
        const body = Effect.gen(function* () {
          yield* Effect.sleep(seconds * 1_000)
          yield* Reservation.record({ actual: Amount.tokens(spends) })
          ran += spends
          if (ends === "badly") return yield* Effect.fail("badly" as const)
        })
        const exit = yield* outcome(Cycles.withCycles(body, { action, estimate: Amount.tokens(100) }))
        if (Exit.isSuccess(exit)) expect(ends).toBe("well")
      }
      yield* CyclesTest.expectCommitted(Amount.tokens(ran))
      yield* CyclesTest.expectNothingReserved()
    }).pipe(Effect.provide(CyclesTest.layer({ budgets: [{ unit: "TOKENS", allocated: 1_000_000 }] }))),
  { timeout: 60_000, arbitrary: { runs: 200 } }
)
