/**
 * A soak: one process with all forms of calls for a long time, at a moderate rate. The client has a journal in SQLite,
 * the embedded server a data file, and a proxy between them applies faults to some of the requests. All connections are
 * sockets.
 *
 * Afterwards the charges must be exact, the journal empty, and the resources flat.
 *
 * **Details**
 *
 * - Exact: each form has its own budget. The server has charged to it the sum that the bodies of the form have spent.
 * - Flat: over the second half, neither the heap after garbage collection, nor the handles, the file descriptors, the
 *   size of the journal, nor its records grow significantly (one-sided Mann-Kendall test at 1 % on 12 blocks) and by
 *   more than a tolerance.
 */
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Cause from "effect/Cause"
import * as Fiber from "effect/Fiber"
import * as NodeCyclesServer from "@effect-cycles/server/NodeCyclesServer"
import * as Cycles from "effect-cycles/Cycles"
import * as JournalSqlite from "effect-cycles/node/JournalSqlite"
import * as NodeCycles from "effect-cycles/node/NodeCycles"
import { join } from "node:path"
import * as AdminPlane from "./internal/adminPlane.ts"
import * as Books from "./internal/soak/books.ts"
import * as FaultProxy from "./internal/soak/faultProxy.ts"
import type { Form } from "./internal/soak/forms.ts"
import * as Forms from "./internal/soak/forms.ts"
import * as Leaks from "./internal/soak/leaks.ts"
import * as Models from "./internal/soak/models.ts"
import type { Flatness, Sample, Sampler } from "./internal/soak/samples.ts"
import * as Samples from "./internal/soak/samples.ts"
import { temporaryFolder } from "./internal/temporaryFolder.ts"

export type { Leak } from "./internal/soak/books.ts"
export type { Flatness, Sample } from "./internal/soak/samples.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The options of a soak. */
export interface Options {
  /** How long calls are started, in seconds. */
  readonly seconds: number
  /** The seed of the forms, pauses and faults. Their order also depends on the time. */
  readonly seed: number
  /** The share of requests that meet a fault. Default: 0.01. */
  readonly faultRate?: number | undefined
  /** Ends the soak early. Default: never. */
  readonly stop?: Effect.Effect<void> | undefined
  /**
   * The longest time at the end until everything is settled and abandoned reservations have expired, in seconds.
   * Default: 90.
   */
  readonly quietSeconds?: number | undefined
  /** Called with each sample. Default: nothing. */
  readonly onSample?: ((sample: Sample) => void) | undefined
  /** Injects leaks and wrong books, to show that they are found. Default: none. */
  readonly leaks?: ReadonlyArray<Books.Leak> | undefined
}

/** The result of a soak. */
export interface Report {
  readonly samples: ReadonlyArray<Sample>
  readonly flatness: ReadonlyArray<Flatness>
  /** Known spend and charges, by form. */
  readonly books: ReadonlyArray<{ readonly form: string; readonly spent: number; readonly charged: number }>
  readonly calls: ReadonlyMap<string, number>
  readonly failures: ReadonlyMap<string, number>
  readonly faults: ReadonlyMap<string, number>
  /** The logged messages, by level. */
  readonly logs: ReadonlyMap<string, number>
  /** Why the soak has failed. Empty if it has passed. */
  readonly problems: ReadonlyArray<string>
}

// ---------------------------------------------------------------------------------------------------------------------
// run
// ---------------------------------------------------------------------------------------------------------------------

const tenant = "soak"
const adminKey = "soak-admin-key"
const workers = 12

/** Few enough that all are open soon. */
const connections = 16

/** Runs a soak. */
export const run = (options: Options): Effect.Effect<Report> =>
  Effect.suspend(() => {
    const books = Books.make()
    return Effect.scoped(start(options, books)).pipe(
      Effect.provide(Logger.layer([counter(books)])),
      Random.withSeed(options.seed)
    )
  })

