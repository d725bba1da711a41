/**
 * Runs a world: starts its programs, makes its calls, injects its faults, waits until nothing is left to do, and checks
 * it.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Effect from "effect/Effect"
import * as Cycles from "effect-cycles/Cycles"
import * as Calls from "./calls.ts"
import { Chaos } from "./chaos.ts"
import * as Checks from "./checks.ts"
import { Disk } from "./disk.ts"
import type { Flush } from "./flushes.ts"
import { flushOf } from "./flushes.ts"
import { controlled } from "./globals.ts"
import * as Incidents from "./incidents.ts"
import { Network } from "./network.ts"
import type { Observation } from "./observation.ts"
import type { Call, Plan } from "./plan.ts"
import type { Program } from "./program.ts"
import * as Programs from "./program.ts"
import { Requests } from "./requests.ts"
import type { Server } from "./server.ts"
import * as Servers from "./server.ts"
import type { Line } from "./trace.ts"
import { Process, World } from "./world.ts"

/** The result of a world. */
export interface Result {
  /** Violated invariants; empty if the world is correct. */
  readonly violations: ReadonlyArray<string>
  /** The hash of everything that happened. */
  readonly hash: string
  readonly events: number
  /** The identities of the injected faults. */
  readonly met: ReadonlySet<string>
  /** The trace; empty unless it was recorded. */
  readonly lines: ReadonlyArray<Line>
  /** The calls that were made. */
  readonly lifecycles: number
  /** The virtual time that passed, in milliseconds. */
  readonly virtualMs: number
}

/** Runs a world. `only` limits its faults to those with the given identities. */
export const run = async (
  plan: Plan,
  options?: { readonly only?: ReadonlySet<string> | undefined; readonly isRecorded?: boolean | undefined }
): Promise<Result> => {
  const world = new World(options?.isRecorded === true)
  const stage = new Stage(plan, world, new Chaos(plan.seed, options?.only))
  await controlled(world, plan.seed, stage.report, () => stage.play())
  return {
    violations: Array.from(stage.violations),
    hash: world.trace.hash,
    events: world.trace.count,
    met: stage.chaos.met,
    lines: world.trace.lines,
    lifecycles: stage.observations.length,
    virtualMs: world.nowMs
  }
}

/** How long after the last call faults are injected, in milliseconds. */
const afterMs = 60_000

/** How long the clients stay open without faults. Leases, retries and scans end within it. */
const quietMs = 300_000

/** The longest that the calls may take to return. */
const returnMs = 1_500_000

/** The longest lease without extensions, and its grace period. */
const longestLeaseMs = 610_000

/** How long a machine is off: longer than the server keeps the keys of events, in milliseconds. */
const offMs = 8 * 86_400_000

/** The most violations that are reported. */
const mostViolations = 12

class Stage {
  readonly plan: Plan
  readonly world: World
  readonly chaos: Chaos
  readonly violations = new Set<string>()
  readonly observations: Array<Observation> = []
  readonly disks: ReadonlyArray<Disk>
  readonly server: Server
  readonly requests: Requests
  readonly #network: Network
  readonly #incidents: Incidents.Stage
  readonly #flushes: Array<Flush> = []
  readonly #programs: Array<Program> = []
  /** The program of each client that takes new calls; `undefined` while it is down. */
  readonly #running: Array<Program | undefined>
  readonly #waiting: Array<Array<Call>>
  readonly #incarnations: Array<number>
  /** The journals whose machines are off until the end. */
  readonly #vanished = new Set<number>()
  #isEnding = false

