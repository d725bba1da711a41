/** Runs one row of the benchmark of runs in a separate process: `runLevels.ts LEVELS`. */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Cycles from "effect-cycles/Cycles"
import * as Run from "effect-cycles/Run"
import { layerNone } from "effect-cycles/SettlementJournal"
import * as Canned from "./canned.ts"
import * as Child from "./child.ts"
import * as Plain from "./plain.ts"

const levels = Number(process.argv[2])

const runtime = ManagedRuntime.make(
  Cycles.layer({
    baseUrl: "http://localhost",
    apiKey: Redacted.make("cyc_live_0123456789"),
    subject: { tenant: Plain.tenant }
  }).pipe(Layer.provide([Canned.transport, layerNone]))
)

const guarded = Effect.void.pipe(
  Cycles.withCycles({ action: Plain.action, estimate: Amount.tokens(1000), actual: Amount.tokens(400) })
)

const calls = (count: number) =>
  Effect.gen(function* () {
    let run = yield* Run.CurrentRun
    for (let level = 0; level < levels; level++) {
      run = yield* Effect.provideService(
        Run.make({ name: `level ${level}`, budget: Amount.tokens(1_000_000_000_000) }),
        Run.CurrentRun,
        run
      )
    }
    yield* Effect.provideService(
      Effect.forEach(Array.from({ length: count }), () => guarded, { concurrency: 32, discard: true }),
      Run.CurrentRun,
      run
    )
  }).pipe(Effect.scoped)

Child.serve(Schema.Struct({ count: Schema.Finite }), async ({ count }) => {
  const before = Child.usage()
  await runtime.runPromise(calls(count))
  return Child.between(before, Child.usage())
})
