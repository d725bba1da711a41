/**
 * Runs workflows with guarded activities on the cluster engine, whose state is in PostgreSQL. The parent process kills
 * it.
 *
 * It prints `started`, and one line of JSON for each workflow that has ended.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted, Schema } from "effect"
import { Amount, Cycles, CyclesTransport, Run, SettlementJournal } from "effect-cycles"
import { CyclesActivity } from "effect-cycles/workflow"
import { Digest } from "effect/crypto"
import { ClusterWorkflowEngine, SingleRunner } from "effect/cluster"
import { Workflow } from "effect/workflow"
import { appendFileSync } from "node:fs"

/** The work of this process, as the parent passes it. */
export interface Work {
  readonly baseUrl: string
  readonly apiKey: string
  readonly tenant: string
  readonly postgres: { readonly host: string; readonly port: number }
  /** The file to which each body writes its name before it is charged. */
  readonly log: string
  readonly ids: ReadonlyArray<string>
  readonly onRepeat: Cycles.OnRepeat
}

const work: Work = JSON.parse(process.argv[2] ?? "{}")

const step = (id: string, name: string) =>
  CyclesActivity.make({
    name,
    success: Schema.String,
    execute: Effect.gen(function* () {
      yield* Effect.sleep(Math.random() * 40)
      appendFileSync(work.log, `${id} ${name}\n`)
      return `${name} text`
    }),
    cycles: {
      action: { kind: "workflow.step", name: `${id} ${name}` },
      estimate: Amount.tokens(100),
      actual: Amount.tokens(80)
    },
    onRepeat: work.onRepeat
  })

const Letter = Workflow.make("Letter", {
  payload: { id: Schema.String },
  idempotencyKey: ({ id }) => id,
  success: Schema.Struct({ spent: Schema.Number, end: Schema.String }),
  error: CyclesActivity.GuardError
})

const LetterLayer = Letter.toLayer(
  Effect.fnUntraced(function* ({ id }) {
    const run = yield* Run.make({ name: "letter", budget: Amount.tokens(300), parent: "none" })
    return yield* Effect.gen(function* () {
      for (const name of ["Draft", "Check", "Final"]) yield* step(id, name)
      // 60 are left, in every process.
      const end = yield* Effect.match(step(id, "Over"), {
        onSuccess: () => "not refused",
        onFailure: (error) => ("code" in error ? String(error.code) : error._tag)
      })
      return { spent: Number((yield* run.spent("TOKENS")).amount), end }
    }).pipe(Run.within(run))
  }, Effect.scoped)
)

const CyclesLayer = Cycles.layer({
  baseUrl: work.baseUrl,
  apiKey: Redacted.make(work.apiKey),
  subject: { tenant: work.tenant }
}).pipe(Layer.provide([CyclesTransport.layerFetch, SettlementJournal.layerMemory]))

const EngineLayer = ClusterWorkflowEngine.layer.pipe(
  Layer.provideMerge(
    SingleRunner.layer({
      runnerStorage: "memory",
      shardingConfig: { entityMessagePollInterval: 200, entityReplyPollInterval: 50 }
    })
  ),
  Layer.provide(PgClient.layer({ ...work.postgres, username: "cycles", database: "postgres" })),
  Layer.provide(Digest.layerWebCrypto)
)

const runAll = Effect.forEach(
  work.ids,
  (id) =>
    Effect.match(Letter.execute({ id }), {
      onSuccess: (result) => ({ id, ...result }),
      onFailure: (error) => ({ id, spent: 0, end: error._tag })
    }).pipe(Effect.tap((result) => Effect.sync(() => console.log(JSON.stringify(result))))),
  { concurrency: 3 }
)

Effect.andThen(
  Effect.sync(() => console.log("started")),
  runAll
)
  .pipe(
    Effect.provide(LetterLayer.pipe(Layer.provideMerge(EngineLayer), Layer.provide(CyclesLayer))),
    Effect.runPromise
  )
  .then(
    () => process.exit(0),
    (cause) => {
      console.error(cause)
      process.exit(1)
    }
  )
