/**
 * Compares the ledger of the embedded server with the expectations of a test.
 */
import type * as Amount from "@effect-cycles/protocol/Amount"
import { format, make, makeSigned } from "@effect-cycles/protocol/Amount"
import * as Subject from "@effect-cycles/protocol/Subject"
import type { CyclesServer, ReservationView } from "@effect-cycles/server/CyclesServer"
import * as Effect from "effect/Effect"

/** The difference between the expected and the actual ledger. */
export interface Mismatch {
  readonly _tag: "Mismatch"
  readonly expected: string
  readonly found: string
  readonly active: ReadonlyArray<string>
}

const mismatch = (
  expected: string,
  found: string,
  active: ReadonlyArray<ReservationView>
): Effect.Effect<never, Mismatch> => Effect.fail({ _tag: "Mismatch", expected, found, active: active.map(line) })

/** Fails with a `Mismatch` unless exactly this amount, debt included, is charged to the budget. */
export const committed = (
  server: CyclesServer,
  amount: Amount.Amount<Amount.KnownUnit>,
  scope: string | undefined
): Effect.Effect<void, Mismatch> =>
  Effect.gen(function* () {
    const expected = `exactly ${format(amount)} committed on ${pathOf(server, scope)}`
    const active = yield* activeOf(server, amount.unit, scope)
    const books = yield* Effect.catchDefect(server.books(amount.unit, scope), (defect) =>
      mismatch(
        expected,
        `the budget can't be read: ${defect instanceof Error ? defect.message : String(defect)}`,
        active
      )
    )
    const charged = books.spent + books.debt
    if (charged === amount.amount) return
    const text = (value: bigint) => format(makeSigned(amount.unit, value))
    const debt = books.debt === 0n ? "" : ` (${text(books.debt)} of it as debt)`
    return yield* mismatch(
      expected,
      `${text(charged)} committed${debt}, ${text(books.reserved)} reserved, ${text(books.remaining)} remaining of ${text(books.allocated)}`,
      active
    )
  })

/** Fails with a `Mismatch` if a reservation of the unit and scope is ACTIVE. */
export const nothingReserved = (
  server: CyclesServer,
  unit: Amount.KnownUnit | undefined,
  scope: string | undefined
): Effect.Effect<void, Mismatch> =>
  Effect.gen(function* () {
    const active = yield* activeOf(server, unit, scope)
    if (active.length === 0) return
    const where = `${unit === undefined ? "" : ` in ${unit}`} on ${pathOf(server, scope)}`
    return yield* mismatch(
      `nothing reserved${where}`,
      active.length === 1 ? "1 reservation is ACTIVE" : `${active.length} reservations are ACTIVE`,
      active
    )
  })

const pathOf = ({ tenant }: CyclesServer, scope: string | undefined): string =>
  scope === undefined || scope === "" ? `tenant:${tenant}` : `tenant:${tenant}/${scope}`

const activeOf = (
  server: CyclesServer,
  unit: string | undefined,
  scope: string | undefined
): Effect.Effect<ReadonlyArray<ReservationView>> =>
  Effect.map(server.reservations, (rows) =>
    rows.filter(
      (row) => row.status === "ACTIVE" && (unit === undefined || row.unit === unit) && isWithin(row.subject, scope)
    )
  )

/** Returns whether a subject has every segment of a scope. */
const isWithin = (subject: ReservationView["subject"], scope: string | undefined): boolean => {
  const segments = pathOfSubject(subject).split("/")
  return (scope ?? "")
    .toLowerCase()
    .split("/")
    .every((segment) => segment === "" || segments.includes(segment))
}

const pathOfSubject = (subject: ReservationView["subject"]): string => Subject.scopes(subject).at(-1) ?? ""

const line = ({ action, amount, id, subject, unit }: ReservationView): string =>
  `${id}: ${format(make(unit, amount))} for ${action.kind} ${action.name} on ${pathOfSubject(subject)}`
