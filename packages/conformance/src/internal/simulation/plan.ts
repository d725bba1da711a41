/** What happens in a world, as data: its clients and journals, its calls, its faults and their rates. */
import type { Heartbeat } from "effect-cycles/Heartbeat"
import type { OnCrash, OnFailure, Settle } from "effect-cycles/CyclesConfig"

/** How the body of a call ends. Not every ending exists in every form. */
export type Ending =
  | "success"
  | "failure"
  | "defect"
  /** A detached fiber records more after the settlement. */
  | "late"
  /** In a stream: the consumer takes two of the elements. */
  | "take"
  /** By hand: the scope closes around the open reservation. */
  | "close"
  /** By hand: the reservation is released. */
  | "release"

/** One guarded call. Times are milliseconds, amounts are tokens. */
export interface Call {
  readonly id: number
  readonly client: number
  readonly atMs: number
  readonly form: "effect" | "stream" | "byHand" | "event"
  readonly ending: Ending
  readonly bodyMs: number
  readonly ttlMs: number
  readonly records: boolean
  /** The recorded total as a share of the actual amount. */
  readonly recordedShare: number
  readonly settle: Settle
  readonly onFailure: OnFailure
  readonly onCrash: OnCrash
  readonly heartbeat: Heartbeat
  readonly onUnsettled: "report" | "fail"
  readonly overage: "REJECT" | "ALLOW_IF_AVAILABLE" | "ALLOW_WITH_OVERDRAFT"
  readonly estimate: number
  readonly actual: number
  /** The agent, whose budget may be small, frozen at times, or have an overdraft. */
  readonly agent: string
  /** The number of the caller-supplied key. */
  readonly key: number | undefined
  /** The run of the client in which the call is made. */
  readonly run: number | undefined
  /** Whether the call is made in the pool of its client. */
  readonly isInPool: boolean
  /** The id of the call in whose body it is made, with `nested: "join"`. */
  readonly inside: number | undefined
  /** Whether the call around it doesn't wait for it. */
  readonly isDetached: boolean
  readonly onUnreachable: "fail" | "allow"
  /** What the call does if its caller-supplied key is settled. */
  readonly onRepeat: "refuse" | "ifReleased" | "again"
  /** When the caller is interrupted, after the start of the call. */
  readonly interruptAfterMs: number | undefined
  /** Whether the body is uninterruptible while it runs. */
  readonly isUninterruptible: boolean
  /** The callback that breaks. */
  readonly broken: "actual" | "metrics" | "usage" | "record" | "onSettled throws" | "onSettled hangs" | undefined
  /** How often a detached fiber records more after the settlement. */
  readonly lateRecords: number
}

/** A run of a client, or a child of one. */
export interface RunPlan {
  readonly budget: number
  readonly parent: number | undefined
  readonly share: "remaining" | "carve"
  /** Whether the run holds its budget on the server. */
  readonly hold: boolean
}

/** The pool of a client. */
export interface PoolPlan {
  readonly size: number
  readonly lowMark: number
  readonly maxAgeMs: number
  readonly ttlMs: number
  readonly durability: "journal" | "memory"
  /** The agent of its blocks. Calls of other agents make their own reservations. */
  readonly agent: string
}

/** A client: a program that may be killed or closed, and starts again. */
export interface Client {
  readonly journal: number
  /** Its milliseconds in one millisecond of the world. */
  readonly rate: number
  readonly wallOffsetMs: number
  readonly maxConcurrency: number
  readonly maxRetryAfterMs: number
  readonly runs: ReadonlyArray<RunPlan>
  readonly pool: PoolPlan | undefined
}

/** Something that happens to a part of the world. */
export interface Incident {
  readonly id: number
  readonly atMs: number
  readonly what:
    | "kill"
    | "powerLoss"
    /** A machine is off until the end, days later. */
    | "vanish"
    | "close"
    | "flush"
    | "partition"
    /** The responses to the clients of a journal are lost. */
    | "deaf"
    | "serverDown"
    | "diskFull"
    | "wallJump"
    | "freeze"
    | "credit"
  /** The client or the journal. */
  readonly whom: number
  readonly forMs: number
}

/** The probabilities of faults, 0 to 1, for one call of a collaborator. */
export interface Rates {
  readonly net: number
  readonly disk: number
  readonly telemetry: number
  /** The longest latency of a message without a fault, in milliseconds. */
  readonly latencyMs: number
}

/** A world. */
export interface Plan {
  readonly seed: number
  readonly untilMs: number
  readonly journals: number
  /** Whether all clients of a journal replay it at the end, at the same time, or only one. */
  readonly isReplayedByAll: boolean
  readonly clients: ReadonlyArray<Client>
  readonly calls: ReadonlyArray<Call>
  readonly incidents: ReadonlyArray<Incident>
  readonly rates: Rates
}

/** The agents with their budgets. */
export const agents = {
  /** Never exhausted. */
  big: { allocated: 1_000_000_000, overdraftLimit: 0 },
  small: { allocated: 10_000, overdraftLimit: 0 },
  /** Frozen at times. */
  frozen: { allocated: 1_000_000_000, overdraftLimit: 0 },
  overdraft: { allocated: 8_000, overdraftLimit: 5_000 }
} as const
