/** Every known spend is charged exactly once or is a dead letter, and nothing else is charged. */
import type { Account } from "./accounts.ts"
import { eventKeyOf } from "./disk.ts"
import type { Group, Stage as Groups } from "./groups.ts"
import { allowedOf, groupsOf, isDisturbedBy } from "./groups.ts"
import type { Observation } from "./observation.ts"
import type { Plan } from "./plan.ts"

/** The parts of a world that the checks read. */
export interface Stage extends Groups {
  readonly report: (problem: string) => void
}

/** Checks the charges and dead letters of all calls. */
export const spend = (stage: Stage, accounts: ReadonlyMap<string, Account>): void => {
  const { report } = stage
  const groups = groupsOf(stage)
  const known = new Set(groups.flatMap(({ names }) => Array.from(names)))
  for (const [name, { charged }] of accounts) {
    if (!known.has(name) && charged > 0) report(`${charged} were charged for ${name}, which no call has spent`)
  }
  for (const group of groups) {
    const account = together(Array.from(group.names, (name) => accounts.get(name)))
    const [first] = group.calls
    if (first === undefined) continue
    if (first.call.key === undefined) ofGroup(stage, group, first, account)
    else ofKey(stage, group, first.name, account, accounts)
    journaled(stage, group, accounts)
  }
  letters(stage)
}

/**
 * Exactly the amounts that the journals have kept are charged or dead letters, also those of processes that were
 * killed. A direct event isn't journaled.
 */
const journaled = (stage: Stage, { calls, names }: Group, accounts: ReadonlyMap<string, Account>): void => {
  const { plan, report } = stage
  if (calls.some((one) => one.call.form === "event" || isDisturbedBy(stage, one))) return
  const isRacing = calls.some((call) => isRaced(plan, call))
  for (const name of names) {
    const account = accounts.get(name)
    if (account?.written === undefined) continue
    const { charged, details, letters, written } = account
    if (charged + letters === written || (isRacing && charged <= written && charged + letters >= written)) continue
    report(
      `${name}: charged ${charged}, dead letters ${letters}, but the journal has kept ${written} (${details.join(", ")})`
    )
  }
}

const together = (accounts: ReadonlyArray<Account | undefined>): Omit<Account, "written"> => ({
  charged: accounts.reduce((sum, account) => sum + (account?.charged ?? 0), 0),
  letters: accounts.reduce((sum, account) => sum + (account?.letters ?? 0), 0),
  details: accounts.flatMap((account) => account?.details ?? [])
})

const ofGroup = (
  { plan, report }: Stage,
  group: Group,
  first: Observation,
  account: Omit<Account, "written">
): void => {
  const { calls, least, most, totals } = group
  const total = account.charged + account.letters
  const isAllowed = (amount: number): boolean =>
    totals === undefined ? amount >= least && amount <= most : totals.has(amount)
  // An open record that a process has left becomes a dead letter if the final one was charged.
  const isLeft = calls.some(
    ({ call, isDrawn, isSettledBeforeEnd, program }) =>
      !isSettledBeforeEnd || (program.hasClosedEarly && (call.onCrash !== "expire" || isDrawn))
  )
  const isOvertaken = (isLeft || calls.some((call) => isRaced(plan, call))) && isAllowed(account.charged)
  if (isAllowed(total) || isOvertaken) return
  const expected = totals === undefined || totals.size > 8 ? `${least} to ${most}` : Array.from(totals).join(" or ")
  const names =
    calls.length === 1 ? `call ${first.call.id}` : `calls ${calls.map(({ call }) => call.id).join(", call ")}`
  report(
    `${names}: charged ${account.charged}, dead letters ${account.letters}; ${expected} was expected (${account.details.join(", ")})`
  )
}

/**
 * With REJECT, or while the budget is frozen, one process may charge an event after the lease has ended, while the
 * commit of another is refused.
 */
const isRaced = ({ clients }: Plan, { call }: Observation): boolean => {
  const journal = clients[call.client]?.journal
  const isRefused = call.overage === "REJECT" || call.agent === "frozen"
  return isRefused && clients.filter((client) => client.journal === journal).length > 1
}

/**
 * The calls under one caller-supplied key. Those with the same reservation have the same budget, and may spend
 * different amounts.
 */
const ofKey = (
  stage: Stage,
  { calls }: Group,
  name: string,
  account: Omit<Account, "written">,
  accounts: ReadonlyMap<string, Account>
): void => {
  const { report, server } = stage
  const byReservation = new Map<string, Array<ReadonlySet<number>>>()
  const single = new Map<string, Observation>()
  let most = 0
  for (const observation of calls) {
    const { beganAtMs, call, reservationId } = observation
    const allowed = allowedOf(stage, observation)
    most += Math.max(...allowed)
    const isApart = beganAtMs !== undefined && reservationId === undefined
    const of = isApart ? `call ${call.id}` : reservationId === undefined ? name : server.callOf(reservationId)
    const others = byReservation.get(of)
    if (others === undefined) byReservation.set(of, [allowed])
    else others.push(allowed)
    if (beganAtMs !== undefined) single.set(of, observation)
  }
  let least = 0
  for (const allowed of byReservation.values()) least += Math.max(...allowed.map((totals) => Math.min(...totals)))
  const total = account.charged + account.letters
  const isLeft = calls.some(({ isSettledBeforeEnd }) => !isSettledBeforeEnd)
  if (total < least || (isLeft ? account.charged > most : total > most)) {
    report(
      `${name}: charged ${account.charged}, dead letters ${account.letters}; ${least} to ${most} was expected (${account.details.join(", ")})`
    )
  }
  // Without a reservation, the spend has the account of the key.
  if (isLeft || calls.some((one) => one.program.hasClosedEarly || isUnplaced(one))) return
  for (const [of, observation] of single) {
    // Others under the key that haven't begun have spent nothing.
    if (calls.filter((one) => one.reservationId === observation.reservationId).length !== 1) continue
    const own = together([accounts.get(of)])
    const allowed = allowedOf(stage, observation)
    if (!allowed.has(own.charged + own.letters))
      report(
        `${of}: charged ${own.charged}, dead letters ${own.letters}; ${Array.from(allowed).join(" or ")} was expected (${own.details.join(", ")})`
      )
  }
}

/** Whether it isn't known to which reservation the spend belongs. */
const isUnplaced = ({ beganAtMs, call, reservationId }: Observation): boolean =>
  reservationId === undefined && (beganAtMs !== undefined || call.onFailure === "estimate")

/**
 * A dead letter was refused by the server for good. If the reservation has ended without a commit, that is the refusal
 * of the event.
 */
const letters = ({ disks, report, server }: Stage): void => {
  const statuses = new Map(server.views().map(({ id, status }) => [id, status]))
  for (const letter of disks.flatMap((disk) => Array.from(disk.letters.values()))) {
    const { reservationId } = letter.record
    const codes = Array.from(server.reservations.get(reservationId)?.refused.values() ?? []).flatMap((of) =>
      Array.from(of)
    )
    const isRefused =
      server.refusedEvents.has(eventKeyOf(letter.record)) ||
      codes.some((code) => !endings.has(code)) ||
      (statuses.get(reservationId) === "COMMITTED" && codes.length > 0)
    if (!isRefused)
      report(`reservation ${reservationId} has a dead letter, but the server has refused nothing: ${letter.reason}`)
  }
}

/** The codes of a reservation that isn't open: another commit may have charged it, or an event has to. */
const endings: ReadonlySet<string> = new Set(["RESERVATION_EXPIRED", "RESERVATION_FINALIZED", "IDEMPOTENCY_MISMATCH"])
