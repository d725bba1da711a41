/**
 * Lease pools: one reservation for many small calls.
 *
 * A pool reserves a block of budget and lets guarded calls draw on it. A call then sends nothing: it takes its estimate
 * from the block, and leaves its actual cost there. The pool reserves the next block before the current one is used up,
 * and commits each block once, with the calls by action.
 *
 * **Details**
 *
 * - A pool is ambient: `within` sets it for an effect, `withinStream` for a stream, and `layer` for a program. Forked
 *   fibers inherit it. Guards use it with their usual API: `withCycles`, `withCyclesStream`, `reserve`, and the models,
 *   tools and embeddings of `@effect-cycles/ai`.
 * - For a guard, the run around it is checked first. Then it draws on the nearest open pool with its client, unit and
 *   subject. Without one it makes a reservation, as usual.
 * - The sum of the estimates of open calls and the actual cost of ended calls never exceeds the reserved amount, unless
 *   calls cost more than their estimates. A call that fails returns the part of its estimate that it hasn't spent,
 *   according to its `onFailure`.
 * - The settlement of a call that draws on a pool is `Joined`, with the id of the block.
 * - If the server refuses the next block, calls that don't fit into the current one fail with `BudgetExceeded`. Smaller
 *   calls still use the rest.
 * - A block is committed when it is used up, after `maxAge`, when its lease is lost, and when the scope of the pool
 *   closes. The commit has the number of calls and the amount by action in its metadata, as `joined_calls`. A block
 *   that nothing was spent from is released.
 * - The spend of a call is in the journal before the call returns, in one record for each block. Calls that end at the
 *   same time share one write.
 *
 * These calls make their own reservations:
 *
 * - calls with another unit or another subject;
 * - calls with an estimate above `size`;
 * - calls with a caller-supplied idempotency key, because only the server knows whether an earlier process has made
 *   them;
 * - dry runs.
 *
 * **Gotchas**
 *
 * - Budgets, caps and policies are checked for the action and the subject of the pool. The server doesn't see the
 *   calls.
 * - The rest of a block isn't available to others. Choose a small `size` if several processes share a small budget.
 * - A guard with `nested: "join"` joins the guard around it, unless the pool is nearer. A pool isn't a guard: `nested`
 *   has no effect on it.
 * - A call that is still open when its pool closes is charged as an event.
 *
 * **Example** (A pool for the searches of an agent)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Amount, Cycles, Pool } from "effect-cycles"
 *
 * const search = (query: string) =>
 *   Effect.succeed([`Result for ${query}`]).pipe(
 *     Cycles.withCycles({ action: { kind: "tool.call", name: "search" }, estimate: Amount.credits(1) })
 *   )
 *
 * export const searches = Effect.gen(function* () {
 *   const pool = yield* Cycles.pool({ action: { kind: "tool.pool", name: "searches" }, size: Amount.credits(100) })
 *   return yield* Effect.forEach(["a", "b", "c"], search, { concurrency: 32 }).pipe(Pool.within(pool))
 * }).pipe(Effect.scoped)
 * ```
 *
 * @since 0.1.0
 */
