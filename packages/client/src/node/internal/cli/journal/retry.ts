/** The command `journal retry`: sends pending records, and dead letters on request, as a client does at its start. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Cycles from "../../../../Cycles.ts"
import type { JournalOwner } from "../../../../SettlementJournal.ts"
import { SettlementJournal } from "../../../../SettlementJournal.ts"
import * as NodeCycles from "../../../NodeCycles.ts"
import { CliFailure, ofConfig } from "../failure.ts"
import * as Flags from "../flags.ts"
import * as Output from "../output.ts"
import * as Settings from "../settings.ts"
import * as Journal from "./contents.ts"
import type { Contents, Entry } from "./entries.ts"
import * as Entries from "./entries.ts"
import type { Location } from "./location.ts"
import * as Locations from "./location.ts"

/** Sends the records again. */
export const retry = Command.make(
  "retry",
  {
    ids: Argument.String("id").pipe(
      Argument.withDescription("Dead letters to send again, by the id of the entry or of the reservation"),
      Argument.variadic()
    ),
    deadLetters: Flag.Boolean("dead-letters").pipe(
      Flag.withDescription("Send all dead letters again"),
      Flag.withDefault(false)
    ),
    journal: Flags.journal,
    baseUrl: Flags.target.baseUrl,
    tenant: Flags.target.tenant,
    json: Flags.json
  },
  ({ baseUrl, deadLetters, ids, journal, json, tenant }) =>
    Effect.gen(function* () {
      const env = yield* Settings.environmentOf({ baseUrl, subject: { tenant: Option.getOrUndefined(tenant) } })
      const settings = yield* Settings.settings(env)
      const location = yield* Effect.mapError(Locations.locationOf(journal, env), ofConfig)
      const owner = yield* Settings.ownerOf(settings)
      const before = yield* Journal.readExisting(journal, location)
      yield* Journal.requireUnused(
        location,
        before,
        "Its client retries the pending records itself. To send dead letters, stop the process first."
      )

      const mine = before.entries.filter((entry) => isOwned(entry, owner))
      const revived = yield* selected(mine, before.entries, ids, deadLetters)
      const sent = mine.filter((entry) => entry.kind !== "dead-letter" || revived.includes(entry))
      if (sent.length > 0) {
        yield* revive(location, owner, revived)
        yield* Cycles.flush(settings.config.flushTimeout).pipe(
          Effect.provide(
            NodeCycles.layer(settings.config, {
              connectTimeout: settings.connectTimeout,
              journal: Locations.layerOf(location)
            })
          )
        )
      }
      const after = sent.length > 0 ? yield* Journal.read(location) : before
      const results = sent.map((entry) => resultOf(entry, after))
      yield* json
        ? Output.printJson({ journal: location.path, results })
        : printResults(results, before.entries.length - mine.length)
      const open = results.filter(({ result }) => result !== "settled").length
      if (open > 0) {
        return yield* new CliFailure({
          problem: `${open} of ${Output.count(results.length, "record")} could not be settled. They stay in the journal.`,
          advice:
            "effect-cycles doctor checks the server; effect-cycles journal list shows the reasons of dead letters."
        })
      }
    })
).pipe(
  Command.withDescription(
    "Send the pending records of the configured server and tenant again. An idempotency key prevents a second charge."
  ),
  Command.withExamples([
    { command: "effect-cycles journal retry", description: "Send all pending records" },
    { command: "effect-cycles journal retry 3f0c9a77b1de", description: "Also send one dead letter" }
  ])
)

const isOwned = ({ owner }: Entry, { baseUrl, fingerprint }: JournalOwner): boolean =>
  owner.fingerprint === fingerprint && owner.baseUrl === baseUrl

/** The dead letters to send. Fails if an id selects nothing, or an entry of another server or tenant. */
const selected = (
  mine: ReadonlyArray<Entry>,
  all: ReadonlyArray<Entry>,
  ids: ReadonlyArray<string>,
  isAll: boolean
): Effect.Effect<ReadonlyArray<Entry>, CliFailure> =>
  Effect.gen(function* () {
    for (const id of ids) {
      if (Entries.select(mine, id).length > 0) continue
      const [other] = Entries.select(all, id)
      return yield* new CliFailure(
        other === undefined
          ? {
              problem: `The journal has no entry ${Output.shown(id)}.`,
              advice: "effect-cycles journal list shows the ids."
            }
          : {
              problem: `The entry ${Output.shown(id)} belongs to another server, tenant or key: ${other.owner.baseUrl}.`,
              advice: "Set CYCLES_BASE_URL, CYCLES_TENANT and CYCLES_API_KEY to those of the program that wrote it."
            }
      )
    }
    const chosen = isAll ? mine : ids.flatMap((id) => Entries.select(mine, id))
    return Array.from(new Set(chosen)).filter(({ kind }) => kind === "dead-letter")
  })

/** Turns dead letters into pending records. They are written before the dead letters are removed, so none is lost. */
const revive = (
  location: Location,
  owner: JournalOwner,
  letters: ReadonlyArray<Entry>
): Effect.Effect<void, CliFailure> =>
  Effect.gen(function* () {
    const store = yield* SettlementJournal
    const journal = yield* store.open(owner)
    for (const { diedAtMs, reason, record } of letters) {
      yield* journal.put({ ...record, notBeforeMs: 0 })
      yield* journal.forget({ record, reason: reason ?? "", diedAtMs: diedAtMs ?? 0 })
    }
  }).pipe(
    Effect.scoped,
    Effect.provide(Locations.layerOf(location)),
    Effect.mapError((error) => new CliFailure({ problem: error.message }))
  )

interface Outcome {
  readonly id: string
  readonly reservation_id: string
  readonly amount: string
  readonly result: "settled" | "pending" | "dead-letter"
  readonly reason?: string | undefined
}

const resultOf = ({ owner, record }: Entry, after: Contents): Outcome => {
  // An open record that was adopted has the id of a decided one.
  const { id } = Entries.make({ kind: "pending", owner, record })
  const left = after.entries.find((entry) => entry.id === id)
  return {
    id,
    reservation_id: record.reservationId,
    amount: Entries.amountOf(record),
    result: left === undefined ? "settled" : left.kind === "dead-letter" ? "dead-letter" : "pending",
    ...(left?.reason === undefined ? undefined : { reason: left.reason })
  }
}

const printResults = (results: ReadonlyArray<Outcome>, others: number): Effect.Effect<void> =>
  Effect.gen(function* () {
    if (results.length > 0) {
      yield* Output.print(
        Output.table(
          ["RESULT", "ID", "RESERVATION", "AMOUNT", "REASON"],
          results.map(({ amount, id, reason, reservation_id, result }) => [
            result,
            id,
            reservation_id,
            amount,
            reason ?? ""
          ])
        )
      )
    } else yield* Output.print("There is nothing to send for this server and tenant.")
    if (others > 0) {
      yield* Output.print(`Not sent: ${Output.count(others, "record")} of other servers, tenants or keys.`)
    }
  })
