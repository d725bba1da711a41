/** The ledgers of runs: they hold nothing at their end, and have counted what their calls have spent. */
import * as Effect from "effect/Effect"
import type { Account } from "./accounts.ts"
import type { Group } from "./groups.ts"
import type { Observation } from "./observation.ts"
import type { Plan } from "./plan.ts"
import type { Program } from "./program.ts"

/** The parts of a world that the checks read. */
export interface Stage {
  readonly plan: Plan
  readonly observations: ReadonlyArray<Observation>
  readonly programs: ReadonlyArray<Program>
  readonly report: (problem: string) => void
}

/** Checks the runs of programs that weren't killed or closed. */
export const runs = (
  { observations, plan, programs, report }: Stage,
  accounts: ReadonlyMap<string, Account>,
  totalOf: (calls: ReadonlyArray<Observation>) => Pick<Group, "least" | "most" | "totals">
): void => {
  for (const program of programs) {
    if (!program.hasEnded || program.hasClosedEarly) continue
    for (const [index, run] of program.runs.entries()) {
      if (run === undefined) continue
      const summary = Effect.runSync(run.summary)
      const book = summary.budgets.find(({ unit }) => unit === "TOKENS")
      const calls = observations.filter((one) => one.program === program && one.call.run !== undefined)
      if (calls.some(({ exit }) => exit === undefined) || book === undefined) continue
      const name = `run ${index} of ${program.process.name}`
      if (book.held.amount !== 0n) report(`${name} still holds ${book.held.amount}`)
      const rejected = calls.filter((one) => (accounts.get(one.name)?.letters ?? 0) > 0)
      const isShared = calls.some(({ call, isDrawn }) => call.inside !== undefined || isDrawn)
      if (!isShared && summary.uncertain > rejected.length) {
        report(`${name} has ${summary.uncertain} uncertain calls, ${rejected.length} were rejected`)
      }
      const runPlans = plan.clients[program.client]?.runs ?? []
      const isWithin = (at: number | undefined): boolean =>
        at !== undefined && (at === index || (program.runs[at] !== undefined && isWithin(runPlans[at]?.parent)))
      const { least, most, totals } = totalOf(calls.filter(({ call }) => isWithin(call.run)))
      const charged = Number(book.charged.amount)
      if (charged < least || charged > most || (totals !== undefined && !totals.has(charged))) {
        report(`${name} has counted ${charged}, but its calls have spent ${least} to ${most}`)
      }
    }
  }
}
