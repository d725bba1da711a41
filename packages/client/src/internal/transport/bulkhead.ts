/**
 * The bulkhead: limits the number of calls in flight.
 *
 * One pool of slots has three partitions: lease extensions, settlements, and callers. Each partition has reserved
 * slots, so that hanging calls of callers can't block the calls that keep a lease or free budget. Callers and
 * settlements can't use the reserved slots of another partition. An extension can use any free slot; a released slot
 * goes first to a partition that uses fewer than its reserved slots, and then by priority. Each partition is first in,
 * first out. The body of a guard uses no slot.
 *
 * After an idle time, the next call is the idle probe: it is sent alone, and other calls wait for its response, at most
 * 1 s. A server with a slow key check then checks the key once, not once for each call of a burst. The reference server
 * caches a key check for 60 s.
 */
import type { Timer, TimerQueue } from "./timerQueue.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The partition of a call: the heartbeat, a settlement, or the caller's fiber. */
export type Priority = "lease" | "settlement" | "caller"

/** The slots for calls in flight. */
export interface Bulkhead {
  /**
   * Calls `granted` when the call gets a slot, immediately if there is one. Returns a function that withdraws a waiting
   * call.
   */
  readonly acquire: (priority: Priority, nowMs: number, granted: () => void) => () => void
  /** Releases a slot. Called once for each granted call. */
  readonly release: (priority: Priority, nowMs: number) => void
  /** Grants no slot to settlements for some time, because the server throttles. */
  readonly delaySettlements: (forMs: number) => void
  /** The number of calls in flight. */
  readonly inFlight: () => number
  /** The number of waiting calls. */
  readonly waiting: () => number
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Makes a bulkhead. `maxConcurrency` is 3 or more, one slot for each partition. */
export const make = (options: {
  readonly maxConcurrency: number
  /** The time without a response after which the next call is an idle probe. */
  readonly idleProbeAfterMs: number
  readonly timers: Pick<TimerQueue<Timer>, "schedule" | "cancel">
}): Bulkhead => {
  const reserved = Math.max(1, Math.floor(options.maxConcurrency / 16))
  const partitions = {
    lease: makePartition(reserved),
    settlement: makePartition(reserved),
    caller: makePartition(reserved)
  }
  const ranked = [partitions.lease, partitions.settlement, partitions.caller]
  let inFlight = 0
  let waiting = 0
  let lastReleaseMs = Number.NEGATIVE_INFINITY
  let probe: "none" | "blocking" | "overdue" = "none"
  let isDraining = false
  let isDelayed = false

  const reservedForOthers = (partition: Partition): number => {
    let count = 0
    for (const other of ranked) if (other !== partition) count += Math.max(0, other.reserved - other.inFlight)
    return count
  }

  const hasSlot = (partition: Partition): boolean => {
    if (isDelayed && partition === partitions.settlement) return false
    const free = options.maxConcurrency - inFlight
    if (free <= 0) return false
    return (
      partition === partitions.lease || partition.inFlight < partition.reserved || free > reservedForOthers(partition)
    )
  }

  /** The waiting call that gets the next free slot. */
  const next = (): Waiter | undefined => {
    if (waiting === 0 || probe === "blocking") return undefined
    const isNext = (partition: Partition): boolean => partition.head !== undefined && hasSlot(partition)
    return (
      ranked.find((partition) => partition.inFlight < partition.reserved && isNext(partition)) ?? ranked.find(isNext)
    )?.head
  }

  const take = (partition: Partition): void => {
    partition.inFlight += 1
    inFlight += 1
  }

  /** Grants free slots. Not reentrant: a transport may end a call while `granted` runs. */
  const drain = (): void => {
    if (isDraining) return
    isDraining = true
    try {
      for (let head = next(); head !== undefined; head = next()) {
        remove(head)
        take(head.partition)
        head.granted()
      }
    } finally {
      isDraining = false
    }
  }

  const remove = (waiter: Waiter): void => {
    if (!waiter.isWaiting) return
    unlink(waiter)
    waiting -= 1
  }

  const delayEnd: Timer = {
    due: 0,
    pos: -1,
    expire: () => {
      isDelayed = false
      drain()
    }
  }

  const probeLimit: Timer = {
    due: 0,
    pos: -1,
    expire: () => {
      probe = "overdue"
      drain()
    }
  }

  return {
    acquire: (priority, nowMs, granted) => {
      const partition = partitions[priority]
      if (
        probe === "none" &&
        waiting === 0 &&
        nowMs - lastReleaseMs >= options.idleProbeAfterMs &&
        hasSlot(partition)
      ) {
        probe = "blocking"
        options.timers.schedule(probeLimit, probeLimitMs)
        take(partition)
        granted()
        return nothing
      }
      if (probe !== "blocking" && partition.head === undefined && hasSlot(partition)) {
        take(partition)
        granted()
        return nothing
      }
      const waiter: Waiter = { partition, granted, isWaiting: true, before: partition.tail, after: undefined }
      link(waiter)
      waiting += 1
      return () => {
        if (!waiter.isWaiting) return
        remove(waiter)
        drain()
      }
    },
    release: (priority, nowMs) => {
      partitions[priority].inFlight -= 1
      inFlight -= 1
      lastReleaseMs = nowMs
      if (probe !== "none") {
        probe = "none"
        options.timers.cancel(probeLimit)
      }
      if (waiting > 0) drain()
    },
    delaySettlements: (forMs) => {
      isDelayed = true
      options.timers.schedule(delayEnd, forMs)
    },
    inFlight: () => inFlight,
    waiting: () => waiting
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** How long other calls wait for the idle probe. */
const probeLimitMs = 1_000

const nothing = (): void => {}

interface Partition {
  readonly reserved: number
  inFlight: number
  head: Waiter | undefined
  tail: Waiter | undefined
}

/** A waiting call, in a linked list so that it can be removed from the middle. */
interface Waiter {
  readonly partition: Partition
  readonly granted: () => void
  isWaiting: boolean
  before: Waiter | undefined
  after: Waiter | undefined
}

const makePartition = (reserved: number): Partition => ({ reserved, inFlight: 0, head: undefined, tail: undefined })

const link = (waiter: Waiter): void => {
  const { partition } = waiter
  if (partition.tail === undefined) partition.head = waiter
  else partition.tail.after = waiter
  partition.tail = waiter
}

const unlink = (waiter: Waiter): void => {
  const { after, before, partition } = waiter
  waiter.isWaiting = false
  if (before === undefined) partition.head = after
  else before.after = after
  if (after === undefined) partition.tail = before
  else after.before = before
}
