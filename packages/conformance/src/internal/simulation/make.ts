/** Makes the world of a seed. */
import type { Heartbeat } from "effect-cycles/Heartbeat"
import type { OnCrash, OnFailure, Settle } from "effect-cycles/CyclesConfig"
import type { Below } from "../generator.ts"
import { generator, pick } from "../generator.ts"
import { withForms } from "./forms.ts"
import { withRarities } from "./rarities.ts"
import type { Call, Client, Ending, Incident, Plan, Rates, RunPlan } from "./plan.ts"

/** Makes the world of a seed. */
export const make = (seed: number, lifecycles: number): Plan => {
  const below = generator(seed)
  const kind = kinds[below(kinds.length)] ?? "mixed"
  const isIdle = kind === "idle"
  const clientCount = 1 + below(6)
  const journals = 1 + below(Math.min(3, clientCount))
  const untilMs = isIdle ? 400_000 : 60_000 + below(6) * 60_000
  const clients = Array.from({ length: clientCount }, (_, index) => client(below, index % journals))
  const calls = Array.from({ length: lifecycles }, (_, id) => call(below, id, kind, untilMs, clients))
  const plan = withForms({
    seed,
    untilMs,
    journals,
    isReplayedByAll: false,
    clients,
    calls: calls.toSorted((a, b) => a.atMs - b.atMs),
    incidents: incidents(below, kind, untilMs, clientCount, journals),
    rates: rates(below, kind)
  })
  return withRarities(plan)
}

type Kind = (typeof kinds)[number]

/** A world concentrates on some faults, so that they meet often. */
const kinds = [
  "calm",
  "mixed",
  "mixed",
  "network",
  "network",
  "crashes",
  "crashes",
  "disk",
  "budgets",
  "keys",
  "idle"
] as const

const rates = (below: Below, kind: Kind): Rates => {
  const level = (high: number): number => (below(4) === 0 ? 0 : (high * (1 + below(4))) / 4)
  const latencyMs = pick(below, [10, 50, 200])
  if (kind === "calm") return { net: 0, disk: 0, telemetry: 0, latencyMs }
  if (kind === "idle") return { net: level(0.02), disk: level(0.02), telemetry: 0, latencyMs }
  return {
    net: level(kind === "network" ? 0.4 : 0.12),
    disk: level(kind === "disk" ? 0.3 : 0.04),
    telemetry: below(4) === 0 ? level(0.02) : 0,
    latencyMs
  }
}

const client = (below: Below, journal: number): Client => ({
  journal,
  rate: 1 + (below(5) - 2) * 0.001,
  wallOffsetMs: below(3) === 0 ? (below(21) - 10) * 1_000 : 0,
  maxConcurrency: pick(below, [64, 16, 4, 3]),
  maxRetryAfterMs: pick(below, [0, 0, 5_000]),
  runs: Array.from({ length: below(3) }, (_, index) => ({
    budget: 2_000 + below(30) * 1_000,
    parent: index > 0 && below(2) === 0 ? index - 1 : undefined,
    share: pick<RunPlan["share"]>(below, ["remaining", "carve"]),
    hold: false
  })),
  pool: undefined
})

const endings: Readonly<Record<Call["form"], readonly [Ending, ...ReadonlyArray<Ending>]>> = {
  effect: ["success", "success", "success", "failure", "defect", "late"],
  stream: ["success", "success", "failure", "defect", "take"],
  byHand: ["success", "success", "failure", "defect", "close", "release"],
  event: ["success"]
}

