/**
 * One guarded act, told by a JSON object and run with the real Node layers, for judges from outside.
 *
 * What it may say is in `Story`.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Json from "@effect-cycles/protocol/Json"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Cycles from "effect-cycles/Cycles"
import * as CyclesClient from "effect-cycles/CyclesClient"
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
  /** Default: the tenant that the key belongs to. */
  tenant: Schema.optionalKey(Schema.String),
  /** The folder of the journal; null or absent keeps none. */
  journal: Schema.optionalKey(Schema.NullOr(Schema.String)),
  /** Default `sqlite`. */
  journalKind: Schema.optionalKey(Schema.Literals(["sqlite", "files"])),
  /** `replay` does nothing but settle what the journal holds. */
  form: Schema.Literals(["withCycles", "reserve", "stream", "replay"]),
  action: Schema.optionalKey(Schema.Struct({ kind: Schema.String, name: Schema.String })),
  estimate: Schema.optionalKey(Amount.Amount),
  /** What the act cost; without it nothing is told. */
  actual: Schema.optionalKey(Amount.Amount),
  /** What was recorded before the act ends. */
  record: Schema.optionalKey(Amount.Amount),
  /** What each element of a stream cost. */
  elements: Schema.optionalKey(Schema.Array(Amount.Amount)),
  ttlMs: millis,
  /** How long the act takes. */
  bodyMs: millis,
  /** Default `success`. */
  end: Schema.optionalKey(Schema.Literals(["success", "failure", "die", "interrupt"])),
  /** When the act is interrupted, counted from its start, reserve included. Default: after `bodyMs`. */
  interruptAfterMs: millis,
  idempotencyKey: Schema.optionalKey(Schema.String),
  heartbeat: Schema.optionalKey(Schema.Literals(["warn", "failOnFinalize", "cancel"])),
  settle: Schema.optionalKey(Schema.Literals(["attempt", "wait", "background"])),
  /** How long closing, and the flush before it, may take. Default 10,000. */
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
  /** What the caller was told. */
  readonly settlement: Settlement | null
  /** Every settlement that ended while the story ran, those of the background and of the journal too. */
  readonly settlements: ReadonlyArray<Settlement>
  readonly flush: { readonly isComplete: boolean; readonly pending: number }
  readonly elapsedMs: number
}

// ---------------------------------------------------------------------------------------------------------------------
// run
// ---------------------------------------------------------------------------------------------------------------------

/** Reads a story. */
export const read = (text: string): Effect.Effect<Story, Schema.SchemaError> =>
  Schema.decodeUnknownEffect(Story)(Json.parse(text))

/** Runs a story, from building the layers to closing them. */
export const run = (story: Story): Effect.Effect<Outcome> =>
  Effect.flatMap(Clock.currentTimeMillis, (startedAt) =>
    Effect.flatMap(
      tell(story).pipe(
        Effect.provide(
          NodeCycles.layer(
            {
              baseUrl: story.baseUrl,
              apiKey: Redacted.make(story.apiKey),
              subject: story.tenant === undefined ? undefined : { tenant: story.tenant },
              flushTimeout: story.flushTimeoutMs ?? 10_000,
              timeout: story.timeoutMs ?? 10_000,
              settle: story.settle
            },
            { journal: journalOf(story) }
          )
        )
      ),
      (outcome) => Effect.map(Clock.currentTimeMillis, (endedAt) => ({ ...outcome, elapsedMs: endedAt - startedAt }))
    )
  )

const journalOf = (story: Story): Layer.Layer<SettlementJournal.SettlementJournal> => {
  if (story.journal === undefined || story.journal === null) return SettlementJournal.layerNone
  return story.journalKind === "files"
    ? JournalFiles.layer({ folder: story.journal })
    : JournalSqlite.layer({ filename: join(story.journal, "journal.sqlite") })
}

const tell = (
  story: Story
): Effect.Effect<Omit<Outcome, "elapsedMs">, never, Cycles.Cycles | CyclesClient.CyclesClient> =>
  Effect.gen(function* () {
    const settlements: Array<Settlement> = []
    const watching = yield* Stream.runForEach(Cycles.settlements, ({ settlement }) =>
      Effect.sync(() => settlements.push(settlement))
    ).pipe(Effect.forkChild({ startImmediately: true }))
    const fiber = yield* Effect.forkChild(act(story), { startImmediately: true })
    if (story.end === "interrupt") {
      yield* Effect.sleep(story.interruptAfterMs ?? story.bodyMs ?? 0)
      yield* Fiber.interrupt(fiber)
    }
    const exit = yield* Fiber.await(fiber)
    const flush = yield* Cycles.flush(story.flushTimeoutMs ?? 10_000)
    yield* Effect.yieldNow
    yield* Fiber.interrupt(watching)
    return {
      exit: nameOf(exit),
      errors: Exit.isFailure(exit) ? exit.cause.reasons.flatMap(tagsOf) : [],
      settlement: Exit.isSuccess(exit) ? exit.value : null,
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
const act = (story: Story): Effect.Effect<Settlement | null, unknown, Cycles.Cycles | CyclesClient.CyclesClient> =>
  Effect.gen(function* () {
    if (story.form === "replay") return null
    const subject = { tenant: story.tenant ?? (yield* tenantOfKey) }
    const options = {
      action: story.action ?? { kind: "llm.completion", name: "lifecycle-driver" },
      estimate: story.estimate ?? Amount.tokens(1_000),
      subject,
      ttl: story.ttlMs,
      heartbeat: story.heartbeat ?? "warn",
      idempotencyKey: story.idempotencyKey
    }
    const { actual } = story
    switch (story.form) {
      case "withCycles": {
        const guarded =
          actual === undefined
            ? Cycles.withCyclesSettled(body(story), options)
            : Cycles.withCyclesSettled(body(story), { ...options, actual: () => actual })
        return (yield* guarded)[0]
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

const tenantOfKey = Effect.flatMap(CyclesClient.CyclesClient, (client) =>
  Effect.map(client.listReservations({ limit: 1 }), (answer) => answer.meta.tenant ?? "")
)
