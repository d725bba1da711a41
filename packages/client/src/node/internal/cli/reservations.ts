/** The command `reservations`. */
import { format } from "@effect-cycles/protocol/Amount"
import { IdempotencyKey } from "@effect-cycles/protocol/Identifiers"
import { ReservationSummary, SortBy } from "@effect-cycles/protocol/Reservation"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Flags from "./flags.ts"
import * as List from "./list.ts"
import * as Output from "./output.ts"
import * as Settings from "./settings.ts"

const instant = (name: string, what: string) =>
  Flag.String(name).pipe(
    Flag.withDescription(`${what}, for example 2026-11-26T09:00:00Z`),
    Flag.withMetavar("INSTANT"),
    Flag.withSchema(Instant),
    Flag.optional
  )

const Instant = Schema.String.check(
  Schema.makeFilter((text: string) =>
    /^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(Date.parse(text))
      ? undefined
      : "Expected an ISO 8601 instant such as 2026-11-26T09:00:00Z"
  )
)

/** Lists reservations. */
export const reservations = Command.make(
  "reservations",
  {
    ...Flags.target,
    status: Flag.String("status").pipe(
      Flag.withDescription("ACTIVE, COMMITTED, RELEASED or EXPIRED"),
      Flag.map((status) => status.toUpperCase()),
      Flag.optional
    ),
    idempotencyKey: Flag.String("idempotency-key").pipe(
      Flag.withDescription("The reservation that was created under this key"),
      Flag.withSchema(IdempotencyKey),
      Flag.optional
    ),
    from: instant("from", "The earliest creation"),
    to: instant("to", "The latest creation"),
    expiresFrom: instant("expires-from", "The earliest end of the lease"),
    expiresTo: instant("expires-to", "The latest end of the lease"),
    finalizedFrom: instant("finalized-from", "The earliest commit or release"),
    finalizedTo: instant("finalized-to", "The latest commit or release"),
    sortBy: Flag.Literals("sort-by", SortBy.literals).pipe(
      Flag.withDescription("The field to sort by. Default created_at_ms"),
      Flag.withDefault("created_at_ms")
    ),
    sortDir: Flag.Literals("sort-dir", ["asc", "desc"]).pipe(
      Flag.withDescription("The direction to sort in. Default desc"),
      Flag.withDefault("desc")
    ),
    limit: Flags.limit("reservations", 50),
    json: Flags.json
  },
  (flags) =>
    Effect.gen(function* () {
      const env = yield* Settings.environmentOf({ baseUrl: flags.baseUrl, subject: Flags.subjectOf(flags) })
      const settings = yield* Settings.settings(env)
      const { dimensions: _, ...subject } = settings.config.subject ?? {}
      const query = {
        ...subject,
        status: Option.getOrUndefined(flags.status),
        idempotencyKey: Option.getOrUndefined(flags.idempotencyKey),
        from: Option.getOrUndefined(flags.from),
        to: Option.getOrUndefined(flags.to),
        expiresFrom: Option.getOrUndefined(flags.expiresFrom),
        expiresTo: Option.getOrUndefined(flags.expiresTo),
        finalizedFrom: Option.getOrUndefined(flags.finalizedFrom),
        finalizedTo: Option.getOrUndefined(flags.finalizedTo),
        sortBy: flags.sortBy,
        sortDir: flags.sortDir
      }
      yield* List.print(settings, flags, {
        rows: (client) => client.streamReservations(query),
        schema: ReservationSummary,
        tableOf,
        noun: "reservations",
        none: "No reservation matches."
      })
    })
).pipe(
  Command.withDescription("List reservations, newest first"),
  Command.withExamples([
    { command: "effect-cycles reservations --status ACTIVE", description: "List what is reserved now" },
    {
      command: "effect-cycles reservations --agent planner --from 2026-11-26T00:00:00Z --json",
      description: "List those of an agent since an instant as JSON"
    }
  ])
)

const tableOf = (rows: ReadonlyArray<ReservationSummary>): string =>
  Output.table(
    ["RESERVATION", "STATUS", "RESERVED", "COMMITTED", "CREATED", "EXPIRES", "ACTION", "SCOPE"],
    rows.map(({ action, committed, createdAtMs, expiresAtMs, reservationId, reserved, scopePath, status }) => [
      reservationId,
      status,
      format(reserved),
      committed === undefined ? "-" : format(committed),
      Output.instant(createdAtMs),
      Output.instant(expiresAtMs),
      `${action.kind} ${action.name}`,
      scopePath
    ])
  )
