/**
 * A pool: reservations of a fixed size, the blocks, that calls draw on one after the other.
 *
 * Calls draw on the oldest block with room. The next block is reserved in the background when the newest one reaches
 * the low mark, and at the latest when a call has no room. A retired block, which no new call draws on, is settled when
 * its last call ends.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { CyclesError } from "../../CyclesError.ts"
import { BudgetExceeded, isBudgetExceeded } from "../../CyclesError.ts"
import { nowMs } from "../config/time.ts"
import type { Engine } from "../reservation/engine.ts"
import type { Handle } from "../reservation/handle.ts"
import type { Prepared } from "../reservation/options.ts"
import type { Restore } from "../run/waiting.ts"
import type { Block } from "./poolBlock.ts"
import type { Lender } from "./poolPlace.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The parts of a pool that its constructor provides. */
export interface Parts {
  readonly size: bigint
  readonly lowMark: bigint
  readonly maxAgeMs: number
  readonly clock: Clock.Clock
  /** Reserves a block. Returns nothing if there is no reservation to draw on, as in shadow mode. */
  readonly reserve: Effect.Effect<Block | undefined, CyclesError>
  /** Starts an effect in the scope and the context of the pool. */
  readonly start: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
}

/** The counts of a pool. */
export interface Counts {
  calls: number
  blocks: number
  refused: number
}

// ---------------------------------------------------------------------------------------------------------------------
// pool
// ---------------------------------------------------------------------------------------------------------------------

