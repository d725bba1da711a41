/**
 * A block of a pool: one reservation that many calls draw on, with one journal record for all of them.
 *
 * The spend of calls that end at the same time is written to the journal together.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { Handle } from "../reservation/handle.ts"
import type { Prepared } from "../reservation/options.ts"
import * as Nested from "./nested.ts"

/** The time at which the spend of a call is durable: before the call returns, or soon after. */
export type Durability = "journal" | "memory"

/** A block of a pool. */
export class Block {
  readonly handle: Handle
  readonly #scope: Scope.Closeable
  readonly #durability: Durability
  readonly #onIdle: (block: Block) => void
  /** The fiber that waits for the end of the block's time. */
  watcher: Fiber.Fiber<unknown, unknown> | undefined = undefined
  /** The calls whose spend the next write contains wait for this. */
  #next: Deferred.Deferred<void> | undefined = undefined
  #writing: Deferred.Deferred<void> | undefined = undefined
  #closed: Deferred.Deferred<void> | undefined = undefined

  /** `scope` settles the reservation. `onIdle` runs when no call is open, after the end of a call. */
  constructor(handle: Handle, scope: Scope.Closeable, durability: Durability, onIdle: (block: Block) => void) {
    this.handle = handle
    this.#scope = scope
    this.#durability = durability
    this.#onIdle = onIdle
    handle.grouped = (write) => this.#write(write)
  }

  /** Whether calls can draw on the block: its lease isn't lost, and it isn't settled. */
  get canLend(): boolean {
    return this.#closed === undefined && this.handle.canLend
  }

  /** The amount that another call can draw. */
  get room(): bigint {
    return this.canLend ? this.handle.shared.room : -1n
  }

  /** Whether no call is open. */
  get isIdle(): boolean {
    return this.handle.shared.open.size === 0
  }

  /** Whether a call has drawn on the block. */
  get isUsed(): boolean {
    return !this.isIdle || this.handle.shared.lines.size > 0
  }

  /** Completes when the lease is lost. */
  get untilLost(): Effect.Effect<void> {
    const { onLost } = this.handle
    return onLost === undefined ? Effect.never : Effect.asVoid(Deferred.await(onLost))
  }

  /** Draws the estimate of a call. Returns nothing if there is no room. */
  draw(prepared: Prepared, fiber: Fiber.Fiber<unknown, unknown>): Handle | undefined {
    return prepared.estimate.amount > this.room ? undefined : Nested.draw(prepared, this.handle, fiber, undefined)
  }

  // -------------------------------------------------------------------------------------------------------------------
  // the journal
  // -------------------------------------------------------------------------------------------------------------------

  /**
   * Writes the record of the block. Calls that end before the write starts share it: the first one writes, and the
   * others wait. A call that ends during a write waits for the next one. With `memory`, no call waits.
   */
  #write(write: Effect.Effect<void>): Effect.Effect<void> {
    const isDurable = this.#durability === "journal"
    return Effect.suspend(() => {
      const shared = this.#closed ?? this.#next
      if (shared !== undefined) return isDurable ? Deferred.await(shared) : Effect.void
      // An interruption must not end the first call between its entry as the writer and the write.
      const led = Effect.uninterruptible(Effect.suspend(() => this.#lead(write)))
      return isDurable ? led : Effect.asVoid(Effect.forkDetach(led, { startImmediately: true }))
    })
  }

  #lead(write: Effect.Effect<void>): Effect.Effect<void> {
    const shared = this.#closed ?? this.#next
    if (shared !== undefined) return Deferred.await(shared)
    const own = Deferred.makeUnsafe<void>()
    this.#next = own
    const before = this.#writing
    const written = Effect.suspend(() => {
      this.#next = undefined
      this.#writing = own
      return this.handle.isDecided ? Effect.void : write
    })
    const ended = Effect.sync(() => {
      this.#writing = undefined
      Deferred.doneUnsafe(own, Exit.void)
      if (this.isIdle) this.#onIdle(this)
    })
    // Without a write in progress, calls that end in the same turn of the scheduler are awaited.
    return Effect.ensuring(
      Effect.andThen(before === undefined ? Effect.yieldNow : Deferred.await(before), written),
      ended
    )
  }

  // -------------------------------------------------------------------------------------------------------------------
  // the end
  // -------------------------------------------------------------------------------------------------------------------

  /** Settles the block and waits for the settlement. Calls that are still open are charged when they end. */
  readonly close: Effect.Effect<void> = Effect.uninterruptible(
    Effect.suspend(() => {
      if (this.#closed !== undefined) return Deferred.await(this.#closed)
      const closed = Deferred.makeUnsafe<void>()
      this.#closed = closed
      this.watcher?.interruptUnsafe()
      // A write that starts after the settlement would leave an open record in the journal.
      const pending = this.#next ?? this.#writing
      return Effect.ensuring(
        Effect.andThen(
          pending === undefined ? Effect.void : Deferred.await(pending),
          Scope.close(this.#scope, Exit.void)
        ),
        Effect.sync(() => Deferred.doneUnsafe(closed, Exit.void))
      )
    })
  )
}
