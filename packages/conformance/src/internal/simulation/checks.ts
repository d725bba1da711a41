/** The invariants of a world after everything has ended. */
import * as Effect from "effect/Effect"
import type { Disk } from "./disk.ts"
import { amountOf } from "./disk.ts"
import { leases } from "./leases.ts"
import * as Expected from "./expected.ts"
import type { Observation } from "./observation.ts"
import { ofCaller } from "./outcome.ts"
import type { Plan } from "./plan.ts"
import { agents } from "./plan.ts"
import type { Program } from "./program.ts"
import type { Requests } from "./requests.ts"
import type { Charge, Server } from "./server.ts"
import type { World } from "./world.ts"

/** A world at its end. */
export interface End {
  readonly plan: Plan
  readonly world: World
  readonly server: Server
  readonly disks: ReadonlyArray<Disk>
  readonly observations: ReadonlyArray<Observation>
  readonly programs: ReadonlyArray<Program>
  readonly requests: Requests
  readonly met: ReadonlySet<string>
  readonly report: (problem: string) => void
}

/** Checks everything. */
export const all = (end: End): void => {
  journals(end)
  books(end)
  spend(end)
  for (const observation of end.observations) for (const problem of ofCaller(observation, end.plan)) end.report(problem)
  settlements(end)
  runs(end)
  for (const problem of leases(end)) end.report(problem)
}

/** The journals are empty: everything is settled or a dead letter. */
const journals = ({ disks, report }: End): void => {
  for (const disk of disks) {
    const open = Array.from(disk.open.values()).reduce((sum, records) => sum + records.size, 0)
    if (disk.records.size > 0) {
      report(
        `${disk.records.size} records are left in journal ${disk.name}: ${Array.from(
          disk.records.values(),
          (record) => record.reservationId
        )
          .slice(0, 3)
          .join(", ")}`
      )
    }
    if (open > 0) report(`${open} open records are left in journal ${disk.name}`)
  }
}

/** The balances of the budgets show exactly the charges. */
const books = ({ report, server }: End): void => {
  for (const agent of [...Object.keys(agents), undefined]) {
    const { debt, reserved, spent } = server.books(agent)
    let charged = 0
    for (const charge of server.charges.values()) {
      if (agent === undefined || agentOf(charge, server) === agent) charged += charge.charged
    }
    const name = agent === undefined ? "the tenant" : `agent:${agent}`
    if (reserved !== 0n) report(`${reserved} are still reserved in the budget of ${name}`)
    if (spent + debt !== BigInt(charged))
      report(`the budget of ${name} shows ${spent + debt}, but ${charged} were charged`)
  }
  for (const { id, idempotencyKey, status } of server.views()) {
    if (status === "ACTIVE") report(`reservation ${id} of ${idempotencyKey} is ACTIVE at the end`)
  }
}

const agentOf = ({ agent, reservationId }: Charge, server: Server): string => {
  if (agent !== "" || reservationId === undefined) return agent
  return server.agentOf(reservationId)
}

// ---------------------------------------------------------------------------------------------------------------------
// spend
// ---------------------------------------------------------------------------------------------------------------------

/** The charges and dead letters of one key. */
interface Account {
  charged: number
  letters: number
  readonly details: Array<string>
}

/** Every known spend is charged exactly once or is a dead letter, and nothing else is charged. */
const spend = (end: End): void => {
  const { observations, plan, report, server } = end
  const journalOf = ({ call }: Observation): number | undefined => plan.clients[call.client]?.journal
  const accounts = accountsOf(end)
  const groups = new Map<string, Array<Observation>>()
  for (const observation of observations) {
    const group = groups.get(observation.name)
    if (group === undefined) groups.set(observation.name, [observation])
    else group.push(observation)
  }
  for (const [name, account] of accounts) {
    if (!groups.has(name) && account.charged > 0 && !name.startsWith("x"))
      report(`${account.charged} were charged for ${name}, which no call has spent`)
  }
  for (const [name, group] of groups) {
    const account = accounts.get(name) ?? { charged: 0, letters: 0, details: [] }
    const allowed = group.map((observation) => allowedOf(observation, end))
    const total = account.charged + account.letters
    const [first] = group
    if (first === undefined) continue
    if (first.call.key !== undefined) {
      const least = Math.max(...allowed.map((totals) => Math.min(...totals)))
      const most = allowed.reduce((sum, totals) => sum + Math.max(...totals), 0)
      const isTooMuch = group.some(({ isSettledBeforeEnd }) => !isSettledBeforeEnd)
        ? account.charged > most
        : total > most
      if (total < least || isTooMuch) {
        report(
          `${name}: charged ${account.charged}, dead letters ${account.letters}; ${least} to ${most} was expected (${account.details.join(", ")})`
        )
      }
      continue
    }
    const [totals = new Set<number>()] = allowed
    // An open record that a process has left becomes a dead letter if the final one was charged.
    const isLeft = !first.isSettledBeforeEnd || (first.program.hasClosedEarly && first.call.onCrash !== "expire")
    // With REJECT, one process may charge an event after the lease has ended, while the commit of another is refused.
    const isRaced =
      first.call.overage === "REJECT" && plan.clients.filter(({ journal }) => journal === journalOf(first)).length > 1
    const isOvertaken = (isLeft || isRaced) && totals.has(account.charged)
    if (!totals.has(total) && !isOvertaken) {
      report(
        `call ${first.call.id}: charged ${account.charged}, dead letters ${account.letters}; ${Array.from(totals).join(" or ")} was expected (${account.details.join(", ")})`
      )
    }
  }
  for (const letter of end.disks.flatMap((disk) => Array.from(disk.letters.values()))) {
    const { reservationId } = letter.record
    const isRefused =
      server.reservations.get(reservationId)?.refused.size !== 0 ||
      Array.from(server.refusedEvents).some((key) => key.endsWith(`-${server.callOf(reservationId)}`))
    if (!isRefused)
      report(`reservation ${reservationId} has a dead letter, but the server has refused nothing: ${letter.reason}`)
  }
}

