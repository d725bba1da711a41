/**
 * Runs one guarded call that is described by a JSON object, with the Node layers, for external test runners. It sends
 * only the requests of the client's lifecycle.
 *
 * `CallSpec` declares the fields of the input; `docs/maintainers/conformance.md` describes them.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as InvalidInput from "@effect-cycles/protocol/InvalidInput"
import * as Json from "@effect-cycles/protocol/Json"
import * as Subject from "@effect-cycles/protocol/Subject"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Cycles from "effect-cycles/Cycles"
import type * as CyclesClient from "effect-cycles/CyclesClient"
import * as JournalFiles from "effect-cycles/node/JournalFiles"
import * as JournalSqlite from "effect-cycles/node/JournalSqlite"
import * as NodeCycles from "effect-cycles/node/NodeCycles"
import * as Reservation from "effect-cycles/Reservation"
import type { Settlement } from "effect-cycles/Settlement"
import * as SettlementJournal from "effect-cycles/SettlementJournal"
import { join } from "node:path"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

const millis = Schema.optionalKey(Schema.Natural)

/** The input: one guarded call and its configuration. */
export const CallSpec = Schema.Struct({
  baseUrl: Schema.String,
  apiKey: Schema.String,
  /** The tenant of the subject. */
  tenant: Schema.optionalKey(Schema.String),
  /** Further fields of the subject. Without `tenant` and `subject` it is the app `lifecycle-driver`. */
  subject: Schema.optionalKey(Subject.Read),
  /** The folder of the journal. Without it there is no journal. */
  journal: Schema.optionalKey(Schema.String),
  /** Default `sqlite`. */
  journalKind: Schema.optionalKey(Schema.Literals(["sqlite", "files"])),
  /** `replay` only settles the records of the journal and ignores the rest of the input. */
  form: Schema.Literals(["withCycles", "reserve", "stream", "replay"]),
  /** Default: `llm.completion`, `lifecycle-driver`. */
  action: Schema.optionalKey(Schema.Struct({ kind: Schema.String, name: Schema.String })),
  /** Default: 1,000 tokens. */
  estimate: Schema.optionalKey(Amount.Amount),
  /** The actual amount. Without it `actual` isn't passed to the client. */
  actual: Schema.optionalKey(Amount.Amount),
  /** The amount that the body records before it ends. */
  record: Schema.optionalKey(Amount.Amount),
  /** The usage of each element of a stream. */
  elements: Schema.optionalKey(Schema.Array(Amount.Amount)),
  ttlMs: millis,
  /** How long the body takes. Default 0. */
  bodyMs: millis,
  /** Default `success`. */
  end: Schema.optionalKey(Schema.Literals(["success", "failure", "die", "interrupt"])),
  /**
   * When the call is interrupted, from its start, including the reserve. Default: never, or after `bodyMs` if `end` is
   * `interrupt`.
   */
  interruptAfterMs: millis,
  idempotencyKey: Schema.optionalKey(Schema.String),
  heartbeat: Schema.optionalKey(Schema.Literals(["warn", "failOnFinalize", "cancel"])),
  onFailure: Schema.optionalKey(Schema.Literals(["partial", "estimate", "release"])),
  settle: Schema.optionalKey(Schema.Literals(["attempt", "wait", "background"])),
  /** The limit for the flush and for closing the layers, each. Default 10,000. */
  flushTimeoutMs: millis,
  /** The timeout of one request. Default 10,000. */
  timeoutMs: millis
})

/** The input: one guarded call and its configuration. */
export type CallSpec = typeof CallSpec.Type

