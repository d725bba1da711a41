/**
 * How many calls are in flight at once.
 *
 * One pool of places with three priorities: lease extensions, settlements, callers. Each priority has a guaranteed number of
 * places. Callers and settlements never take a place that is guaranteed to another priority, so that calls that hang can't
 * hold up the calls that would free budget or keep a lease. An extension may take any free place; a place that it borrowed
 * goes back first, because a released place goes to a priority below its guarantee before it goes by rank. Within a priority
 * the order is first come, first served. Bodies never hold a place.
 *
 * After a time without responses one call, the idle probe, goes first and the others wait for it: a server that checks keys
 * by a slow hash then does so once, not once for each call of a burst. The reference server remembers a key for 60 s.
 */
import type { Timer, TimerQueue } from "./timerQueue.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Who is calling: the client that keeps leases alive, the client that settles, or the user's fiber. */
export type Priority = "lease" | "settlement" | "caller"

/** The places for calls in flight. */
export interface Bulkhead {
  /** Calls `granted` when the call has a place, at once if there is one. Returns a function that withdraws a waiting call. */
  readonly acquire: (priority: Priority, nowMs: number, granted: () => void) => () => void
  /** Gives a place back. Called once for each call that was granted one. */
  readonly release: (priority: Priority, nowMs: number) => void
  /** Grants no place to settlements for so long: the server asked the client to come back later. */
  readonly pauseSettlements: (forMs: number) => void
  /** Calls in flight. */
  readonly inFlight: () => number
  /** Calls that wait. */
  readonly waiting: () => number
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Makes a bulkhead. It needs a place for each priority: `maxConcurrency` is 3 or more. */
export const make = (options: {
  readonly maxConcurrency: number
  /** After this long without a response one call goes first. */
  readonly idleProbeAfterMs: number
  readonly timers: Pick<TimerQueue<Timer>, "schedule" | "cancel">
}): Bulkhead => {
  const guaranteed = Math.max(1, Math.floor(options.maxConcurrency / 16))
  const lanes = {
    lease: makeLane(guaranteed),
    settlement: makeLane(guaranteed),
    caller: makeLane(guaranteed)
  }
  const ranked = [lanes.lease, lanes.settlement, lanes.caller]
  let inFlight = 0
  let waiting = 0
  let lastReleaseMs = Number.NEGATIVE_INFINITY
  let probe: "none" | "blocking" | "overdue" = "none"
  let isDraining = false
  let isPaused = false

  const reservedForOthers = (lane: Lane): number => {
    let count = 0
    for (const other of ranked) if (other !== lane) count += Math.max(0, other.guaranteed - other.inFlight)
    return count
  }

  const hasPlace = (lane: Lane): boolean => {
    if (isPaused && lane === lanes.settlement) return false
    const free = options.maxConcurrency - inFlight
    if (free <= 0) return false
    return lane === lanes.lease || lane.inFlight < lane.guaranteed || free > reservedForOthers(lane)
  }

  /** The waiting call that gets the next free place. */
  const next = (): Waiter | undefined => {
    if (waiting === 0 || probe === "blocking") return undefined
    const isNext = (lane: Lane): boolean => lane.head !== undefined && hasPlace(lane)
    return (ranked.find((lane) => lane.inFlight < lane.guaranteed && isNext(lane)) ?? ranked.find(isNext))?.head
  }

  const take = (lane: Lane): void => {
    lane.inFlight += 1
    inFlight += 1
  }

  /** Not recursive: a transport may end a call while `granted` runs. */
  const drain = (): void => {
    if (isDraining) return
    isDraining = true
    try {
      for (let head = next(); head !== undefined; head = next()) {
        remove(head)
        take(head.lane)
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

  const pauseEnd: Timer = {
    due: 0,
    pos: -1,
    expire: () => {
      isPaused = false
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
      const lane = lanes[priority]
      if (probe === "none" && waiting === 0 && nowMs - lastReleaseMs >= options.idleProbeAfterMs && hasPlace(lane)) {
        probe = "blocking"
        options.timers.schedule(probeLimit, probeLimitMs)
        take(lane)
        granted()
        return nothing
      }
      if (probe !== "blocking" && lane.head === undefined && hasPlace(lane)) {
        take(lane)
        granted()
        return nothing
      }
      const waiter: Waiter = { lane, granted, isWaiting: true, before: lane.tail, after: undefined }
      link(waiter)
      waiting += 1
      return () => {
        if (!waiter.isWaiting) return
        remove(waiter)
        drain()
      }
    },
    release: (priority, nowMs) => {
      lanes[priority].inFlight -= 1
      inFlight -= 1
      lastReleaseMs = nowMs
      if (probe !== "none") {
        probe = "none"
        options.timers.cancel(probeLimit)
      }
      if (waiting > 0) drain()
    },
    pauseSettlements: (forMs) => {
      isPaused = true
      options.timers.schedule(pauseEnd, forMs)
    },
    inFlight: () => inFlight,
    waiting: () => waiting
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** How long the others wait for the idle probe. */
const probeLimitMs = 1_000

const nothing = (): void => {}

interface Lane {
  readonly guaranteed: number
  inFlight: number
  head: Waiter | undefined
  tail: Waiter | undefined
}

/** A waiting call, linked so that it can be withdrawn from the middle. */
interface Waiter {
  readonly lane: Lane
  readonly granted: () => void
  isWaiting: boolean
  before: Waiter | undefined
  after: Waiter | undefined
}

const makeLane = (guaranteed: number): Lane => ({ guaranteed, inFlight: 0, head: undefined, tail: undefined })

const link = (waiter: Waiter): void => {
  const { lane } = waiter
  if (lane.tail === undefined) lane.head = waiter
  else lane.tail.after = waiter
  lane.tail = waiter
}

const unlink = (waiter: Waiter): void => {
  const { after, before, lane } = waiter
  waiter.isWaiting = false
  if (before === undefined) lane.head = after
  else before.after = after
  if (after === undefined) lane.tail = before
  else after.before = before
}