import type { Action } from "@effect-cycles/protocol/Action"
import * as Amount from "@effect-cycles/protocol/Amount"
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import type { Subject } from "@effect-cycles/protocol/Subject"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CyclesError } from "./CyclesError.ts"
import { State } from "./internal/guard/pool.ts"
import type { Durability } from "./internal/guard/poolBlock.ts"
import { Block } from "./internal/guard/poolBlock.ts"
import type { PoolPlace } from "./internal/guard/poolPlace.ts"
import { CurrentPool } from "./internal/guard/poolPlace.ts"
import type { ReserveOptions } from "./internal/models/guardOptions.ts"
import { handleOf } from "./internal/reservation/view.ts"
import { CurrentRun } from "./internal/run/current.ts"
import { Cycles } from "./internal/services/cycles.ts"
import type { Metadata } from "./Reservation.ts"
import { Reservation } from "./Reservation.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The options of a pool. `U` is the unit of its blocks.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options<U extends Amount.Unit = Amount.Unit> {
  /**
   * The action of the blocks: a kind (at most 64 characters) and a name (at most 256). The server checks budgets, caps
   * and policies for it, and its reports show it.
   */
  readonly action: Action
  /** The amount of each block, greater than 0. A call with a larger estimate makes its own reservation. */
  readonly size: Amount.Amount<U>
  /**
   * The next block is reserved in the background when the newest one has at most this amount left. From 0, which
   * reserves only when a call doesn't fit, to less than `size`. Default: a quarter of `size`.
   */
  readonly lowMark?: Amount.Amount<NoInfer<U>> | undefined
  /**
   * The longest time that calls draw on a block, at least 1 s. Then it is committed as soon as its open calls have
   * ended. If the block was used, the pool reserves the next one first; otherwise it holds nothing until the next call.
   * Default: 5 minutes.
   */
  readonly maxAge?: Duration.Input | undefined
  /**
   * When the spend of a call is in the journal. Default: `journal`.
   *
   * - `journal`: before the call returns. If the process is killed, the next one commits the spend of all calls that
   *   have returned. This needs a durable journal.
   * - `memory`: soon after the call has returned, without making it wait. If the process is killed, the spend of the
   *   calls that ended after the last write began is lost. The rest of the block is returned when its record is
   *   committed, or when its lease ends.
   */
  readonly durability?: "journal" | "memory" | undefined
  /**
   * Merged into the ambient subject of `pool` field by field. Only calls with the resulting subject draw on the pool.
   * Default: the ambient subject.
   */
  readonly subject?: Subject | undefined
  /** JSON that the server stores with each block. Default: none. */
  readonly metadata?: Metadata | undefined
  /** The lease of a block, 1 s to 24 h; a heartbeat extends it. Default: the client's, 60 s. */
  readonly ttl?: Duration.Input | undefined
  /** How much a heartbeat extends the lease, 1 ms to 24 h. Default: the client's, or else `ttl`. */
  readonly extendBy?: Duration.Input | undefined
  /** How long after the end of its lease a block can still be settled, 0 to 60 s. Default: the client's. */
  readonly gracePeriod?: Duration.Input | undefined
  /**
   * What the server does if the calls cost more than the block reserved, because they exceeded their estimates.
   * Default: the client's, or else the server's, ALLOW_IF_AVAILABLE.
   */
  readonly overagePolicy?: OveragePolicy | undefined
  /** The longest `Retry-After` that a reserve waits for after 429 or 503, 0 to 1 h. Default: the client's, 0. */
  readonly maxRetryAfter?: Duration.Input | undefined
}

/**
 * The state of a pool.
 *
 * @category models
 * @since 0.1.0
 */
export interface Status {
  /** The number of calls that have drawn on the pool. */
  readonly calls: number
  /** The number of blocks that have been reserved. */
  readonly blocks: number
  /** The number of blocks that the server has refused. */
  readonly refused: number
  /** The sizes of all blocks that aren't settled yet. */
  readonly reserved: Amount.Amount
  /** The spent amount of these blocks, open calls included as far as it is known. */
  readonly spent: Amount.Amount
}

/**
 * A pool, made by `make` or `Cycles.pool`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pool {
  /** Identifies the pool, and holds its blocks. */
  readonly [TypeId]: State
  /** The unit of the pool. */
  readonly unit: Amount.Unit
  /** The state now. */
  readonly status: Effect.Effect<Status>
}

