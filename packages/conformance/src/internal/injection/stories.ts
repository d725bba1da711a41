/**
 * The stories of the suite: the plain ones, all of them with one fault, and random ones with a few.
 */
import type { Fault, Site } from "./faults.ts"
import { kinds, sites } from "./faults.ts"
import type { Ending, Story } from "./story.ts"

const base: Story = {
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

const story = (changes: Partial<Story>): Story => ({ ...base, ...changes })

/** The stories without faults whose every call meets every fault. */
export const plain: ReadonlyArray<Story> = [
  base,
  story({ onCrash: "recorded", settle: "wait" }),
  story({ onCrash: "estimate", records: false, ending: "failure", onFailure: "estimate" }),
  story({ settle: "background", closesEarly: true }),
  story({ ending: "failure", closesEarly: true, onCrash: "recorded", restartAfter: 100 }),
  story({ ending: "failure", onFailure: "release" }),
  story({ ending: "defect", records: false, onFailure: "estimate", settle: "background" }),
  story({ ending: "interrupt" }),
  story({ ending: "uninterruptible", closesEarly: true, restartAfter: 100 }),
  story({ ending: "timeout", records: false }),
  story({ ending: "late", onCrash: "recorded" }),
  story({ ending: "long" }),
  story({ hasKey: true, closesEarly: true }),
  story({ hasKey: true, ending: "failure", records: false }),
  story({ hasKey: true, onCrash: "recorded", settle: "background" }),
  story({ form: "stream" }),
  story({ form: "stream", ending: "take", onCrash: "recorded", closesEarly: true, restartAfter: 100 }),
  story({ form: "stream", ending: "failure", settle: "background" }),
  story({ form: "stream", ending: "interrupt", onCrash: "estimate" }),
  story({ form: "byHand" }),
  story({ form: "byHand", ending: "close", settle: "wait", onCrash: "recorded" }),
  story({ form: "byHand", ending: "release", records: false, onCrash: "estimate" }),
  story({ form: "byHand", ending: "defect", closesEarly: true }),
  story({ form: "byHand", ending: "interrupt", records: false, onFailure: "estimate", settle: "background" }),
  story({ form: "event" }),
  story({ form: "event", hasKey: true })
]

/** Every fault of a story, by the calls that it makes without one. */
export const singles = (plain: Story, calls: ReadonlyMap<Site, number>): ReadonlyArray<Story> =>
  sites.flatMap((site) =>
    Array.from({ length: Math.min(calls.get(site) ?? 0, mostCalls) }, (_, i) =>
      kinds[site].map((kind) => ({ ...plain, faults: [{ site, call: i + 1, kind }] }))
    ).flat()
  )

/** Later calls are those of scans, which are all alike. */
const mostCalls = 24

const slowCommit: ReadonlyArray<Fault> = [
  { site: "journal.put", call: 1, kind: "hang" },
  { site: "transport", call: 2, kind: "slow" },
  { site: "journal.remove", call: 1, kind: "hang" },
  { site: "journal.removeOpen", call: 1, kind: "hang" }
]

/** Faults that hurt only together, or only if the layer closes. */
export const together: ReadonlyArray<Story> = [
  story({ faults: slowCommit }),
  story({ onCrash: "recorded", faults: slowCommit }),
  story({ form: "byHand", ending: "close", onCrash: "recorded", faults: slowCommit }),
  // The journal refuses to forget what was released, and the layer closes before the next scan.
  story({
    form: "byHand",
    ending: "release",
    records: false,
    onCrash: "estimate",
    closesEarly: true,
    restartAfter: 100,
    faults: [{ site: "journal.removeOpen", call: 1, kind: "fail" }]
  }),
  story({
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

/** A story with two to four faults, the same one for the same seed. */
export const combination = (seed: number): Story => {
  const below = generator(seed)
  const pick = <A>(list: ReadonlyArray<A>, otherwise: A): A => list[below(list.length)] ?? otherwise
  const form = pick<Story["form"]>(["effect", "effect", "stream", "byHand", "event"], "effect")
  const ending = pick(endings[form], "success")
  const onFailure = pick<Story["onFailure"]>(["partial", "partial", "estimate", "release"], "partial")
  return {
    form,
    ending,
    records: below(3) > 0 && !(form === "byHand" && ending === "release"),
    settle: pick<Story["settle"]>(["attempt", "wait", "background"], "attempt"),
    onFailure,
    onCrash: pick<Story["onCrash"]>(["expire", "recorded", "estimate"], "expire"),
    hasKey: below(4) === 0,
    closesEarly: ending !== "late" && below(2) === 0,
    restartAfter: pick([0, 100], 0),
    faults: withoutContradiction(Array.from({ length: 2 + below(3) }, () => fault(below)))
  }
}

/** A server doesn't refuse a request that it has processed before: with a refusal, no other request is processed unseen. */
const withoutContradiction = (faults: ReadonlyArray<Fault>): ReadonlyArray<Fault> =>
  faults.some(({ kind, site }) => site === "transport" && kind.startsWith("code"))
    ? faults.filter(
        ({ kind, site }) => site !== "transport" || /^(code |loseRequest|hangBefore|throw$|throw\*|page )/.test(kind)
      )
    : faults

const endings: Readonly<Record<Story["form"], ReadonlyArray<Ending>>> = {
  effect: ["success", "success", "failure", "defect", "interrupt", "uninterruptible", "timeout", "late", "long"],
  stream: ["success", "failure", "defect", "interrupt", "timeout", "take", "long"],
  byHand: ["success", "failure", "defect", "interrupt", "uninterruptible", "timeout", "close", "release", "long"],
  event: ["success"]
}

/** Half of the faults are the transport's, most of the others the journal's. */
const fault = (below: (bound: number) => number): Fault => {
  const group = below(8)
  const from = sites.filter((site) =>
    group < 4 ? site === "transport" : group < 7 ? site.startsWith("journal") : !site.startsWith("journal")
  )
  const site = from[below(from.length)] ?? "transport"
  const call = 1 + below(site === "transport" ? 6 : 3)
  return { site, call, kind: kinds[site][below(kinds[site].length)] ?? "throw" }
}

/** Numbers below a bound, the same ones for the same seed. */
export const generator = (seed: number): ((bound: number) => number) => {
  let state = (seed * 2_654_435_761) >>> 0
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
  }
}
