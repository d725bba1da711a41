/**
 * Fault injection: runs every form of the client with a fault in one call of a collaborator (the transport, the journal, a
 * callback, the telemetry), for each call in turn. Then it checks the outcome and the ledger.
 *
 * A scenario is data and runs on virtual time. It has up to two processes that share a journal: faults are injected into the
 * first, and the second settles what the first one left unsettled.
 */
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import * as Cycles from "effect-cycles/Cycles"
import type { Observation } from "./internal/injection/calls.ts"
import * as Calls from "./internal/injection/calls.ts"
import type { Fault, Site } from "./internal/injection/faults.ts"
import * as Journal from "./internal/injection/journal.ts"
import type { Process } from "./internal/injection/process.ts"
import * as Processes from "./internal/injection/process.ts"
import type { Scenario } from "./internal/injection/scenario.ts"
import * as Assertions from "./internal/injection/assertions.ts"

export {
  /** Every scenario with one fault: at each call of each collaborator that a scenario without faults makes. */
  singles,
  /** The scenarios without faults. */
  plain,
  /** Scenarios with faults that cause damage only in combination. */
  together,
  /** A scenario with a few random faults. */
  combination
} from "./internal/injection/scenarios.ts"

export type {
  /** One run of the suite. */
  Scenario
} from "./internal/injection/scenario.ts"

/** The result of a scenario. */
export interface Report {
  readonly scenario: Scenario
  /** Violated assertions; empty if the scenario passed. */
  readonly violations: ReadonlyArray<string>
  /** The number of calls of each collaborator of the first process while faults were possible. */
  readonly calls: ReadonlyMap<Site, number>
  /** Planned faults that were injected. */
  readonly met: ReadonlySet<Fault>
}

/** Returns the command that runs one scenario again, in one line. */
export const reproduction = (scenario: Scenario): string =>
  `CYCLES_INJECT_SCENARIO='${JSON.stringify(scenario)}' pnpm test --project conformance FaultInjection`

/** Runs a scenario on its own virtual clock. */
export const run = (scenario: Scenario): Effect.Effect<Report> =>
  Effect.suspend(() => {
    let keys = 0
    return play(scenario).pipe(
      Effect.provideService(Cycles.IdempotencyKeyGenerator, () => `key-${(keys += 1)}`),
      Random.withSeed("fault injection"),
      Effect.provide(TestClock.layer())
    )
  })