const start = Effect.fnUntraced(function* (options: Options, books: Books.Books) {
  const folder = yield* temporaryFolder
  const paths = { journal: join(folder, "journal.sqlite"), database: join(folder, "ledger.sqlite") }
  const server = yield* Effect.orDie(NodeCyclesServer.make({ port: 0, adminKey, data: paths.database }))
  const proxy = yield* FaultProxy.make(server.url, connections, options.faultRate ?? 0.01, (name) =>
    Books.count(books.faults, name)
  )
  const admin = { url: server.adminUrl, key: Redacted.make(adminKey) }
  const apiKey = yield* AdminPlane.makeTenant(admin, tenant)
  const client = NodeCycles.layer(
    {
      baseUrl: proxy.url,
      apiKey,
      subject: { tenant },
      timeout: "3 seconds",
      maxConcurrency: connections,
      ttl: "15 seconds",
      scanInterval: "5 seconds",
      flushTimeout: "30 seconds"
    },
    { journal: JournalSqlite.layer({ filename: paths.journal }) }
  )
  return yield* Effect.provide(soak(options, { admin, books, paths, proxy, server }), client)
})

/** Counts the logged messages by level. They aren't printed, because faults cause many. */
const counter = ({ logs }: Books.Books) => Logger.make(({ logLevel }) => Books.count(logs, logLevel))

interface World {
  readonly admin: AdminPlane.Admin
  readonly books: Books.Books
  readonly paths: Samples.Paths
  readonly proxy: FaultProxy.FaultProxy
  readonly server: NodeCyclesServer.Running
}

const soak = Effect.fnUntraced(function* (options: Options, { admin, books, paths, proxy, server }: World) {
  const forms = [...Forms.make(books, tenant), ...(yield* Models.make(books))]
  yield* AdminPlane.makeBudget(admin, tenant, "", 1_000_000_000_000)
  for (const name of [...forms.map(({ name }) => name), Models.toolBudget]) {
    // Every reserve of this form is denied.
    yield* AdminPlane.makeBudget(admin, tenant, `agent:${name}`, name === "guard-denied" ? 1 : 1_000_000_000_000)
  }
  // The journal is opened by its first use.
  yield* Cycles.flush()
  const sampler = yield* Samples.makeSampler(paths, () => server.server.store.reservations.size())
  const samples: Array<Sample> = []
  const leak = yield* Leaks.make(options.leaks ?? [], books, paths.journal)

  yield* load(forms, books).pipe(
    Effect.raceFirst(
      sampling(options, sampler, books, (sample) => {
        samples.push(sample)
        leak()
      })
    ),
    Effect.raceFirst(options.stop ?? Effect.never),
    Effect.timeoutOption(options.seconds * 1_000)
  )
  yield* proxy.stopFaults
  const problems = yield* quiescence(sampler, books, options.quietSeconds ?? 90)
  const charged = yield* charges
  const spent = [...new Set([...forms.map(({ name }) => name), Models.toolBudget])].map((form) => ({
    form,
    spent: books.spent.get(form) ?? 0,
    charged: charged.get(form)?.spent ?? 0
  }))
  const flatness = Samples.flatness(samples)
  return {
    samples,
    flatness,
    books: spent,
    calls: books.calls,
    failures: books.failures,
    faults: books.faults,
    logs: books.logs,
    problems: [
      ...problems,
      ...(samples.at(-1)?.databaseBytes === 0 ? ["the files were removed during the soak"] : []),
      ...books.unexpected,
      ...spent
        .filter((one) => one.spent !== one.charged)
        .map((one) => `${one.form}: ${one.spent} tokens were spent, and ${one.charged} were charged`),
      ...Array.from(charged)
        .filter(([, { reserved }]) => reserved !== 0)
        .map(([form, { reserved }]) => `${form}: ${reserved} tokens are still reserved`),
      ...(flatness.length === 0 ? [`${samples.length} samples are too few to find a trend: run longer`] : []),
      ...flatness
        .filter(({ isFlat }) => !isFlat)
        .map(({ growth, name, tolerance, z }) => {
          const by = `${Math.round(growth)} (z = ${z.toFixed(1)}), and at most ${tolerance} is allowed`
          return `${name} grows: in the second half by ${by}`
        })
    ]
  }
})

