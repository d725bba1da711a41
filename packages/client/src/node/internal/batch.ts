/**
 * Delivers the responses of one turn of the event loop together, after all of them have been read.
 *
 * A response usually leads to the next request. Reading all responses first and then sending all requests takes a tenth
 * to a quarter less CPU than alternating, with four or more exchanges in flight. A single exchange isn't delayed,
 * because waiting for the end of the turn costs more than it saves.
 */
import { setImmediate } from "node:timers"

/** The exchanges in flight, and the responses of this turn. */
export interface Batch {
  /** An exchange has begun. */
  readonly begin: () => void
  /** An exchange has ended. `deliver` runs now, or at the end of this turn. */
  readonly end: (deliver?: () => void) => void
}

/** Makes a batch without exchanges. */
export const make = (): Batch => {
  let inFlight = 0
  let deliveries: Array<() => void> = []

  const flush = (): void => {
    const turn = deliveries
    deliveries = []
    for (const deliver of turn) deliver()
  }

  return {
    begin: () => void (inFlight += 1),
    end: (deliver) => {
      inFlight -= 1
      if (deliver === undefined) return
      if (inFlight === 0 && deliveries.length === 0) return deliver()
      if (deliveries.length === 0) setImmediate(flush)
      deliveries.push(deliver)
    }
  }
}
