/**
 * The scenarios of the suite: scenarios without faults, the same scenarios with one fault each, selected combinations of
 * faults, and random combinations.
 */
import { generator } from "../generator.ts"
import type { Fault, Site } from "./faults.ts"
import { kinds, sites } from "./faults.ts"
import type { Ending, Scenario } from "./scenario.ts"

const base: Scenario = {
  form: "effect",
  ending: "success",
  records: true,
  settle: "attempt",
  onFailure: "partial",
  onCrash: "expire",
  hasKey: false,
  closesEarly: false,
  restartAfter: 0,
  faults: []
}

const scenario = (changes: Partial<Scenario>): Scenario => ({ ...base, ...changes })

/** The scenarios without faults. Every fault is injected into each call that they make. */
export const plain: ReadonlyArray<Scenario> = [
  base,
  scenario({ onCrash: "recorded", settle: "wait" }),
  scenario({ onCrash: "estimate", records: false, ending: "failure", onFailure: "estimate" }),
  scenario({ settle: "background", closesEarly: true }),
  scenario({ ending: "failure", closesEarly: true, onCrash: "recorded", restartAfter: 100 }),
  scenario({ ending: "failure", onFailure: "release" }),
  scenario({ ending: "defect", records: false, onFailure: "estimate", settle: "background" }),
  scenario({ ending: "interrupt" }),
  scenario({ ending: "uninterruptible", closesEarly: true, restartAfter: 100 }),
  scenario({ ending: "timeout", records: false }),
  scenario({ ending: "late", onCrash: "recorded" }),
  scenario({ ending: "long" }),
  scenario({ hasKey: true, closesEarly: true }),
  scenario({ hasKey: true, ending: "failure", records: false }),
  scenario({ hasKey: true, onCrash: "recorded", settle: "background" }),
  scenario({ form: "stream" }),
  scenario({ form: "stream", ending: "take", onCrash: "recorded", closesEarly: true, restartAfter: 100 }),
  scenario({ form: "stream", ending: "failure", settle: "background" }),
  scenario({ form: "stream", ending: "interrupt", onCrash: "estimate" }),
  scenario({ form: "byHand" }),
  scenario({ form: "byHand", ending: "close", settle: "wait", onCrash: "recorded" }),
  scenario({ form: "byHand", ending: "release", records: false, onCrash: "estimate" }),
  scenario({ form: "byHand", ending: "defect", closesEarly: true }),
  scenario({ form: "byHand", ending: "interrupt", records: false, onFailure: "estimate", settle: "background" }),
  scenario({ form: "event" }),
  scenario({ form: "event", hasKey: true })
]

/** Returns one scenario per fault, for each call that the scenario makes without faults. */
export const singles = (plain: Scenario, calls: ReadonlyMap<Site, number>): ReadonlyArray<Scenario> =>
  sites.flatMap((site) =>
    Array.from({ length: Math.min(calls.get(site) ?? 0, mostCalls) }, (_, i) =>
      kinds[site].map((kind) => ({ ...plain, faults: [{ site, call: i + 1, kind }] }))
    ).flat()
  )

/** The maximum number of calls per site that get a fault. Later calls come from journal scans, which are all the same. */
const mostCalls = 24

const slowCommit: ReadonlyArray<Fault> = [
  { site: "journal.put", call: 1, kind: "hang" },
  { site: "transport", call: 2, kind: "slow" },
  { site: "journal.remove", call: 1, kind: "hang" },
  { site: "journal.removeOpen", call: 1, kind: "hang" }
]

/** Faults that cause damage only in combination, or only if the layer closes. */
export const together: ReadonlyArray<Scenario> = [
  scenario({ faults: slowCommit }),
  scenario({ onCrash: "recorded", faults: slowCommit }),
  scenario({ form: "byHand", ending: "close", onCrash: "recorded", faults: slowCommit }),
  // The journal can't remove the record of a released reservation, and the layer closes before the next scan.
  scenario({
    form: "byHand",
    ending: "release",
    records: false,
    onCrash: "estimate",
    closesEarly: true,
    restartAfter: 100,
    faults: [{ site: "journal.removeOpen", call: 1, kind: "fail" }]
  }),
  scenario({
    form: "stream",
    onCrash: "estimate",
    closesEarly: true,
    faults: [
      { site: "journal.put", call: 1, kind: "fail" },
      { site: "transport", call: 2, kind: "loseRequest*" }
    ]
  })
]

// ---------------------------------------------------------------------------------------------------------------------
// combinations
// ---------------------------------------------------------------------------------------------------------------------

/** Returns a scenario with one to four faults. The same seed returns the same scenario. */
export const combination = (seed: number): Scenario => {
  const below = generator(seed)
  const pick = <A>(list: ReadonlyArray<A>, otherwise: A): A => list[below(list.length)] ?? otherwise
  const form = pick<Scenario["form"]>(["effect", "effect", "stream", "byHand", "event"], "effect")
  const ending = pick(endings[form], "success")
  const onFailure = pick<Scenario["onFailure"]>(["partial", "partial", "estimate", "release"], "partial")
  return {
    form,
    ending,
    records: below(3) > 0 && !(form === "byHand" && ending === "release"),
    settle: pick<Scenario["settle"]>(["attempt", "wait", "background"], "attempt"),
    onFailure,
    onCrash: pick<Scenario["onCrash"]>(["expire", "recorded", "estimate"], "expire"),
    hasKey: below(4) === 0,
    closesEarly: ending !== "late" && below(2) === 0,
    restartAfter: pick([0, 100], 0),
    faults: withoutContradiction(Array.from({ length: 2 + below(3) }, () => fault(below)))
  }
}

/**
 * A server doesn't return an error for a request that it has processed. If one of the faults is an error response, removes the
 * transport faults that may hide that a request was processed.
 */
const withoutContradiction = (faults: ReadonlyArray<Fault>): ReadonlyArray<Fault> =>
  faults.some(({ kind, site }) => site === "transport" && kind.startsWith("code"))
    ? faults.filter(
        ({ kind, site }) => site !== "transport" || /^(code |loseRequest|hangBefore|throw$|throw\*|page )/.test(kind)
      )
    : faults

const endings: Readonly<Record<Scenario["form"], ReadonlyArray<Ending>>> = {
  effect: ["success", "success", "failure", "defect", "interrupt", "uninterruptible", "timeout", "late", "long"],
  stream: ["success", "failure", "defect", "interrupt", "timeout", "take", "long"],
  byHand: ["success", "failure", "defect", "interrupt", "uninterruptible", "timeout", "close", "release", "long"],
  event: ["success"]
}

/** Half of the faults are in the transport, and most of the others in the journal. */
const fault = (below: (bound: number) => number): Fault => {
  const group = below(8)
  const from = sites.filter((site) =>
    group < 4 ? site === "transport" : group < 7 ? site.startsWith("journal") : !site.startsWith("journal")
  )
  const site = from[below(from.length)] ?? "transport"
  const call = 1 + below(site === "transport" ? 6 : 3)
  return { site, call, kind: kinds[site][below(kinds[site].length)] ?? "throw" }
}
