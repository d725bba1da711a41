/** Flushes in the middle of a world: if nothing is pending, all spend of the calls that have returned is settled. */
import { accountsOf } from "./accounts.ts"
import type { Disk } from "./disk.ts"
import * as Expected from "./expected.ts"
import type { Observation } from "./observation.ts"
import type { Program } from "./program.ts"
import type { Server } from "./server.ts"

/** A flush that found nothing pending. */
export interface Flush {
  readonly name: string
  /** The calls that had returned before. */
  readonly calls: ReadonlyArray<Observation>
  /** The charges and dead letters at its end, by the key of the reserve. */
  readonly settled: ReadonlyMap<string, number>
}

/** The parts of a world that a flush shows. */
interface Stage {
  readonly disks: ReadonlyArray<Disk>
  readonly server: Server
  readonly observations: ReadonlyArray<Observation>
}

/** Records a flush that has ended now. */
export const flushOf = ({ disks, observations, server }: Stage, program: Program, startedAtMs: number): Flush => ({
  name: program.process.name,
  calls: observations.filter((one) => one.program === program && one.returnedAtWorldMs < startedAtMs),
  settled: new Map(Array.from(accountsOf(disks, server), ([name, { charged, letters }]) => [name, charged + letters]))
})

/** Returns the violations. The spend of calls that share a reservation isn't checked. */
export const flushes = (all: ReadonlyArray<Flush>, observations: ReadonlyArray<Observation>): ReadonlyArray<string> => {
  const outer = new Set(observations.map(({ call }) => call.inside))
  return all.flatMap(({ calls, name, settled }) =>
    calls.flatMap((observation) => {
      const { call, isDrawn } = observation
      const isShared = isDrawn || call.inside !== undefined || outer.has(call.id)
      if (call.form === "event" || call.key !== undefined || isShared) return []
      const least = Math.min(...Expected.ofSettled({ ...observation, late: 0 }))
      const amount = settled.get(observation.name) ?? 0
      return amount >= least
        ? []
        : [`a flush of ${name} found nothing pending, but ${amount} of ${least} of call ${call.id} were settled`]
    })
  )
}
