/** The invariants of a world after everything has ended. */
import type { Disk } from "./disk.ts"
import type { Flush } from "./flushes.ts"
import { flushes } from "./flushes.ts"
import { leases } from "./leases.ts"
import { lenders } from "./lenders.ts"
import { options } from "./options.ts"
import { runs } from "./runs.ts"
import { spend } from "./spend.ts"
import { accountsOf } from "./accounts.ts"
import { totalOf } from "./groups.ts"
import type { Observation } from "./observation.ts"
import { ofCaller } from "./outcome.ts"
import type { Plan } from "./plan.ts"
import { agents } from "./plan.ts"
import type { Program } from "./program.ts"
import type { Requests } from "./requests.ts"
import type { Charge } from "./observer.ts"
import type { Server } from "./server.ts"
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
  readonly flushes: ReadonlyArray<Flush>
  readonly report: (problem: string) => void
}

/** Checks everything. */
export const all = (end: End): void => {
  journals(end)
  books(end)
  const accounts = accountsOf(end.disks, end.server)
  spend(end, accounts)
  for (const observation of end.observations) for (const problem of ofCaller(observation, end.plan)) end.report(problem)
  settlements(end)
  runs(end, accounts, (calls) => totalOf(end, calls))
  for (const problem of lenders(end)) end.report(problem)
  for (const problem of leases(end)) end.report(problem)
  for (const problem of options(end)) end.report(problem)
  for (const problem of flushes(end.flushes, end.observations)) end.report(problem)
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
// reports of the client
// ---------------------------------------------------------------------------------------------------------------------

/** Each settlement that the client reports matches the ledger. */
const settlements = ({ observations, report, server }: End): void => {
  const statuses = new Map(server.views().map(({ id, status }) => [id, status]))
  for (const { call, settlements } of observations) {
    for (const settlement of settlements) {
      if (settlement._tag === "Committed" || settlement._tag === "Recovered") {
        const isCommitted = settlement._tag === "Committed"
        const charge = server.charges.get(isCommitted ? settlement.reservationId : settlement.eventId)
        if (charge === undefined || BigInt(charge.charged) !== settlement.charged.amount) {
          const as = isCommitted ? "committed" : "recovered"
          report(
            `call ${call.id} reports ${settlement.charged.amount} as ${as}, the ledger shows ${charge?.charged ?? "nothing"}`
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
