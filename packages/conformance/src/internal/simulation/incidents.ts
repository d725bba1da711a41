/** The incidents of a world: they happen to a client, a machine, the network or the server. */
import * as Effect from "effect/Effect"
import * as Cycles from "effect-cycles/Cycles"
import type { Chaos } from "./chaos.ts"
import type { Disk } from "./disk.ts"
import type { Network } from "./network.ts"
import type { Incident, Plan } from "./plan.ts"
import type { Program } from "./program.ts"
import * as Programs from "./program.ts"
import type { Server } from "./server.ts"
import type { World } from "./world.ts"

/** The parts of a world that incidents change. */
export interface Stage {
  readonly plan: Plan
  readonly world: World
  readonly chaos: Chaos
  readonly disks: ReadonlyArray<Disk>
  readonly server: Server
  readonly network: Network
  readonly programs: ReadonlyArray<Program>
  /** The program of a client that takes new calls. */
  readonly running: (client: number) => Program | undefined
  /** Kills the processes of a client, which starts again after a time. */
  readonly kill: (client: number, restartAfterMs: number) => void
  /** Closes the layer of a client, which starts again after a time. */
  readonly close: (client: number, restartAfterMs: number) => void
  /** Kills all processes of a journal. They start again at the end, days later. */
  readonly vanish: (journal: number) => void
  /** The result of a flush in the middle of the world. */
  readonly flushed: (program: Program, startedAtMs: number, isComplete: boolean) => void
}

/** Lets an incident happen. */
export const happen = (stage: Stage, incident: Incident): void => {
  const { chaos, disks, network, plan, server, world } = stage
  const { forMs, id, what, whom } = incident
  if (!chaos.allows(`incident ${id} ${what}`)) return
  const note = (text: string): void => world.trace.add(world.nowMs, "world", text)
  const clientsOf = (journal: number): ReadonlyArray<number> =>
    Array.from(plan.clients.keys()).filter((client) => plan.clients[client]?.journal === journal)
  const during = (counts: Map<number, number>, client: number): void => {
    counts.set(client, (counts.get(client) ?? 0) + 1)
    world.at(forMs, () => counts.set(client, (counts.get(client) ?? 1) - 1))
  }
  switch (what) {
    case "kill":
      return stage.kill(whom, forMs)
    case "powerLoss":
      note(`journal j${whom} loses its power`)
      for (const client of clientsOf(whom)) stage.kill(client, forMs)
      return disks[whom]?.losePower()
    case "vanish":
      note(`the machine of journal j${whom} is off until the end`)
      return stage.vanish(whom)
    case "close":
      return stage.close(whom, forMs)
    case "flush":
      return flush(stage, whom)
    case "partition":
      note(`client ${whom} is cut off for ${forMs} ms`)
      return during(network.partitioned, whom)
    case "deaf":
      note(`the clients of journal j${whom} get no responses for ${forMs} ms`)
      for (const client of clientsOf(whom)) during(network.deaf, client)
      return
    case "serverDown":
      // It crashes when it has handled requests and not responded to them.
      return server.crashAtCommit(id, () => {
        note(`the server restarts, down for ${forMs} ms`)
        network.serverOutages += 1
        world.at(forMs, () => (network.serverOutages -= 1))
      })
    case "diskFull": {
      const disk = disks[whom]
      if (disk === undefined) return
      note(`the disk of journal j${whom} is full for ${forMs} ms`)
      disk.full += 1
      return void world.at(forMs, () => (disk.full -= 1))
    }
    case "wallJump":
      note(`the wall clock of client ${whom} jumps by ${jumpOf(incident)} ms`)
      for (const { client, process } of stage.programs) if (client === whom) process.wallOffsetMs += jumpOf(incident)
      return
    case "freeze":
      note(`the budget of agent:frozen is frozen for ${forMs} ms`)
      server.setFrozen(true)
      return void world.at(forMs, () => server.setFrozen(false))
    case "credit":
      note("the budget of agent:small is raised by 10000")
      return server.credit(10_000)
  }
}

/** The jump of a wall clock, in milliseconds: up to two minutes, or days, forward or back. */
const jumpOf = ({ forMs }: Incident): number => (forMs >= 0 && forMs < 100_000 ? forMs * 2 - 60_000 : forMs)

const flush = (stage: Stage, client: number): void => {
  const { world } = stage
  const program = stage.running(client)
  if (program === undefined) return
  const startedAtMs = world.nowMs
  world.current = program.process
  world.trace.add(startedAtMs, program.process.name, "flushes")
  Programs.fork(
    program,
    Effect.map(Cycles.flush("30 seconds"), ({ isComplete, pending }) => {
      if (program.process.isDead) return
      world.trace.add(world.nowMs, program.process.name, `has flushed: ${pending} pending`)
      stage.flushed(program, startedAtMs, isComplete && pending === 0)
    })
  )
}