const allowedOf = (observation: Observation, { disks, plan }: End): ReadonlySet<number> => {
  const { call, isSettledBeforeEnd, program, reservationId } = observation
  const disk = disks[plan.clients[call.client]?.journal ?? 0]
  const promise = reservationId === undefined ? undefined : disk?.promised.get(reservationId)
  const isDisturbed = promise?.isDisturbed === true || disk?.unopened.has(program.process) === true
  return isSettledBeforeEnd ? Expected.ofEnded(observation, isDisturbed) : Expected.ofKilled(observation, isDisturbed)
}

const accountsOf = ({ disks, server }: End): Map<string, Account> => {
  const accounts = new Map<string, Account>()
  const of = (name: string): Account => {
    const known = accounts.get(name)
    if (known !== undefined) return known
    const made: Account = { charged: 0, letters: 0, details: [] }
    accounts.set(name, made)
    return made
  }
  for (const { actual, id, key, kind, reservationId } of server.charges.values()) {
    const account = of(reservationId === undefined ? key : server.callOf(reservationId))
    account.charged += actual
    account.details.push(`${kind} ${id} ${actual}`)
  }
  for (const { letters } of disks) {
    for (const { reason, record } of letters.values()) {
      const account = of(server.callOf(record.reservationId))
      account.letters += amountOf(record)
      account.details.push(`dead letter ${amountOf(record)}: ${reason.slice(0, 60)}`)
    }
  }
  return accounts
}

// ---------------------------------------------------------------------------------------------------------------------
// reports of the client
// ---------------------------------------------------------------------------------------------------------------------

/** A settlement that the client reports is what the ledger shows. */
const settlements = ({ observations, report, server }: End): void => {
  const statuses = new Map(server.views().map(({ id, status }) => [id, status]))
  for (const { call, settlements } of observations) {
    for (const settlement of settlements) {
      if (settlement._tag === "Committed") {
        const charge = server.charges.get(settlement.reservationId)
        if (charge === undefined || BigInt(charge.charged) !== settlement.charged.amount) {
          report(
            `call ${call.id} reports ${settlement.charged.amount} as committed, the ledger shows ${charge?.charged ?? "nothing"}`
          )
        }
      }
      if (settlement._tag === "Recovered") {
        const charge = server.charges.get(settlement.eventId)
        if (charge === undefined || BigInt(charge.charged) !== settlement.charged.amount) {
          report(
            `call ${call.id} reports ${settlement.charged.amount} as recovered, the ledger shows ${charge?.charged ?? "nothing"}`
          )
        }
      }
      if (settlement._tag === "Released" && settlement.isConfirmed && call.key === undefined) {
        const status = statuses.get(settlement.reservationId)
        if (status !== "RELEASED" && status !== "EXPIRED")
          report(`call ${call.id} reports a release, but its reservation is ${status}`)
      }
    }
  }
}

/** A run holds nothing at its end, and has counted what its calls have spent. */
const runs = (end: End): void => {
  const { observations, programs, report } = end
  const accounts = accountsOf(end)
  const lettersOf = ({ name }: Observation): number => accounts.get(name)?.letters ?? 0
  for (const program of programs) {
    if (!program.hasEnded || program.hasClosedEarly) continue
    for (const [index, run] of program.runs.entries()) {
      if (run === undefined) continue
      const summary = Effect.runSync(run.summary)
      const book = summary.budgets.find(({ unit }) => unit === "TOKENS")
      const isOpen = observations.some(
        (one) => one.program === program && one.call.run !== undefined && one.exit === undefined
      )
      if (isOpen || book === undefined) continue
      if (book.held.amount !== 0n) report(`run ${index} of ${program.process.name} still holds ${book.held.amount}`)
      const rejected = observations.filter(
        (one) => one.program === program && one.call.run !== undefined && lettersOf(one) > 0
      )
      if (summary.uncertain > rejected.length) {
        report(
          `run ${index} of ${program.process.name} has ${summary.uncertain} uncertain calls, ${rejected.length} were rejected`
        )
      }
    }
  }
}