const TypeId = "~effect-cycles/Pool"

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes a pool in the current scope, and reserves its first block. Guards use it inside `within`, `withinStream` and
 * `layer`. `Cycles.pool` is the same function.
 *
 * **Details**
 *
 * Closing the scope commits all blocks, and waits for them as `settle: "attempt"` does. Calls that start later make
 * their own reservations.
 *
 * **Gotchas**
 *
 * Dies with a `RangeError` if `size`, `lowMark`, `maxAge` or `durability` is out of range. In shadow mode, calls don't
 * draw on the pool.
 *
 * **Errors**
 *
 * All errors of a reserve, if the first block can't be reserved. Later, the calls that wait for a block fail with them.
 *
 * **Example** (Reading the state of a pool)
 *
 * ```ts
 * import { Console, Effect } from "effect"
 * import { Amount, Pool } from "effect-cycles"
 *
 * export const program = Effect.gen(function* () {
 *   const pool = yield* Pool.make({
 *     action: { kind: "embedding.pool", name: "indexer" },
 *     size: Amount.tokens(1_000_000),
 *     lowMark: Amount.tokens(200_000),
 *     maxAge: "1 minute"
 *   })
 *   const { calls, blocks, reserved, spent } = yield* pool.status
 *   yield* Console.log(`${calls} calls, ${blocks} reserves, ${spent} of ${reserved} spent`)
 * }).pipe(Effect.scoped)
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <U extends Amount.Unit>(
  options: Options<U>
): Effect.Effect<Pool, CyclesError, Cycles | Scope.Scope> =>
  Effect.gen(function* () {
    const { durability, lowMark, maxAgeMs, size } = validated(options)
    const cycles = yield* Cycles
    const clock = yield* Clock.Clock
    const lease: ReserveOptions<Amount.Unit, "cancel"> & { readonly isRunHold: true } = {
      action: options.action,
      estimate: options.size,
      subject: options.subject,
      metadata: options.metadata,
      ttl: options.ttl,
      extendBy: options.extendBy,
      gracePeriod: options.gracePeriod,
      overagePolicy: options.overagePolicy,
      maxRetryAfter: options.maxRetryAfter,
      // With `cancel`, the loss of the lease can be awaited. A call that has drawn on the block follows its own policy.
      heartbeat: "cancel",
      onFailure: "partial",
      onCrash: "recorded",
      onUnreachable: "fail",
      settle: "attempt",
      isRunHold: true
    }
    const reserve = Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const reservation = yield* restore(Scope.provide(cycles.reserve(lease), scope)).pipe(
          Effect.catchTag("AlreadySettled", Effect.die),
          Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
        )
        const handle = handleOf(reservation)
        if (handle?.id === undefined) {
          yield* Scope.close(scope, Exit.void)
          return undefined
        }
        return new Block(handle, scope, durability, (idle) => state.settleIfRetired(idle))
      })
    )
    // Finalizers run in reverse order: draws end first, then the fibers of the pool, and then its blocks are settled.
    yield* Effect.addFinalizer(() => state.settle)
    const start = yield* FiberSet.makeRuntime()
    const state = new State({
      size,
      lowMark,
      maxAgeMs,
      clock,
      reserve,
      start: (effect) => start(effect)
    })
    yield* Effect.addFinalizer(() => Effect.sync(() => state.end()))
    yield* state.open
    const { unit } = options.size
    return { [TypeId]: state, unit, status: Effect.sync(() => statusOf(state, unit)) }
  })

const statusOf = ({ blocks, counts }: State, unit: Amount.Unit): Status => {
  let reserved = 0n
  let spent = 0n
  for (const { handle } of blocks) {
    reserved += handle.shared.size
    spent += handle.recordedAmount + handle.openSpend
  }
  return { ...counts, reserved: Amount.make(unit, reserved), spent: Amount.make(unit, spent) }
}

/**
 * Provides a pool to a whole program: every guard that uses this layer's context draws on it.
 *
 * **Example** (A pool for all embeddings of a service)
 *
 * ```ts
 * import { Amount, Pool } from "effect-cycles"
 *
 * export const PoolLive = Pool.layer({
 *   action: { kind: "embedding.pool", name: "indexer" },
 *   size: Amount.tokens(1_000_000)
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <U extends Amount.Unit>(options: Options<U>): Layer.Layer<never, CyclesError, Cycles> =>
  Layer.effectContext(
    Effect.flatMap(make(options), (pool) => Effect.map(placeOf(pool), (place) => Context.make(CurrentPool, place)))
  )

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Runs an effect within a pool: its guards draw on it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const within: {
  (pool: Pool): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, pool: Pool): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, pool: Pool): Effect.Effect<A, E, R> =>
  Effect.flatMap(placeOf(pool), (place) => Effect.provideService(self, CurrentPool, place))
)

/**
 * Runs a stream within a pool, even if it is consumed outside.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withinStream: {
  (pool: Pool): <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  <A, E, R>(self: Stream.Stream<A, E, R>, pool: Pool): Stream.Stream<A, E, R>
} = dual(2, <A, E, R>(self: Stream.Stream<A, E, R>, pool: Pool): Stream.Stream<A, E, R> =>
  Stream.unwrap(Effect.map(placeOf(pool), (place) => Stream.provideService(self, CurrentPool, place)))
)

/**
 * Runs an effect outside of all pools: its guards make their own reservations.
 *
 * @category combinators
 * @since 0.1.0
 */
export const outside = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(self, CurrentPool, undefined)

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** The place of a pool around the current fiber. */
const placeOf = (pool: Pool): Effect.Effect<PoolPlace> =>
  Effect.withFiber((fiber) =>
    Effect.succeed({
      pool: pool[TypeId],
      next: fiber.getRef(CurrentPool),
      around: Context.getOrUndefined(fiber.context, Reservation),
      run: fiber.getRef(CurrentRun)
    })
  )

interface Validated {
  readonly size: bigint
  readonly lowMark: bigint
  readonly maxAgeMs: number
  readonly durability: Durability
}

/** Returns the options, or throws a `RangeError`. */
const validated = ({ durability = "journal", lowMark, maxAge, size }: Options): Validated => {
  const refuse = (field: string, expected: string, actual: unknown): never => {
    throw new RangeError(`Pool: ${field} must be ${expected}, got ${String(actual)}`)
  }
  if (size.amount <= 0n) refuse("size", "greater than 0", size)
  const low = lowMark ?? Amount.make(size.unit, size.amount / 4n)
  if (low.unit !== size.unit || low.amount >= size.amount) refuse("lowMark", `less than ${size}`, low)
  const maxAgeMs = Duration.toMillis(Duration.fromInputUnsafe(maxAge ?? "5 minutes"))
  if (!(maxAgeMs >= 1_000)) refuse("maxAge", "at least 1 s", `${maxAgeMs} ms`)
  if (durability !== "journal" && durability !== "memory") refuse("durability", "journal or memory", durability)
  return { size: size.amount, lowMark: low.amount, maxAgeMs, durability }
}