/** The state of a pool. All its changes are synchronous. */
export class State implements Lender {
  readonly #parts: Parts
  readonly counts: Counts = { calls: 0, blocks: 0, refused: 0 }
  /** The blocks that calls draw on, oldest first. */
  #lending: ReadonlyArray<Block> = []
  /** The blocks that no new call draws on, and that aren't settled yet. */
  readonly #retired = new Set<Block>()
  /** The reserve in progress. Returns whether there is a new block. */
  #renewal: Deferred.Deferred<boolean, CyclesError> | undefined = undefined
  /** The first block, whose client and subject are those of all blocks. */
  #first: Handle | undefined = undefined
  /** Before this time, no block is reserved early. */
  #notBeforeMs = 0
  #isClosed = false

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** The blocks that aren't settled. */
  get blocks(): ReadonlyArray<Block> {
    return [...this.#retired, ...this.#lending]
  }

  serves(engine: Engine, { estimate, isCallerSupplied, subjectText }: Prepared): boolean {
    const first = this.#first
    return (
      first !== undefined &&
      !this.#isClosed &&
      !isCallerSupplied &&
      first.client === engine &&
      first.call.estimate.unit === estimate.unit &&
      first.call.subjectText === subjectText
    )
  }

  // -------------------------------------------------------------------------------------------------------------------
  // draw
  // -------------------------------------------------------------------------------------------------------------------

  draw<E>(
    prepared: Prepared,
    restore: Restore,
    otherwise: Effect.Effect<Handle, E>
  ): Effect.Effect<Handle, E | CyclesError> {
    return Effect.withFiber((fiber): Effect.Effect<Handle, E | CyclesError> => {
      if (this.#isClosed || prepared.estimate.amount > this.#parts.size) return otherwise
      const handle = this.#grant(prepared, fiber)
      if (handle !== undefined) return Effect.succeed(handle)
      return Effect.matchEffect(restore(Deferred.await(this.#renew())), {
        onSuccess: (isUsable) => (isUsable ? this.draw(prepared, restore, otherwise) : otherwise),
        onFailure: (error): Effect.Effect<Handle, E | CyclesError> => {
          if (!isBudgetExceeded(error)) {
            return prepared.policies.onUnreachable === "allow" ? otherwise : Effect.fail(error)
          }
          prepared.life.fire("refused")
          return Effect.fail(new BudgetExceeded({ ...error, action: prepared.action }))
        }
      })
    })
  }

  /** Draws on the oldest block with room, and retires the blocks before it, which have no room for a usual call. */
  #grant(prepared: Prepared, fiber: Fiber.Fiber<unknown, unknown>): Handle | undefined {
    const lending = this.#lending
    for (let i = 0; i < lending.length; i++) {
      const handle = lending[i]?.draw(prepared, fiber)
      if (handle === undefined) continue
      this.counts.calls += 1
      for (const block of lending.slice(0, i)) this.#retire(block)
      const newest = this.#lending.at(-1)
      const { lowMark } = this.#parts
      if (lowMark > 0n && newest !== undefined && newest.room <= lowMark) this.#renewEarly()
      return handle
    }
    for (const block of lending) if (!block.canLend) this.#retire(block)
    return undefined
  }

  // -------------------------------------------------------------------------------------------------------------------
  // blocks
  // -------------------------------------------------------------------------------------------------------------------

  /** Reserves the first block. */
  readonly open: Effect.Effect<void, CyclesError> = Effect.suspend(() => Effect.asVoid(Deferred.await(this.#renew())))

  /** Reserves the next block, or waits for the reserve in progress. Its fiber belongs to the pool, not to a call. */
  #renew(): Deferred.Deferred<boolean, CyclesError> {
    if (this.#renewal !== undefined) return this.#renewal
    const renewal = Deferred.makeUnsafe<boolean, CyclesError>()
    this.#renewal = renewal
    this.#parts.start(this.#parts.reserve).addObserver((exit) => {
      this.#renewal = undefined
      if (Exit.isSuccess(exit) && exit.value !== undefined) this.#add(exit.value)
      else if (Exit.isFailure(exit)) this.#refused(exit.cause)
      // The end of the pool interrupts the reserve: waiting calls make their own reservations.
      const isInterrupted = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
      Deferred.doneUnsafe(
        renewal,
        isInterrupted ? Exit.succeed(false) : Exit.map(exit, (block) => block !== undefined && block.room >= 0n)
      )
    })
    return renewal
  }

  #renewEarly(): void {
    if (this.#renewal === undefined && !this.#isClosed && nowMs(this.#parts.clock) >= this.#notBeforeMs) this.#renew()
  }

  #refused(cause: Cause.Cause<CyclesError>): void {
    const error = Cause.squash(cause)
    const retryAfter = isBudgetExceeded(error) ? error.retryAfter : undefined
    if (isBudgetExceeded(error)) this.counts.refused += 1
    const delayMs = retryAfter === undefined ? 0 : Duration.toMillis(retryAfter)
    this.#notBeforeMs = nowMs(this.#parts.clock) + Math.max(delayMs, earlyRetryMs)
  }

  #add(block: Block): void {
    this.counts.blocks += 1
    this.#first ??= block.handle
    if (this.#isClosed) {
      // The finalizer of the pool settles it.
      this.#retired.add(block)
      return
    }
    this.#lending = [...this.#lending, block]
    const { maxAgeMs, start } = this.#parts
    block.watcher = start(
      Effect.flatMap(Effect.timeoutOption(block.untilLost, maxAgeMs), (lost) => this.#aged(block, Option.isSome(lost)))
    )
  }

  /**
   * A block has reached `maxAge`, or its lease is lost. After `maxAge`, if it was used, the next one is reserved first,
   * so that no call has to wait.
   */
  #aged(block: Block, isLost: boolean): Effect.Effect<void> {
    return Effect.suspend(() => {
      const isLast = this.#lending.length === 1 && this.#lending[0] === block
      const renewed = !isLost && isLast && block.isUsed ? Effect.exit(Deferred.await(this.#renew())) : Effect.void
      return Effect.andThen(
        renewed,
        Effect.sync(() => {
          block.watcher = undefined
          this.#retire(block)
        })
      )
    })
  }

  /** Stops further draws on the block. It is settled when its open calls have ended. */
  #retire(block: Block): void {
    if (!this.#lending.includes(block)) return
    this.#lending = this.#lending.filter((other) => other !== block)
    this.#retired.add(block)
    if (block.isIdle) this.settleIfRetired(block)
  }

  /** A block has no open call. */
  settleIfRetired(block: Block): void {
    if (!this.#retired.has(block) || this.#isClosed) return
    this.#parts.start(
      Effect.andThen(
        block.close,
        Effect.sync(() => void this.#retired.delete(block))
      )
    )
  }

  // -------------------------------------------------------------------------------------------------------------------
  // the end
  // -------------------------------------------------------------------------------------------------------------------

  /** Stops further draws on the pool. */
  end(): void {
    this.#isClosed = true
  }

  /** Settles all blocks. */
  readonly settle: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach(this.blocks, (block) => block.close, { concurrency: "unbounded", discard: true })
  )
}

/** The time without early reserves after a failed reserve, in milliseconds. */
const earlyRetryMs = 1_000