  constructor(plan: Plan, world: World, chaos: Chaos) {
    this.plan = plan
    this.world = world
    this.chaos = chaos
    this.disks = Array.from(
      { length: plan.journals },
      (_, index) => new Disk(world, chaos, `j${index}`, plan.rates.disk)
    )
    const machine = new Process(world, "server", { rate: 1, wallOffsetMs: 0 })
    this.server = Servers.make(world, chaos, machine, this.report)
    this.requests = new Requests(world, this.server, this.report)
    this.#network = new Network({
      world,
      chaos,
      server: this.server,
      rate: plan.rates.net,
      latencyMs: plan.rates.latencyMs,
      onSend: (process, message) => {
        const program = this.#programs.find((one) => one.process === process)
        const journal = program === undefined ? undefined : plan.clients[program.client]?.journal
        this.requests.check(process, message, journal === undefined ? undefined : this.disks[journal])
        return this.requests.begin(process, message)
      }
    })
    this.#incidents = {
      plan,
      world,
      chaos,
      disks: this.disks,
      server: this.server,
      network: this.#network,
      programs: this.#programs,
      running: (client) => this.#running[client],
      kill: (client, restartAfterMs) => this.#kill(client, restartAfterMs),
      close: (client, restartAfterMs) => this.#close(client, restartAfterMs),
      vanish: (journal) => this.#vanish(journal),
      flushed: (program, startedAtMs, isComplete) => {
        if (isComplete) this.#flushes.push(flushOf(this, program, startedAtMs))
      }
    }
    this.#running = plan.clients.map(() => undefined)
    this.#waiting = plan.clients.map(() => [])
    this.#incarnations = plan.clients.map(() => 0)
  }

  readonly report = (problem: string): void => {
    if (this.violations.size >= mostViolations || this.violations.has(problem)) return
    this.violations.add(problem)
    this.world.trace.add(this.world.nowMs, "check", "violation", () => problem)
  }

  async play(): Promise<void> {
    const { plan, world } = this
    const callers = new Set(plan.calls.map(({ client }) => client))
    for (const index of plan.clients.keys()) if (callers.has(index)) world.at(index * 10, () => this.#start(index))
    // A call inside another one is made by the body of that one.
    for (const call of plan.calls) if (call.inside === undefined) world.at(call.atMs, () => this.#call(call))
    for (const incident of plan.incidents) world.at(incident.atMs, () => Incidents.happen(this.#incidents, incident))
    const quietAtMs = plan.untilMs + afterMs
    world.at(quietAtMs, () => this.chaos.end())
    await world.run(() => false, quietAtMs + 95_000)
    const isBack = (): boolean =>
      this.observations.every(({ exit, program }) => exit !== undefined || program.process.isDead)
    if (!(await world.run(isBack, world.nowMs + returnMs))) {
      const lost = this.observations.filter(({ exit, program }) => exit === undefined && !program.process.isDead)
      for (const { call } of lost.slice(0, 3)) this.report(`call ${call.id} never returned`)
    }
    // Time passes even if no process is left.
    world.at(quietMs, () => {})
    await world.run(() => false, world.nowMs + quietMs)
    await this.#checkIdle()
    await this.#closeAll()
    await this.#replay()
    const disturbed = new Set(Array.from(this.chaos.late, (identity) => /^net event (\S+)/.exec(identity)?.[1]))
    const cut = new Set(
      Array.from(this.chaos.cut, (identity) => /^net \w+ (?:(?:commit|late\d+)-)?(\S+)/.exec(identity)?.[1])
    )
    const hasCutUnreserved = Array.from(cut).some((name) => name?.startsWith("unreserved-"))
    for (const observation of this.observations) {
      const { call, name, reservationId } = observation
      observation.isCut =
        cut.has(name) || (reservationId === undefined ? hasCutUnreserved : cut.has(this.server.callOf(reservationId)))
      observation.isDisturbed = disturbed.has(name)
      observation.isDrawn =
        call.key === undefined && reservationId !== undefined && this.server.callOf(reservationId) !== name
    }
    Checks.all({
      plan,
      world,
      server: this.server,
      disks: this.disks,
      observations: this.observations,
      programs: this.#programs,
      requests: this.requests,
      met: this.chaos.met,
      flushes: this.#flushes,
      report: this.report
    })
  }

  // -------------------------------------------------------------------------------------------------------------------
  // programs and calls
  // -------------------------------------------------------------------------------------------------------------------

  #start(index: number): void {
    const { chaos, disks, plan, world } = this
    const client = plan.clients[index]
    const disk = client === undefined ? undefined : disks[client.journal]
    if (client === undefined || disk === undefined || this.#vanished.has(client.journal)) return
    const incarnation = this.#incarnations[index] ?? 0
    this.#incarnations[index] = incarnation + 1
    world.trace.add(
      world.nowMs,
      `client ${index}`,
      incarnation === 0 ? "starts" : "starts again",
      () => `on journal ${disk.name}`
    )
    const program = Programs.start(
      {
        world,
        chaos,
        network: this.#network,
        disk,
        tenant: this.server.tenant,
        baseUrl: this.server.baseUrl,
        apiKey: this.server.apiKey,
        telemetryRate: plan.rates.telemetry,
        seed: plan.seed
      },
      client,
      index,
      incarnation,
      (ready) => {
        if (ready.process.isDead) return
        this.#running[index] = ready
        for (const call of this.#waiting[index]?.splice(0) ?? []) this.#call(call)
      }
    )
    this.#programs.push(program)
  }

  #call(call: Call): void {
    const program = this.#running[call.client]
    if (program === undefined) {
      this.#waiting[call.client]?.push(call)
      return
    }
    this.world.current = program.process
    const { observations, plan, world } = this
    const isLeft = ({ client }: Program, id: string, atMs: number): boolean =>
      this.disks[plan.clients[client]?.journal ?? 0]?.isLeft(id, atMs) === true
    Calls.start({ world, calls: plan.calls, observations, isLeft }, program, call)
  }

  #kill(index: number, restartAfterMs: number): void {
    const living = this.#programs.filter(({ client, process }) => client === index && !process.isDead)
    for (const { process } of living) {
      process.kill()
      this.world.trace.add(this.world.nowMs, process.name, "is killed")
    }
    this.#running[index] = undefined
    if (living.length > 0) this.world.at(restartAfterMs, () => this.#start(index))
  }

  // -------------------------------------------------------------------------------------------------------------------
  // incidents
  // -------------------------------------------------------------------------------------------------------------------

  #close(index: number, restartAfterMs: number): void {
    const { world } = this
    const program = this.#running[index]
    if (program === undefined) return
    world.trace.add(world.nowMs, program.process.name, "closes its layer")
    this.#running[index] = undefined
    world.current = program.process
    program.hasClosedEarly = true
    Programs.close(program, () => {
      world.trace.add(world.nowMs, program.process.name, "has closed its layer")
      if (!program.process.isDead && !this.#isEnding) world.at(restartAfterMs, () => this.#startUnlessRunning(index))
    })
  }

  #vanish(journal: number): void {
    this.#vanished.add(journal)
    for (const [index, client] of this.plan.clients.entries()) if (client.journal === journal) this.#kill(index, 0)
  }

  #startUnlessRunning(index: number): void {
    if (this.#running[index] === undefined && !this.#isEnding) this.#start(index)
  }

  // -------------------------------------------------------------------------------------------------------------------
  // the end
  // -------------------------------------------------------------------------------------------------------------------

  get #open(): ReadonlyArray<Program> {
    return this.#programs.filter(
      ({ closingAtMs, context, process }) =>
        !process.isDead && closingAtMs === Number.POSITIVE_INFINITY && context !== undefined
    )
  }

  #endOf(key: string): number {
    for (const reservation of this.server.reservations.values())
      if (reservation.key === key) return reservation.endsAtMs + reservation.graceMs
    return 0
  }

  /** Checks that nothing is left to settle, and that the clients still work. */
  async #checkIdle(): Promise<void> {
    const { world } = this
    // Pools and runs keep their reservations until their program ends.
    const isKept = (key: string): boolean =>
      // The lease of a run is longer than the time after a kill.
      (key.startsWith("H") && this.#endOf(key) > world.nowMs) ||
      this.#open.some((one) => one.lenders.some((name) => key === name || key.startsWith(`${name}.`)))
    const active = this.server
      .views()
      .filter(({ idempotencyKey, status }) => status === "ACTIVE" && !isKept(idempotencyKey))
    for (const { id, idempotencyKey } of active.slice(0, 3))
      this.report(`reservation ${id} of ${idempotencyKey} outlives its lease`)
    for (const program of this.#open) {
      const flushed = Programs.fork(program, Cycles.flush("30 seconds"))
      await world.run(() => flushed.pollUnsafe() !== undefined, world.nowMs + 60_000)
      const exit = flushed.pollUnsafe()
      const result = exit?._tag === "Success" ? exit.value : undefined
      if (result?.isComplete !== true || result.pending !== 0) {
        this.report(`flush of ${program.process.name} returned ${JSON.stringify(result)} at the end`)
      }
      const beforeMs = world.nowMs
      const controlled = Programs.fork(program, control)
      await world.run(() => controlled.pollUnsafe() !== undefined, world.nowMs + 60_000)
      if (controlled.pollUnsafe()?._tag !== "Success")
        this.report(`the last calls of ${program.process.name} failed: ${controlled.pollUnsafe()?.toString()}`)
      else if (world.nowMs - beforeMs > 3_000)
        this.report(`the last calls of ${program.process.name} took ${world.nowMs - beforeMs} ms`)
    }
  }

  async #closeAll(): Promise<void> {
    const { world } = this
    this.#isEnding = true
    for (const program of this.#open) Programs.close(program, () => {})
    const isClosed = (): boolean => this.#programs.every((one) => one.isClosed || one.process.isDead)
    if (!(await world.run(isClosed, world.nowMs + 60_000))) this.report("closing a layer never ended")
    await world.run(() => false, world.nowMs + 60_000)
    for (const observation of this.observations) observation.isSettledBeforeEnd = !observation.program.process.isDead
    for (const program of this.#programs) {
      const { process } = program
      if (process.isDead) continue
      program.hasEnded = true
      if (process.timers > 0) this.report(`${process.name} has ${process.timers} timers left`)
      if (process.fibers > 0) this.report(`${process.name} has ${process.fibers} fibers left`)
      process.kill()
    }
  }

  /** Opens every journal once more, so that it can settle the records that the processes left. */
  async #replay(): Promise<void> {
    const { world } = this
    if (this.#vanished.size > 0) {
      world.at(offMs, () => {})
      await world.run(() => false, world.nowMs + offMs)
      this.#vanished.clear()
      for (const calls of this.#waiting) calls.splice(0)
    }
    const used = new Set(this.#programs.map(({ client }) => this.plan.clients[client]?.journal))
    const started = new Set<number>()
    for (const [index, { journal }] of this.plan.clients.entries()) {
      if (!used.has(journal) || (started.has(journal) && !this.plan.isReplayedByAll)) continue
      started.add(journal)
      this.#start(index)
    }
    await world.run(() => false, world.nowMs + 120_000)
    for (const program of this.#open) Programs.close(program, () => {})
    // The leases of runs end.
    world.at(longestLeaseMs, () => {})
    await world.run(() => false, world.nowMs + longestLeaseMs)
  }
}

/** Guarded calls that succeed only if the client has released its slots. */
const control = Effect.forEach(
  Array.from({ length: 4 }),
  () =>
    Cycles.withCycles(Effect.sleep(100), {
      action: { kind: "llm.completion", name: "test:control" },
      estimate: Amount.tokens(1),
      subject: { agent: "big" },
      actual: () => Amount.tokens(0),
      onUnsettled: "fail"
    }),
  { concurrency: "unbounded", discard: true }
)
