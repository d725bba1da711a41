/**
 * Faulty collaborators of the client: tracers, loggers, metrics and journals that throw, die, fail or hang.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { SettlementJournal } from "effect-cycles"

const brokenError = (what: string) => new Error(`${what} is broken`)

// ---------------------------------------------------------------------------------------------------------------------
// telemetry
// ---------------------------------------------------------------------------------------------------------------------

type Provide = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Provides a collaborator that throws. Dies if it never threw, because the test then proves nothing. */
const providing =
  (what: string, provide: (fail: () => never) => Provide): Provide =>
  (effect) =>
    Effect.suspend(() => {
      let hasThrown = false
      const fail = (): never => {
        hasThrown = true
        throw brokenError(what)
      }
      return Effect.tap(provide(fail)(effect), () =>
        hasThrown ? Effect.void : Effect.die(new Error(`${what} never threw`))
      )
    })

/** Provides a tracer that throws in one of its methods, for the spans of an operation. */
export const throwingTracer = (method: "span" | "attribute" | "end", operation: string): Provide =>
  providing(`the tracer's ${method}`, (fail) => {
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        if (!options.name.endsWith(`.${operation}`)) return span
        if (method === "span") return fail()
        return Object.defineProperty(span, method, { value: fail })
      }
    })
    return Effect.provideService(Tracer.Tracer, tracer)
  })

/** Provides a logger that throws for every message. */
export const throwingLogger: Provide = providing("the logger", (fail) =>
  Effect.provide(Logger.layer([Logger.make(fail)]))
)

/** Provides metrics that throw when a metric with this text in its name is updated. */
export const throwingMetrics = (name: string): Provide =>
  providing(`the metric ${name}`, (fail) => {
    class Registry<V> extends Map<string, V> {
      override get(key: string): V | undefined {
        return key.includes(name) ? fail() : super.get(key)
      }
    }
    return Effect.provideService(Metric.MetricRegistry, new Registry())
  })

// ---------------------------------------------------------------------------------------------------------------------
// the journal
// ---------------------------------------------------------------------------------------------------------------------

/** The fault of a journal operation. A number delays it by that many milliseconds. */
export type JournalFault = "throw" | "die" | "fail" | "hang" | number

/** The operations that can be faulty. */
export type JournalOperation = "open" | "put" | "remove" | "bury" | "pending"

/** A journal in memory whose operations meet the faults that a test plans. */
export const faultyJournal = () => {
  const planned = new Map<JournalOperation, Array<JournalFault | undefined>>()
  const standing = new Map<JournalOperation, JournalFault>()
  const opened = new Set<SettlementJournal.Journal>()
  const opening = Deferred.makeUnsafe<void>()

  const meet = <A, E, R>(operation: JournalOperation, real: Effect.Effect<A, E, R>) => {
    const queue = planned.get(operation)
    const fault = queue !== undefined && queue.length > 0 ? queue.shift() : standing.get(operation)
    switch (fault) {
      case undefined:
        return real
      case "throw":
        throw brokenError(`the journal's ${operation}`)
      case "die":
        return Effect.die(brokenError(`the journal's ${operation}`))
      case "fail":
        return Effect.fail(new SettlementJournal.JournalError({ operation: "put", problem: "the disk is full" }))
      case "hang":
        return Effect.never
      default:
        return Effect.delay(real, fault)
    }
  }

  const wrap = (journal: SettlementJournal.Journal): SettlementJournal.Journal => ({
    ...journal,
    put: (...args) => meet("put", journal.put(...args)),
    remove: (...args) => meet("remove", journal.remove(...args)),
    bury: (...args) => meet("bury", journal.bury(...args)),
    pending: Stream.unwrap(Effect.suspend(() => meet("pending", Effect.succeed(journal.pending))))
  })

  const layer: Layer.Layer<SettlementJournal.SettlementJournal> = Layer.effect(
    SettlementJournal.SettlementJournal,
    Effect.map(SettlementJournal.SettlementJournal, (store) => ({
      ...store,
      open: (owner: SettlementJournal.JournalOwner) => {
        Deferred.doneUnsafe(opening, Effect.void)
        return meet(
          "open",
          Effect.map(store.open(owner), (journal) => {
            opened.add(journal)
            return wrap(journal)
          })
        )
      }
    }))
  ).pipe(Layer.provide(SettlementJournal.layerMemory))

  return {
    layer,
    /** The next calls of an operation meet these faults, one each; `undefined` lets one through. */
    plan: (operation: JournalOperation, ...faults: ReadonlyArray<JournalFault | undefined>) =>
      void planned.set(operation, [...faults]),
    /** Every call of an operation meets this fault, after the planned ones. */
    always: (operation: JournalOperation, fault: JournalFault | undefined) =>
      void (fault === undefined ? standing.delete(operation) : standing.set(operation, fault)),
    /** Waits until the client opens the journal for the first time. */
    opening: Deferred.await(opening),
    /** The pending records, without faults. */
    records: Effect.map(
      Effect.suspend(() => Effect.forEach([...opened], (journal) => Stream.runCollect(journal.pending))),
      (found) => found.flat()
    ),
    /** Puts a record into every journal that was opened, without faults. */
    leave: (record: SettlementJournal.JournalRecord) =>
      Effect.suspend(() => Effect.forEach([...opened], (journal) => journal.put(record), { discard: true }))
  }
}

/** A journal whose operations meet the faults that a test plans. */
export type FaultyJournal = ReturnType<typeof faultyJournal>

// ---------------------------------------------------------------------------------------------------------------------
// running
// ---------------------------------------------------------------------------------------------------------------------

/** Provides a layer that is never closed, so that a hanging collaborator can't delay the end of the test. */
export const provideUnclosed =
  <ROut, E2, RIn>(layer: Layer.Layer<ROut, E2, RIn>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(layer, scope)
      return yield* Effect.provideContext(effect, context)
    })
