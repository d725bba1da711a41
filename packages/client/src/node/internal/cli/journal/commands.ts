/** The commands `journal list`, `retry`, `export` and `forget`. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { SettlementJournal } from "../../../../SettlementJournal.ts"
import { CliFailure, ofConfig } from "../failure.ts"
import * as Flags from "../flags.ts"
import * as Output from "../output.ts"
import { environmentOf } from "../settings.ts"
import * as Journal from "./contents.ts"
import type { Contents, Entry } from "./entries.ts"
import * as Entries from "./entries.ts"
import type { Location } from "./location.ts"
import * as Locations from "./location.ts"
import { retry } from "./retry.ts"

const kind = Flag.Literals("kind", ["pending", "dead-letter", "open"]).pipe(
  Flag.withDescription("Only entries of this kind"),
  Flag.optional
)

/** Reads the journal that the flag or the environment selects. */
const open = (flag: Option.Option<string>) =>
  Effect.gen(function* () {
    const env = yield* environmentOf({ baseUrl: Option.none(), subject: {} })
    const location = yield* Effect.mapError(Locations.locationOf(flag, env), ofConfig)
    if (location.kind === "none") {
      return yield* new CliFailure({
        problem: "The journal is disabled: CYCLES_JOURNAL_ENABLED is false.",
        advice: "Pass the path of a journal with --journal."
      })
    }
    return { location, contents: yield* Journal.readExisting(flag, location) }
  })

const ofKind = (entries: ReadonlyArray<Entry>, kind: Option.Option<Entry["kind"]>): ReadonlyArray<Entry> =>
  Option.isNone(kind) ? entries : entries.filter((entry) => entry.kind === kind.value)

// ---------------------------------------------------------------------------------------------------------------------
// list, export
// ---------------------------------------------------------------------------------------------------------------------

const list = Command.make("list", { journal: Flags.journal, kind, json: Flags.json }, ({ journal, json, kind }) =>
  Effect.gen(function* () {
    const { contents, location } = yield* open(journal)
    const entries = ofKind(contents.entries, kind)
    if (json) {
      return yield* Output.printJson({
        journal: location.path,
        exists: contents.exists,
        in_use: contents.usedBy !== undefined,
        damaged: contents.damaged.length,
        entries: entries.map(Entries.toJson)
      })
    }
    const now = Date.now()
    if (entries.length > 0) yield* Output.print(`${tableOf(entries, now)}\n`)
    yield* Output.print(summaryOf(location, contents))
    if (contents.usedBy !== undefined) {
      yield* Output.print(`In use, so it is read-only: ${contents.usedBy}. Its client retries the pending records.`)
    }
    if (contents.damaged.length > 0) {
      yield* Output.print(`Damaged: ${contents.damaged.slice(0, 5).map(Output.shown).join(", ")}`)
    }
  })
).pipe(
  Command.withDescription("List pending records, dead letters and open records. It changes nothing."),
  Command.withExamples([{ command: "effect-cycles journal list --kind dead-letter", description: "List dead letters" }])
)

const tableOf = (entries: ReadonlyArray<Entry>, now: number): string =>
  Output.table(
    ["KIND", "ID", "RESERVATION", "AMOUNT", "AGE", "SERVER", "NOTE"],
    entries.map((entry) => [
      entry.kind,
      entry.id,
      entry.record.reservationId,
      Entries.amountOf(entry.record),
      Output.age(now - entry.record.recordedAtMs),
      entry.record.baseUrl,
      noteOf(entry, now)
    ])
  )

const noteOf = ({ isAlive, kind, reason, record }: Entry, now: number): string => {
  if (kind === "dead-letter") return reason ?? ""
  if (kind === "open") return isAlive === true ? "its process is running" : "its process has ended: will be committed"
  const wait = record.notBeforeMs - now
  return [
    ...(record.mode === "event" ? ["charged as an event"] : []),
    ...(wait > 0 ? [`not before ${Output.age(wait)} from now`] : [])
  ].join(", ")
}

const summaryOf = ({ path }: Location, { entries, exists }: Contents): string => {
  return exists ? `${path}: ${Entries.summary(entries)}` : `${path} doesn't exist: there is no unsettled spend.`
}