const play = (scenario: Scenario): Effect.Effect<Report> =>
  Effect.gen(function* () {
    let ids = 0
    const server = yield* CyclesServer.makeMemoryServer({
      budgets: [
        { unit: "TOKENS", allocated: 1_000_000 },
        { unit: "CREDITS", allocated: 1_000_000 }
      ],
      makeId: () => `id-${(ids += 1)}`
    })
    const store = new Journal.Store()
    const violations: Array<string> = []
    const observations: Array<Observation> = []
    const first = yield* Processes.start(server, store, scenario.faults)
    if (first === undefined) {
      return { scenario, violations: ["the layer could not be built"], calls: new Map(), met: new Set() }
    }
    const { injector, telemetry } = first
    const call = (process: Process) =>
      Effect.gen(function* () {
        const observation = yield* process.run(Calls.start(scenario, process.injector))
        observations.push(observation)
        yield* Processes.passUntil(400_000, () => observation.exit !== undefined || process.injector.isCrashed)
        if (scenario.ending === "late") yield* TestClock.adjust(30_000)
        if (process.injector.isCrashed) return
        violations.push(...Assertions.ofCaller(scenario, observation, process.injector.met, observations.length > 1))
      })

    yield* call(first)
    if (scenario.hasKey && !injector.isCrashed) yield* call(first)
    const calls = new Map(injector.calls)
    let controls = 0
    if (!injector.isCrashed && !scenario.closesEarly) {
      yield* TestClock.adjust(30_000)
      injector.calls.forEach((count, site) => calls.set(site, count))
      injector.stop()
    }
    if (!injector.isCrashed && !scenario.closesEarly) {
      yield* TestClock.adjust(240_000)
      violations.push(...(yield* checkIdle(first, server)))
      controls += Processes.controlCalls
      const active = telemetry.valueOf("cycles_reservations_active")
      if (active !== 0 && !hasFault(injector.met, "metrics")) violations.push(`cycles_reservations_active is ${active}`)
    }
    const runsOfFirst = observations.length
    if (!injector.isCrashed) {
      const tookMs = yield* first.close
      if (tookMs === undefined && !injector.isCrashed) violations.push("closing the layer never ended")
      else if (tookMs !== undefined && tookMs > closeLimitMs) violations.push(`closing the layer took ${tookMs} ms`)
    }
    const hasCrashed = injector.isCrashed
    // The end of the process.
    injector.stop()
    injector.crash()

    yield* TestClock.adjust(scenario.restartAfter * 1_000)
    const second = yield* Processes.start(server, store, [])
    if (second === undefined) {
      violations.push("the layer of the second process could not be built")
    } else {
      yield* TestClock.adjust(60_000)
      if (scenario.hasKey) yield* call(second)
      yield* TestClock.adjust(180_000)
      violations.push(...(yield* checkIdle(second, server)))
      controls += Processes.controlCalls
      if ((yield* second.close) === undefined) violations.push("closing the layer of the second process never ended")
    }

    violations.push(
      ...(yield* ledger(scenario, server, store, observations, runsOfFirst, [first, second], hasCrashed, controls))
    )
    return { scenario, violations, calls, met: injector.met }
  })

/** The time for the flush, and for the settlements and requests that it started. */
const closeLimitMs = Processes.flushTimeoutMs + 5_000

const hasFault = (met: ReadonlySet<Fault>, site: string): boolean =>
  Array.from(met).some((fault) => fault.site.startsWith(site))

/** Checks that nothing is left to settle and that the client still works. */
const checkIdle = (process: Process, server: CyclesServer.CyclesServer) =>
  Effect.gen(function* () {
    const violations: Array<string> = []
    const active = (yield* server.reservations).filter(({ status }) => status === "ACTIVE")
    if (active.length > 0) violations.push(`${active.length} reservations are ACTIVE beyond their lease`)
    const flushed = yield* Processes.until(60_000, process.run(Cycles.flush()))
    const result = flushed?.exit._tag === "Success" ? flushed.exit.value : undefined
    if (result?.isComplete !== true || result.pending !== 0) violations.push(`flush returned ${JSON.stringify(result)}`)
    const controlled = yield* Processes.until(60_000, process.run(Processes.control))
    if (controlled?.exit._tag !== "Success") violations.push(`the following calls failed: ${String(controlled?.exit)}`)
    else if (controlled.tookMs > 3_000) violations.push(`the following calls took ${controlled.tookMs} ms`)
    return violations
  })