/** The result of the call. */
export interface Outcome {
  readonly exit: "Success" | "Failure" | "Interrupted" | "Died"
  /** The tags of errors, or the text of an untagged error. */
  readonly errors: ReadonlyArray<string>
  /** The settlement that the caller got, else the last one that was published for this call. */
  readonly settlement: Settlement | null
  /** Every settlement during the run, including those in the background and from the journal. */
  readonly settlements: ReadonlyArray<Settlement>
  readonly flush: Cycles.FlushResult
  readonly elapsedMs: number
}

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/** The input can't be run. Nothing was sent. */
export class InvalidCallSpec extends Schema.TaggedError<InvalidCallSpec>()("InvalidCallSpec", {
  problem: Schema.String
}) {
  override get message(): string {
    return this.problem
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// read
// ---------------------------------------------------------------------------------------------------------------------

/** Parses the input. Field names may also be in snake_case, and null counts as absent. */
export const read = (text: string): Effect.Effect<CallSpec, InvalidCallSpec> =>
  Effect.gen(function* () {
    const json = yield* Effect.try({
      try: () => Json.parse(text),
      catch: () => new InvalidCallSpec({ problem: "standard input is not JSON" })
    })
    if (typeof json !== "object" || json === null || Array.isArray(json)) {
      return yield* new InvalidCallSpec({ problem: "the input must be one JSON object" })
    }
    const fields: Record<string, unknown> = {}
    for (const [written, value] of Object.entries(json)) {
      if (value === null) continue
      const name = written.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
      if (!Object.hasOwn(CallSpec.fields, name)) {
        const known = Object.keys(CallSpec.fields).join(", ")
        return yield* new InvalidCallSpec({ problem: `${written} isn't a field of the input; it may have ${known}` })
      }
      if (Object.hasOwn(fields, name)) return yield* new InvalidCallSpec({ problem: `${name} is given twice` })
      fields[name] = value
    }
    const spec = yield* Effect.mapError(
      decode(fields),
      ({ issue }) => new InvalidCallSpec({ problem: InvalidInput.message(InvalidInput.fromIssue(issue, fields)) })
    )
    const problem = spec.form === "replay" ? undefined : contradictionOf(spec)
    return problem === undefined ? spec : yield* new InvalidCallSpec({ problem })
  })

const decode = Schema.decodeUnknownEffect(CallSpec, { onExcessProperty: "error", errors: "all" })

/** Returns why two fields can't be combined. */
const contradictionOf = ({ actual, elements, form, record }: CallSpec): string | undefined => {
  if (elements !== undefined && form !== "stream") return `elements are for the form stream, not for ${form}`
  if (elements !== undefined && actual !== undefined) return "elements and actual exclude each other"
  return record !== undefined && form === "stream" ? "record is not for the form stream: it has elements" : undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// run
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Runs the call, from building the layers to closing them. Fails if the client can't be configured as the input
 * specifies.
 */
export const run = (spec: CallSpec): Effect.Effect<Outcome, InvalidCallSpec> =>
  Effect.gen(function* () {
    const startedAt = yield* Clock.currentTimeMillis
    const layers = yield* Scope.make()
    const context = yield* Effect.suspend(() => Layer.buildWithScope(layerOf(spec), layers)).pipe(
      Effect.catchDefect(
        (defect) => new InvalidCallSpec({ problem: defect instanceof Error ? defect.message : String(defect) })
      )
    )
    const outcome = yield* Effect.provideContext(perform(spec, layers), context)
    return { ...outcome, elapsedMs: (yield* Clock.currentTimeMillis) - startedAt }
  })

const layerOf = (spec: CallSpec): Layer.Layer<Cycles.Cycles | CyclesClient.CyclesClient> =>
  NodeCycles.layer(
    {
      baseUrl: spec.baseUrl,
      apiKey: Redacted.make(spec.apiKey),
      // A subject needs a field. Without a tenant, the server takes that of the API key.
      subject: Subject.merge(
        spec.subject ?? (spec.tenant === undefined ? { app: "lifecycle-driver" } : {}),
        spec.tenant === undefined ? {} : { tenant: spec.tenant }
      ),
      flushTimeout: spec.flushTimeoutMs ?? 10_000,
      timeout: spec.timeoutMs ?? 10_000,
      settle: spec.settle,
      onFailure: spec.onFailure
    },
    { journal: journalOf(spec) }
  )

const journalOf = (spec: CallSpec): Layer.Layer<SettlementJournal.SettlementJournal> => {
  if (spec.journal === undefined) return SettlementJournal.layerNone
  return spec.journalKind === "files"
    ? JournalFiles.layer({ folder: spec.journal })
    : JournalSqlite.layer({ filename: join(spec.journal, "journal.sqlite") })
}

const perform = (
  spec: CallSpec,
  layers: Scope.Closeable
): Effect.Effect<Omit<Outcome, "elapsedMs">, never, Cycles.Cycles> =>
  Effect.gen(function* () {
    const settlements: Array<Settlement> = []
    let callSettlement: Settlement | null = null
    const watching = yield* Stream.runForEach(Cycles.settlements, ({ action, settlement }) =>
      Effect.sync(() => {
        settlements.push(settlement)
        // Settlements from the journal have no action.
        if (action !== undefined) callSettlement = settlement
      })
    ).pipe(Effect.forkChild({ startImmediately: true }))
    const fiber = yield* Effect.forkChild(guardedCall(spec), { startImmediately: true })
    const interruptAfterMs = spec.interruptAfterMs ?? (spec.end === "interrupt" ? (spec.bodyMs ?? 0) : undefined)
    if (interruptAfterMs !== undefined) {
      yield* Effect.timeoutOption(Fiber.await(fiber), interruptAfterMs)
      yield* Fiber.interrupt(fiber)
    }
    const exit = yield* Fiber.await(fiber)
    if (Exit.isFailure(exit)) yield* Effect.logError("The guarded call failed", exit.cause)
    const flush = yield* Cycles.flush(spec.flushTimeoutMs ?? 10_000)
    // Closing the layers retries open settlements and ends the stream of settlements.
    yield* Scope.close(layers, Exit.void)
    yield* Fiber.await(watching)
    return {
      exit: nameOf(exit),
      errors: Exit.isFailure(exit) ? exit.cause.reasons.flatMap(tagsOf) : [],
      settlement: Exit.isSuccess(exit) && exit.value !== null ? exit.value : callSettlement,
      settlements,
      flush
    }
  })

const nameOf = (exit: Exit.Exit<unknown, unknown>): Outcome["exit"] => {
  if (Exit.isSuccess(exit)) return "Success"
  if (Cause.hasDies(exit.cause)) return "Died"
  return Cause.hasInterruptsOnly(exit.cause) ? "Interrupted" : "Failure"
}

const tagsOf = (reason: Cause.Reason<unknown>): ReadonlyArray<string> => {
  const error = reason._tag === "Fail" ? reason.error : reason._tag === "Die" ? reason.defect : undefined
  if (error === undefined) return []
  return typeof error === "object" && error !== null && "_tag" in error ? [String(error._tag)] : [String(error)]
}

// ---------------------------------------------------------------------------------------------------------------------
// the guarded call
// ---------------------------------------------------------------------------------------------------------------------

/** Returns the settlement that the caller gets, if the form returns one. */
const guardedCall = (spec: CallSpec): Effect.Effect<Settlement | null, unknown, Cycles.Cycles> =>
  Effect.gen(function* () {
    if (spec.form === "replay") return null
    const options = {
      action: spec.action ?? { kind: "llm.completion", name: "lifecycle-driver" },
      estimate: spec.estimate ?? Amount.tokens(1_000),
      ttl: spec.ttlMs,
      heartbeat: spec.heartbeat ?? "warn",
      idempotencyKey: spec.idempotencyKey
    }
    const { actual } = spec
    switch (spec.form) {
      case "withCycles": {
        const settled = yield* Deferred.make<Settlement>()
        yield* Cycles.withCycles(body(spec), {
          ...options,
          actual,
          onSettled: (settlement) => Deferred.succeed(settled, settlement)
        })
        return yield* Deferred.await(settled)
      }
      case "reserve":
        return yield* Effect.scoped(
          Effect.gen(function* () {
            const reservation = yield* Cycles.reserve(options)
            yield* Effect.provideService(body(spec), Reservation.Reservation, reservation)
            return actual === undefined ? null : yield* reservation.commit({ actual })
          })
        )
      case "stream": {
        const elements = spec.elements ?? (actual === undefined ? [] : [actual])
        const pauseMs = elements.length === 0 ? 0 : (spec.bodyMs ?? 0) / elements.length
        const source = Stream.mapEffect(Stream.rechunk(Stream.fromIterable(elements), 1), (element) =>
          Effect.delay(Effect.succeed(element), pauseMs)
        )
        yield* Stream.concat(source, Stream.fromEffect(ending(spec)).pipe(Stream.drain)).pipe(
          Cycles.withCyclesStream({ ...options, usage: (element: Amount.Amount) => element }),
          Stream.runDrain
        )
        return null
      }
    }
  })

/** The body: it records, waits, and ends as specified. */
const body = (spec: CallSpec) =>
  Effect.gen(function* () {
    const { record } = spec
    if (record !== undefined) yield* Reservation.record({ actual: record })
    if (spec.bodyMs !== undefined) yield* Effect.sleep(spec.bodyMs)
    yield* ending(spec)
  })

const ending = (spec: CallSpec): Effect.Effect<void, string> => {
  switch (spec.end) {
    case "failure":
      return Effect.fail("BodyFailed")
    case "die":
      return Effect.die("BodyDied")
    case "interrupt":
      return Effect.never
    default:
      return Effect.void
  }
}
