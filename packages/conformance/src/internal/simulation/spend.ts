/** Every known spend is charged exactly once or is a dead letter, and nothing else is charged. */
import type { Account } from "./accounts.ts"
import { isOld } from "./accounts.ts"
import { eventKeyOf } from "./disk.ts"
import type { Group, Stage as Groups } from "./groups.ts"
import { allowedOf, groupsOf, isDisturbedBy } from "./groups.ts"
import type { Observation } from "./observation.ts"
import type { Plan } from "./plan.ts"
import type { World } from "./world.ts"
import { epochMs } from "./world.ts"

/** The parts of a world that the checks read. */
export interface Stage extends Groups {
  readonly world: World
  readonly report: (problem: string) => void
}

/** The server may have forgotten the key of an event that is older, in milliseconds. */
const oldMs = 6.9 * 86_400_000

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
  const isRacing = calls.some((call) => call.isCut || isRaced(plan, call))
  for (const name of names) {
    const account = accounts.get(name)
    if (account?.written === undefined) continue
    const { charged, details, hasOld, letters, mostWritten, written } = account
    const total = charged + letters
    if (total === written || ((isRacing || hasOld) && charged <= written && total >= written)) continue
    // A commit that finds another one with its amount takes it for its own. Otherwise it becomes a dead letter.
    if (calls.some(({ call }) => call.key !== undefined) && total >= written && total <= mostWritten) continue
    report(
      `${name}: charged ${charged}, dead letters ${letters}, but the journal has kept ${written} (${details.join(", ")})`
    )
  }
}

type Sum = Pick<Account, "charged" | "letters" | "hasOld" | "details">

const together = (accounts: ReadonlyArray<Account | undefined>): Sum => ({
  charged: accounts.reduce((sum, account) => sum + (account?.charged ?? 0), 0),
  letters: accounts.reduce((sum, account) => sum + (account?.letters ?? 0), 0),
  hasOld: accounts.some((account) => account?.hasOld === true),
  details: accounts.flatMap((account) => account?.details ?? [])
})

const ofGroup = ({ plan, report }: Stage, group: Group, first: Observation, account: Sum): void => {
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
  // A record may have been charged before it was too old, or before the server got only a part of a request.
  const mayBoth = account.hasOld || calls.some(({ isCut }) => isCut)
  const isRefused = mayBoth && account.charged <= most && total >= least
  if (isAllowed(total) || isOvertaken || isRefused) return
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
  account: Sum,
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
  const isLeft =
    account.hasOld ||
    calls.some(
      ({ call, isCut, isSettledBeforeEnd, program }) =>
        isCut || !isSettledBeforeEnd || (program.hasClosedEarly && call.onCrash !== "expire")
    )
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
const letters = ({ disks, report, server, world }: Stage): void => {
  const statuses = new Map(server.views().map(({ id, status }) => [id, status]))
  const nowMs = epochMs + world.nowMs
  for (const letter of disks.flatMap((disk) => Array.from(disk.letters.values()))) {
    const { mode, recordedAtMs, reservationId } = letter.record
    if (isOld(letter) && mode === "event" && nowMs - recordedAtMs > oldMs) continue
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