const call = (below: Below, id: number, kind: Kind, untilMs: number, clients: ReadonlyArray<Client>): Call => {
  const form = pick<Call["form"]>(below, ["effect", "effect", "effect", "stream", "byHand", "byHand", "event", "event"])
  const owner = below(clients.length)
  const runs = clients[owner]?.runs.length ?? 0
  const ttlMs = pick(below, [8_000, 20_000, 60_000])
  const isLong = kind === "idle" || below(8) === 0
  const estimate = 100 + below(20) * 50
  const key = form !== "event" && below(kind === "keys" ? 2 : 12) === 0 ? below(kind === "keys" ? 20 : 200) : undefined
  const made: Call = {
    id,
    client: owner,
    atMs: kind === "idle" ? below(5_000) : below(untilMs),
    form,
    ending: pick(below, endings[form]),
    bodyMs: isLong ? below(8 * ttlMs) : below(3_000),
    ttlMs,
    records: below(3) > 0,
    recordedShare: below(6) === 0 ? 1.25 : 0.5,
    settle: pick<Settle>(below, ["attempt", "attempt", "wait", "background"]),
    onFailure: pick<OnFailure>(below, ["partial", "partial", "estimate", "release"]),
    onCrash: pick<OnCrash>(below, ["expire", "expire", "recorded", "estimate"]),
    heartbeat: pick<Heartbeat>(below, ["warn", "warn", "failOnFinalize", "cancel"]),
    onUnsettled: below(4) === 0 ? "fail" : "report",
    overage: pick<Call["overage"]>(below, [
      "ALLOW_IF_AVAILABLE",
      "ALLOW_IF_AVAILABLE",
      "REJECT",
      "ALLOW_WITH_OVERDRAFT"
    ]),
    estimate,
    actual: 10 + (below(10) === 0 ? estimate + below(500) : below(estimate)),
    agent:
      kind === "budgets"
        ? pick(below, ["small", "frozen", "overdraft"])
        : below(6) > 0
          ? "big"
          : pick(below, ["small", "frozen", "overdraft"]),
    key,
    run: runs > 0 && below(2) === 0 ? below(runs) : undefined,
    isInPool: false,
    inside: undefined,
    isDetached: false,
    onUnreachable: "fail",
    onRepeat: "refuse",
    interruptAfterMs: below(5) === 0 ? below(isLong ? 60_000 : 4_000) : undefined,
    isUninterruptible: below(6) === 0,
    broken: below(12) === 0 ? pick(below, ["actual", "metrics", "onSettled throws", "onSettled hangs"]) : undefined,
    lateRecords: 1
  }
  // A repeated key needs a repeated request.
  return key === undefined
    ? made
    : { ...made, estimate: 500 + key, ttlMs: 20_000, agent: "big", overage: "ALLOW_IF_AVAILABLE", run: undefined }
}

const incidents = (
  below: Below,
  kind: Kind,
  untilMs: number,
  clientCount: number,
  journals: number
): ReadonlyArray<Incident> => {
  if (kind === "calm") return []
  const few = (most: number): number => (kind === "idle" ? below(2) : below(most + 1))
  const counts: Readonly<Partial<Record<Incident["what"], number>>> = {
    kill: few(kind === "crashes" || kind === "keys" ? 12 : 2),
    powerLoss: few(kind === "crashes" ? 3 : 1),
    close: few(3),
    partition: few(kind === "network" ? 4 : 1),
    serverDown: few(2),
    diskFull: few(kind === "disk" ? 4 : 1),
    wallJump: few(2),
    freeze: few(kind === "budgets" ? 4 : 1),
    credit: few(kind === "budgets" ? 2 : 0)
  }
  const names: ReadonlyArray<Incident["what"]> = [
    "kill",
    "powerLoss",
    "close",
    "partition",
    "serverDown",
    "diskFull",
    "wallJump",
    "freeze",
    "credit"
  ]
  const all = names.flatMap((what) => Array.from({ length: counts[what] ?? 0 }, () => what))
  return all
    .map((what, id) => ({
      id,
      what,
      atMs: 1_000 + below(untilMs),
      whom: below(what === "powerLoss" || what === "diskFull" ? journals : clientCount),
      forMs: 500 + below(pick(below, [3_000, 30_000, 90_000]))
    }))
    .toSorted((a, b) => a.atMs - b.atMs)
}
