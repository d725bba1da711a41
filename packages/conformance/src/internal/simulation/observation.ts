/** What a call did, recorded outside the client while its process was alive. */
import type * as Exit from "effect/Exit"
import type { Settlement } from "effect-cycles/Settlement"
import type { Program } from "./program.ts"
import type { Call } from "./plan.ts"

/** One call and what it did. Times are milliseconds of its process's monotonic clock. */
export interface Observation {
  readonly call: Call
  readonly program: Program
  /** The idempotency key of its reserve. */
  readonly name: string
  readonly startedAtMs: number
  /** The times of the world at which it started, its body ended, and it returned. */
  readonly startedAtWorldMs: number
  endedAtWorldMs: number
  returnedAtWorldMs: number
  /** Whether a process that had died before the start has left a record of a reservation. */
  readonly isLeft: (reservationId: string) => boolean
  /** Whether the body ran under a reservation with such a record. */
  ranOverRecord: boolean
  /** The id of its reservation. */
  reservationId: string | undefined
  /** When the body began; `undefined` if it didn't. */
  beganAtMs: number | undefined
  /** When the body ended. */
  endedAtMs: number | undefined
  /** When the caller got the result. */
  returnedAtMs: number | undefined
  exit: Exit.Exit<unknown, unknown> | undefined
  /** The exit of the body. */
  work: Exit.Exit<unknown, unknown> | undefined
  /** When the body recorded it. */
  recordedAtMs: number
  /** The recorded total, and the one for which `record` has returned. */
  recorded: number
  durable: number
  /** The usage of a stream's elements so far, and of those that were emitted. */
  streamed: number
  emitted: number
  /** The total that was recorded after the settlement, and the one for which that has returned. */
  late: number
  durableLate: number
  /** Whether a callback failed to report an amount that the caller had. */
  isUnknown: boolean
  /** The amount that the caller passed to `commit`. */
  committed: number | undefined
  isReleasedByHand: boolean
  wasInterrupted: boolean
  /** Whether its budget is a part of another reservation. */
  isDrawn: boolean
  longestRecordMs: number
  /** Whether the process ran until nothing was left to do. */
  isSettledBeforeEnd: boolean
  /** Whether the server got only a part of one of its requests. */
  isCut: boolean
  /** Whether a request of it may arrive after it has ended. */
  isDisturbed: boolean
  readonly settlements: Array<Settlement>
}

/** A call that starts. */
export const make = (
  call: Call,
  program: Program,
  name: string,
  isLeft: (reservationId: string) => boolean
): Observation => ({
  isLeft,
  ranOverRecord: false,
  call,
  program,
  name,
  startedAtMs: program.process.monotonicMs,
  startedAtWorldMs: program.process.worldMs,
  endedAtWorldMs: Number.POSITIVE_INFINITY,
  returnedAtWorldMs: Number.POSITIVE_INFINITY,
  reservationId: undefined,
  beganAtMs: undefined,
  endedAtMs: undefined,
  returnedAtMs: undefined,
  exit: undefined,
  work: undefined,
  recordedAtMs: Number.POSITIVE_INFINITY,
  recorded: 0,
  durable: 0,
  streamed: 0,
  emitted: 0,
  late: 0,
  durableLate: 0,
  isUnknown: false,
  committed: undefined,
  isReleasedByHand: false,
  wasInterrupted: false,
  isDrawn: false,
  longestRecordMs: 0,
  isSettledBeforeEnd: false,
  isCut: false,
  isDisturbed: false,
  settlements: []
})