const exported = Command.make("export", { journal: Flags.journal, kind }, ({ journal, kind }) =>
  Effect.gen(function* () {
    const { contents } = yield* open(journal)
    for (const entry of ofKind(contents.entries, kind)) yield* Output.printJson(Entries.toJson(entry))
    if (contents.damaged.length > 0) {
      return yield* new CliFailure({
        problem: `${Output.count(contents.damaged.length, "damaged entry", "damaged entries")} can't be exported.`
      })
    }
  })
).pipe(
  Command.withDescription("Write all entries as JSON lines. It changes nothing."),
  Command.withExamples([
    {
      command: "effect-cycles journal export --kind dead-letter > dead-letters.jsonl",
      description: "Save the dead letters"
    }
  ])
)

// ---------------------------------------------------------------------------------------------------------------------
// forget
// ---------------------------------------------------------------------------------------------------------------------

const forget = Command.make(
  "forget",
  {
    id: Argument.String("id").pipe(Argument.withDescription("The id of an entry, or of its reservation")),
    yes: Flag.Boolean("yes").pipe(
      Flag.withDescription("Confirm that the spend will never be charged"),
      Flag.withDefault(false)
    ),
    kind,
    journal: Flags.journal
  },
  ({ id, journal, kind, yes }) =>
    Effect.gen(function* () {
      const { contents, location } = yield* open(journal)
      const entry = yield* oneOf(ofKind(contents.entries, kind), location, id)
      const what = `${entry.kind} ${entry.id}: ${Entries.amountOf(entry.record)} of reservation ${Output.shown(entry.record.reservationId)}`
      if (entry.kind === "open") {
        return yield* new CliFailure({
          problem: `Can't forget ${what}. It isn't decided yet.`,
          advice: "Its process settles it, or the next client that opens the journal does."
        })
      }
      yield* Journal.requireUnused(location, contents, "Stop the process first.")
      if (!yes) {
        return yield* new CliFailure({
          problem: `Not forgotten: ${what}.`,
          advice: "This spend will then never be charged. Export it first, and repeat the command with --yes."
        })
      }
      yield* remove(location, entry)
      // The client doesn't wait for a removal, so it doesn't report that one failed.
      const after = yield* Journal.read(location)
      if (after.entries.some(({ id, kind }) => id === entry.id && kind === entry.kind)) {
        return yield* new CliFailure({
          problem: `Not forgotten: ${what}. The journal ${location.path} can't be written.`,
          advice: "Check the permissions and the space of its disk, and whether a client writes to it."
        })
      }
      yield* Output.print(`Forgotten: ${what}.`)
    })
).pipe(
  Command.withDescription("Remove one pending record or dead letter. Its spend will never be charged."),
  Command.withExamples([
    { command: "effect-cycles journal forget 3f0c9a77b1de --yes", description: "Remove one dead letter" }
  ])
)

/** The one entry that an id selects. */
const oneOf = (entries: ReadonlyArray<Entry>, { path }: Location, id: string): Effect.Effect<Entry, CliFailure> => {
  const found = Entries.select(entries, id)
  const [entry] = found
  if (entry !== undefined && found.length === 1) return Effect.succeed(entry)
  return Effect.fail(
    entry === undefined
      ? new CliFailure({
          problem: `The journal ${path} has no entry ${Output.shown(id)}.`,
          advice: "effect-cycles journal list shows the ids."
        })
      : new CliFailure({
          problem: `${found.length} entries belong to ${Output.shown(id)}: ${found.map((one) => `${one.kind} ${one.id}`).join(", ")}.`,
          advice: "Pass the id of one entry, and --kind if a pending record and a dead letter have the same id."
        })
  )
}

const remove = (
  location: Location,
  { kind, owner, reason, record, diedAtMs }: Entry
): Effect.Effect<void, CliFailure> =>
  Effect.gen(function* () {
    const store = yield* SettlementJournal
    const journal = yield* store.open(owner)
    yield* kind === "pending"
      ? journal.remove(record)
      : journal.forget({ record, reason: reason ?? "", diedAtMs: diedAtMs ?? 0 })
  }).pipe(
    Effect.scoped,
    Effect.provide(Locations.layerOf(location)),
    Effect.mapError((error) => new CliFailure({ problem: error.message }))
  )

// ---------------------------------------------------------------------------------------------------------------------
// journal
// ---------------------------------------------------------------------------------------------------------------------

/** The command `journal`. */
export const journal = Command.make("journal").pipe(
  Command.withDescription("Pending records and dead letters: spend that isn't settled"),
  Command.withSubcommands([list, retry, exported, forget])
)
