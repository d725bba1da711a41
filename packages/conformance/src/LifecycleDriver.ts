/**
 * One guarded act, told by a JSON object and run with the real Node layers, for judges from outside. What is sent is what the
 * client's lifecycle sends, and nothing else.
 *
 * What it may say is in `Story`; the README of this package has it in words.
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

/** What is to be done. */
export const Story = Schema.Struct({
  baseUrl: Schema.String,
  apiKey: Schema.String,
  /** The tenant of the subject, and whose journal it is. */
  tenant: Schema.optionalKey(Schema.String),
  /** What else the subject says. Without `tenant` and this it is the app `lifecycle-driver`. */
  subject: Schema.optionalKey(Subject.Read),
  /** The folder of the journal; without it none is kept. */
  journal: Schema.optionalKey(Schema.String),
  /** Default `sqlite`. */
  journalKind: Schema.optionalKey(Schema.Literals(["sqlite", "files"])),
  /** `replay` does nothing but settle what the journal holds, whatever else the story says. */
  form: Schema.Literals(["withCycles", "reserve", "stream", "replay"]),
  /** Default: `llm.completion`, `lifecycle-driver`. */
  action: Schema.optionalKey(Schema.Struct({ kind: Schema.String, name: Schema.String })),
  /** Default: 1,000 tokens. */
  estimate: Schema.optionalKey(Amount.Amount),
  /** What the act cost; without it nothing is told. */
  actual: Schema.optionalKey(Amount.Amount),
  /** What was recorded before the act ends. */
  record: Schema.optionalKey(Amount.Amount),
  /** What each element of a stream cost. */
  elements: Schema.optionalKey(Schema.Array(Amount.Amount)),
  ttlMs: millis,
  /** How long the act takes. Default 0. */
  bodyMs: millis,
  /** Default `success`. */
  end: Schema.optionalKey(Schema.Literals(["success", "failure", "die", "interrupt"])),
  /** When the act is interrupted, counted from its start, reserve included. Default: never, or after `bodyMs` by `end`. */
  interruptAfterMs: millis,
  idempotencyKey: Schema.optionalKey(Schema.String),
  heartbeat: Schema.optionalKey(Schema.Literals(["warn", "failOnFinalize", "cancel"])),
  onFailure: Schema.optionalKey(Schema.Literals(["partial", "estimate", "release"])),
  settle: Schema.optionalKey(Schema.Literals(["attempt", "wait", "background"])),
  /** How long closing, and the flush before it, may take, each. Default 10,000. */
  flushTimeoutMs: millis,
  /** The time limit of one call. Default 10,000. */
  timeoutMs: millis
})

/** What is to be done. */
export type Story = typeof Story.Type