/** Compares the charged amounts with the recorded observations. */
const ledger = (
  scenario: Scenario,
  server: CyclesServer.CyclesServer,
  store: Journal.Store,
  observations: ReadonlyArray<Observation>,
  runsOfFirst: number,
  processes: readonly [Process, Process | undefined],
  hasCrashed: boolean,
  controls: number
) =>
  Effect.gen(function* () {
    const violations: Array<string> = []
    yield* TestClock.adjust(120_000)
    const active = (yield* server.reservations).filter(({ status }) => status === "ACTIVE")
    if (active.length > 0) violations.push(`${active.length} reservations are ACTIVE at the end`)
    if (store.records.size > 0) violations.push(`${store.records.size} records are left in the journal`)
    const open = Array.from(store.open.values()).reduce((sum, records) => sum + records.size, 0)
    if (open > 0) violations.push(`${open} open records are left in the journal`)

    const [first] = processes
    const { met } = first.injector
    const isRefused = Array.from(met).some(({ kind, site }) => site === "transport" && kind.startsWith("code"))
    const letters = Array.from(store.letters.values(), Assertions.amountOf).reduce((a, b) => a + b, 0)
    // An open record is refused if the settlement was committed but the process died before it could write the final record,
    // or if the journal wrongly reported that it was replaced.
    const hasLied = Array.from(met).some(({ kind, site }) => site === "journal.put" && kind === "lie")
    const isUnwritten = hasFault(met, "journal.") && (hasCrashed || scenario.closesEarly)
    const isOvertaken = scenario.onCrash !== "expire" && (hasLied || isUnwritten)
    if (letters > 0 && !isRefused && !isOvertaken) violations.push(`a dead letter of ${letters} without a refusal`)
    if (letters > 0) {
      const isLogged = processes.some((one) =>
        one?.telemetry.messages.some((text) => text.includes("could not be charged"))
      )
      const isCounted = processes.some((one) => (one?.telemetry.valueOf("cycles_spend_unrecorded_total") ?? 0) > 0)
      if (!isLogged && !hasFault(met, "logger")) violations.push("a dead letter that wasn't logged")
      if (!isCounted && !hasFault(met, "metrics")) violations.push("a dead letter that wasn't counted")
    }

    const charged = Number((yield* server.books("TOKENS")).spent)
    const charges = observations.map((observation, i) =>
      Assertions.chargesOf(scenario, observation, hasCrashed && i < runsOfFirst, met)
    )
    // The body may run again if a server refuses a settlement and keeps the reservation ACTIVE, or if a process ends before
    // its release, since only spend is journaled.
    const began = observations.map(({ beganAtMs }) => beganAtMs !== undefined)
    const isSettled = charges.slice(0, runsOfFirst).some((amounts, i) => began[i] === true && !amounts.includes(0))
    const isRepeated =
      began.slice(0, runsOfFirst).filter((hasBegun) => hasBegun).length > 1 ||
      (isSettled && began[runsOfFirst] === true)
    if (scenario.hasKey && isRepeated && !isRefused) violations.push("the work ran again under its key")
    const isContradicted = scenario.hasKey && isRepeated && isRefused
    const isOneKey = scenario.hasKey && scenario.form === "event"
    const allowed = isOneKey ? new Set(charges.at(-1)) : Assertions.totals(charges)
    const isExact = allowed.has(charged + letters) || ((isRefused || isOvertaken) && allowed.has(charged))
    if (!isExact && !isContradicted && !mayDiffer(scenario, first, charged + letters)) {
      violations.push(
        `charged ${charged}${letters > 0 ? `, dead letters ${letters}` : ""}; ${Array.from(allowed).join(" or ")} was expected`
      )
    }
    const controlled = Number((yield* server.books("CREDITS")).spent)
    if (controlled !== controls * Processes.controlCost)
      violations.push(`the following calls were charged ${controlled}`)
    return violations
  })

/**
 * Returns whether a charge may differ from the observations.
 *
 * Spend may be lost only if the process ended while its journal refused every write: the settlement then reported that it
 * wasn't journaled. A released reservation may be charged if the journal refused to remove its record until the end.
 */
const mayDiffer = (scenario: Scenario, { injector }: Process, accounted: number): boolean => {
  const refusedUntilTheEnd = (...refused: ReadonlyArray<Site>): boolean => {
    const faults = Array.from(injector.met).filter(({ site }) => refused.includes(site))
    return faults.length > 1 || faults.some(({ kind }) => kind.endsWith("*"))
  }
  if (!scenario.closesEarly) return false
  return accounted === 0
    ? refusedUntilTheEnd("journal.put", "journal.open")
    : scenario.onCrash !== "expire" && refusedUntilTheEnd("journal.removeOpen", "journal.put", "journal.open")
}