// ---------------------------------------------------------------------------------------------------------------------
// load
// ---------------------------------------------------------------------------------------------------------------------

/** Starts calls until it is interrupted. A call that runs then is finished. */
const load = (forms: ReadonlyArray<Form>, books: Books.Books) => {
  const totalWeight = forms.reduce((sum, { weight }) => sum + weight, 0)
  const pick = Effect.map(Random.nextIntBetween(0, totalWeight, { halfOpen: true }), (at) => {
    let rest = at
    for (const form of forms) {
      rest -= form.weight
      if (rest < 0) return form
    }
    throw new Error("the weights of the forms don't add up")
  })
  const call = Effect.gen(function* () {
    const form = yield* pick
    Books.count(books.calls, form.name)
    yield* Effect.matchCause(form.run, {
      onSuccess: () => undefined,
      onFailure: (cause) => note(books, form.name, cause)
    })
  })
  const worker = Effect.forever(
    Effect.andThen(
      Effect.uninterruptible(Effect.flatMap(Effect.forkChild(Effect.interruptible(call)), Fiber.join)),
      Effect.flatMap(Random.nextIntBetween(0, 300), (ms) => Effect.sleep(ms))
    )
  )
  return Effect.all(
    Array.from({ length: workers }, () => worker),
    { concurrency: "unbounded", discard: true }
  )
}

/** Counts a failure. A defect, or an interruption that the form didn't expect, fails the soak. */
const note = (books: Books.Books, form: string, cause: Cause.Cause<unknown>): void => {
  for (const reason of cause.reasons) {
    if (Cause.isFailReason(reason)) {
      const tag: unknown = Reflect.get(Object(reason.error), "_tag")
      Books.count(books.failures, String(tag))
    } else if (books.unexpected.length < 20) books.unexpected.push(`${form} died: ${Cause.pretty(cause)}`)
  }
}

/** Takes samples until it is interrupted. */
const sampling = (
  { onSample, seconds }: Options,
  sampler: Sampler,
  books: Books.Books,
  add: (sample: Sample) => void
): Effect.Effect<never> =>
  Effect.forever(
    Effect.andThen(
      Effect.sync(() => {
        const sample = sampler.sample(Books.total(books.calls))
        add(sample)
        onSample?.(sample)
      }),
      Effect.sleep(Math.min(5_000, Math.max(250, (seconds * 1_000) / 60)))
    )
  )

// ---------------------------------------------------------------------------------------------------------------------
// the end
// ---------------------------------------------------------------------------------------------------------------------

/** Waits until nothing is pending, in the journal or reserved. Returns the problems that remain. */
const quiescence = Effect.fnUntraced(function* (sampler: Sampler, books: Books.Books, seconds: number) {
  let left: ReadonlyArray<string> = []
  for (let second = 0; second < seconds; second += 1) {
    const { isComplete, pending } = yield* Cycles.flush()
    const { journalRecords } = sampler.sample(Books.total(books.calls))
    const reserved = Array.from((yield* charges).values()).reduce((sum, one) => sum + one.reserved, 0)
    left = [
      ...(isComplete ? [] : [`${pending} settlements are open after the last flush`]),
      ...(journalRecords === 0 ? [] : [`the journal has ${journalRecords} records after the last flush`])
    ]
    if (left.length === 0 && reserved === 0) return left
    yield* Effect.sleep("1 second")
  }
  return left
})

/** The spent and reserved tokens of the budgets of all forms. */
const charges: Effect.Effect<
  ReadonlyMap<string, { readonly spent: number; readonly reserved: number }>,
  never,
  Cycles.Cycles
> = Effect.map(
  Effect.orDie(Stream.runCollect(Cycles.balances({ tenant, includeChildren: true }))),
  (balances) =>
    new Map(
      balances.map(({ reserved, scope, spent }) => [
        scope.replace(/^agent:/, ""),
        { spent: Number(spent?.amount ?? 0), reserved: Number(reserved?.amount ?? 0) }
      ])
    )
)
