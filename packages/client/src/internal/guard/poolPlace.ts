/**
 * The pools around a call. Guards reach a pool only through this reference, so the bundle of a program without pools
 * doesn't contain their code.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { CyclesError } from "../../CyclesError.ts"
import type { Run } from "../run/current.ts"
import type { Engine } from "../reservation/engine.ts"
import type { Handle } from "../reservation/handle.ts"
import type { Prepared } from "../reservation/options.ts"
import type { Restore } from "../run/waiting.ts"

/** A pool, as a guard uses it. */
export interface Lender {
  /** Whether calls of this client with this unit and subject draw on the pool. */
  readonly serves: (engine: Engine, prepared: Prepared) => boolean
  /**
   * Draws the estimate, and waits for the next block if the current ones have no room. `restore` makes the wait
   * interruptible. Runs `otherwise` if the call doesn't fit into a block, or if the pool has closed.
   */
  readonly draw: <E>(
    prepared: Prepared,
    restore: Restore,
    otherwise: Effect.Effect<Handle, E>
  ) => Effect.Effect<Handle, E | CyclesError>
}

/** A pool around the current fiber. */
export interface PoolPlace {
  readonly pool: Lender
  /** The next pool around this one. */
  readonly next: PoolPlace | undefined
  /** The `Reservation` of the fiber that entered the pool: the guard around the pool. */
  readonly around: unknown
  /** The run around the pool. */
  readonly run: Run | undefined
}

/** The innermost pool around the current fiber. */
export const CurrentPool: Context.Reference<PoolPlace | undefined> = Context.Reference<PoolPlace | undefined>(
  "effect-cycles/Pool/CurrentPool",
  { defaultValue: () => undefined }
)

/** The nearest pool around a call that serves it. */
export const poolFor = (
  innermost: PoolPlace | undefined,
  engine: Engine,
  prepared: Prepared
): PoolPlace | undefined => {
  let place = innermost
  while (place !== undefined && !place.pool.serves(engine, prepared)) place = place.next
  return place
}