/** What came of it. */
export interface Outcome {
  readonly exit: "Success" | "Failure" | "Interrupted" | "Died"
  /** The tags of errors, or the text of what is no tagged error. */
  readonly errors: ReadonlyArray<string>
  /** What the caller was told, or else the last that was announced of the act. */
  readonly settlement: Settlement | null
  /** Every settlement that ended while the story ran, those of the background and of the journal too. */
  readonly settlements: ReadonlyArray<Settlement>
  readonly flush: Cycles.FlushResult
  readonly elapsedMs: number
}

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/** A story that can't be run; nothing was sent. */
export class BadStory extends Schema.TaggedError<BadStory>()("BadStory", { problem: Schema.String }) {
  override get message(): string {
    return this.problem
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// read
// ---------------------------------------------------------------------------------------------------------------------

/** Reads a story. Its fields may be written in snake_case too, and null is the same as absent. */
export const read = (text: string): Effect.Effect<Story, BadStory> =>
  Effect.gen(function* () {
    const json = yield* Effect.try({
      try: () => Json.parse(text),
      catch: () => new BadStory({ problem: "the story on standard input is no JSON" })
    })
    if (typeof json !== "object" || json === null || Array.isArray(json)) {
      return yield* new BadStory({ problem: "the story must be one JSON object" })
    }
    const fields: Record<string, unknown> = {}
    for (const [written, value] of Object.entries(json)) {
      if (value === null) continue
      const name = written.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
      if (!Object.hasOwn(Story.fields, name)) {
        const known = Object.keys(Story.fields).join(", ")
        return yield* new BadStory({ problem: `${written} is no field of a story; it may have ${known}` })
      }
      if (Object.hasOwn(fields, name)) return yield* new BadStory({ problem: `${name} is given twice` })
      fields[name] = value
    }
    const story = yield* Effect.mapError(
      decode(fields),
      ({ issue }) => new BadStory({ problem: InvalidInput.message(InvalidInput.fromIssue(issue, fields)) })
    )
    const problem = story.form === "replay" ? undefined : contradictionOf(story)
    return problem === undefined ? story : yield* new BadStory({ problem })
  })

const decode = Schema.decodeUnknownEffect(Story, { onExcessProperty: "error", errors: "all" })

/** What is said and would not be done. */
const contradictionOf = ({ actual, elements, form, record }: Story): string | undefined => {
  if (elements !== undefined && form !== "stream") return `elements are for the form stream, not for ${form}`
  if (elements !== undefined && actual !== undefined) return "elements and actual exclude each other"
  return record !== undefined && form === "stream" ? "record is not for the form stream: it has elements" : undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// run
// ---------------------------------------------------------------------------------------------------------------------

/** Runs a story, from building the layers to closing them. It fails where the client can't be made as the story says. */
export const run = (story: Story): Effect.Effect<Outcome, BadStory> =>
  Effect.gen(function* () {
    const startedAt = yield* Clock.currentTimeMillis
    const layers = yield* Scope.make()
    const context = yield* Effect.suspend(() => Layer.buildWithScope(layerOf(story), layers)).pipe(
      Effect.catchDefect(
        (defect) => new BadStory({ problem: defect instanceof Error ? defect.message : String(defect) })
      )
    )
    const told = yield* Effect.provideContext(tell(story, layers), context)
    return { ...told, elapsedMs: (yield* Clock.currentTimeMillis) - startedAt }
  })

const layerOf = (story: Story): Layer.Layer<Cycles.Cycles | CyclesClient.CyclesClient> =>
  NodeCycles.layer(
    {
      baseUrl: story.baseUrl,
      apiKey: Redacted.make(story.apiKey),
      // A subject names something, and who tells no tenant may mean one that only the server knows.
      subject: Subject.merge(
        story.subject ?? (story.tenant === undefined ? { app: "lifecycle-driver" } : {}),
        story.tenant === undefined ? {} : { tenant: story.tenant }
      ),
      flushTimeout: story.flushTimeoutMs ?? 10_000,
      timeout: story.timeoutMs ?? 10_000,
      settle: story.settle,
      onFailure: story.onFailure
    },
    { journal: journalOf(story) }
  )

const journalOf = (story: Story): Layer.Layer<SettlementJournal.SettlementJournal> => {
  if (story.journal === undefined) return SettlementJournal.layerNone
  return story.journalKind === "files"
    ? JournalFiles.layer({ folder: story.journal })
    : JournalSqlite.layer({ filename: join(story.journal, "journal.sqlite") })
}

const tell = (story: Story, layers: Scope.Closeable): Effect.Effect<Omit<Outcome, "elapsedMs">, never, Cycles.Cycles> =>
  Effect.gen(function* () {
    const settlements: Array<Settlement> = []
    let ofAct: Settlement | null = null
    const watching = yield* Stream.runForEach(Cycles.settlements, ({ action, settlement }) =>
      Effect.sync(() => {
        settlements.push(settlement)
        // What comes from the journal has no action.
        if (action !== undefined) ofAct = settlement
      })
    ).pipe(Effect.forkChild({ startImmediately: true }))
    const fiber = yield* Effect.forkChild(act(story), { startImmediately: true })
    const interruptAfterMs = story.interruptAfterMs ?? (story.end === "interrupt" ? (story.bodyMs ?? 0) : undefined)
    if (interruptAfterMs !== undefined) {
      yield* Effect.timeoutOption(Fiber.await(fiber), interruptAfterMs)
      yield* Fiber.interrupt(fiber)
    }
    const exit = yield* Fiber.await(fiber)
    if (Exit.isFailure(exit)) yield* Effect.logError("The act did not succeed", exit.cause)
    const flush = yield* Cycles.flush(story.flushTimeoutMs ?? 10_000)
    // Closing the layers tries once more what is open, and ends the stream of settlements.
    yield* Scope.close(layers, Exit.void)
    yield* Fiber.await(watching)
    return {
      exit: nameOf(exit),
      errors: Exit.isFailure(exit) ? exit.cause.reasons.flatMap(tagsOf) : [],
      settlement: Exit.isSuccess(exit) && exit.value !== null ? exit.value : ofAct,
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
// the act
// ---------------------------------------------------------------------------------------------------------------------

/** The settlement that the caller is told, if the form tells one. */
const act = (story: Story): Effect.Effect<Settlement | null, unknown, Cycles.Cycles> =>
  Effect.gen(function* () {
    if (story.form === "replay") return null
    const options = {
      action: story.action ?? { kind: "llm.completion", name: "lifecycle-driver" },
      estimate: story.estimate ?? Amount.tokens(1_000),
      ttl: story.ttlMs,
      heartbeat: story.heartbeat ?? "warn",
      idempotencyKey: story.idempotencyKey
    }
    const { actual } = story
    switch (story.form) {
      case "withCycles": {
        const settled = yield* Deferred.make<Settlement>()
        yield* Cycles.withCycles(body(story), {
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
            yield* Effect.provideService(body(story), Reservation.Reservation, reservation)
            return actual === undefined ? null : yield* reservation.commit({ actual })
          })
        )
      case "stream": {
        const elements = story.elements ?? (actual === undefined ? [] : [actual])
        const pauseMs = elements.length === 0 ? 0 : (story.bodyMs ?? 0) / elements.length
        const source = Stream.mapEffect(Stream.rechunk(Stream.fromIterable(elements), 1), (element) =>
          Effect.delay(Effect.succeed(element), pauseMs)
        )
        yield* Stream.concat(source, Stream.fromEffect(ending(story)).pipe(Stream.drain)).pipe(
          Cycles.withCyclesStream({ ...options, usage: (element: Amount.Amount) => element }),
          Stream.runDrain
        )
        return null
      }
    }
  })

/** The work itself: it records, takes its time, and ends as it should. */
const body = (story: Story) =>
  Effect.gen(function* () {
    const { record } = story
    if (record !== undefined) yield* Reservation.record({ actual: record })
    if (story.bodyMs !== undefined) yield* Effect.sleep(story.bodyMs)
    yield* ending(story)
  })

const ending = (story: Story): Effect.Effect<void, string> => {
  switch (story.end) {
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
