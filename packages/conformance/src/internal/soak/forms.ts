/**
 * The forms of calls of a soak. Each notes its known spend on its own, where a body spends, and charges the budget of
 * its form, so that the server's books can be compared with it.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as Cycles from "effect-cycles/Cycles"
import * as CyclesClient from "effect-cycles/CyclesClient"
import type { CyclesError } from "effect-cycles/CyclesError"
import * as Pool from "effect-cycles/Pool"
import * as Reservation from "effect-cycles/Reservation"
import * as Run from "effect-cycles/Run"
import * as RunLimits from "effect-cycles/RunLimits"
import { withSubject } from "effect-cycles/Subject"
import type { Books } from "./books.ts"
import { spend } from "./books.ts"

/** A form of calls, and how often it is picked compared with the others. */
export interface Form<R = never> {
  readonly name: string
  readonly weight: number
  readonly run: Effect.Effect<unknown, unknown, Cycles.Cycles | CyclesClient.CyclesClient | R>
}

/** A failure of user code. */
class BodyFailed {
  readonly _tag = "BodyFailed"
}

const action = { kind: "tool.call", name: "soak" }
const estimate = Amount.tokens(1_000)

/** An integer; both limits are included. */
const between = (minimum: number, maximum: number) => Random.nextIntBetween(minimum, maximum)

/** A pause, as a call of a provider has one. */
const pause = (maximumMs: number) => Effect.flatMap(between(0, maximumMs), (ms) => Effect.sleep(ms))

/** The forms of `effect-cycles`, without models. */
export const make = (books: Books, tenant: string): ReadonlyArray<Form> => {
  const form = (name: string, weight: number, run: (name: string) => Form["run"]): Form => ({
    name,
    weight,
    run: withSubject(run(name), { agent: name })
  })

  /** A body that spends an amount and returns it. Its guard gets the amount from the result. */
  const body = (name: string, maximumMs = 20) =>
    Effect.gen(function* () {
      yield* pause(maximumMs)
      const tokens = yield* between(0, 1_000)
      spend(books, name, tokens)
      return tokens
    })

  /** Spends and records an amount in one step, which an interruption can't divide. */
  const add = (name: string, tokens: number) =>
    Effect.uninterruptible(
      Effect.suspend(() => {
        spend(books, name, tokens)
        return Effect.orDie(Reservation.add(Amount.tokens(tokens)))
      })
    )

  /** A body that records its spend in steps. */
  const steps = (name: string, maximumMs = 20) =>
    Effect.gen(function* () {
      for (let left = yield* between(1, 4); left > 0; left -= 1) {
        yield* pause(maximumMs)
        yield* add(name, yield* between(0, 300))
      }
    })

  const guarded = (
    name: string,
    options?: Partial<Cycles.GuardOptions<number, [], "TOKENS", "warn", "report", never>>
  ) => body(name).pipe(Cycles.withCycles({ action, estimate, actual: (tokens) => Amount.tokens(tokens), ...options }))

  /** Elements that cost tokens each. */
  const elements = (name: string) =>
    Stream.unwrap(
      Effect.map(between(1, 12), (count) =>
        Stream.range(1, count).pipe(
          Stream.rechunk(1),
          Stream.mapEffect((index) =>
            Effect.as(
              pause(4).pipe(Effect.tap(() => Effect.sync(() => spend(books, name, index)))),
              Amount.tokens(index)
            )
          )
        )
      )
    )

  const streamed = (name: string) =>
    Cycles.withCyclesStream(elements(name), { action, estimate, usage: (tokens: Amount.Amount<"TOKENS">) => tokens })

  const reserved = Cycles.reserve({ action, estimate })

  return [
    form("guard", 20, (name) => guarded(name)),
    form("guard-over-estimate", 2, (name) => guarded(name, { estimate: Amount.tokens(500) })),
    form("guard-waiting", 2, (name) => guarded(name, { settle: "wait" })),
    form("guard-background", 4, (name) => guarded(name, { settle: "background" })),
    form("guard-failing", 4, (name) =>
      Effect.andThen(steps(name), Effect.fail(new BodyFailed())).pipe(Cycles.withCycles({ action, estimate }))
    ),
    form("guard-interrupted", 4, (name) =>
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(steps(name, 40).pipe(Cycles.withCycles({ action, estimate })))
        yield* pause(120)
        yield* Fiber.interrupt(fiber)
      })
    ),
    form("guard-crash-record", 4, (name) =>
      steps(name).pipe(Cycles.withCycles({ action, estimate, onCrash: "recorded" }))
    ),
    form("guard-unreachable", 4, (name) => guarded(name, { onUnreachable: "allow" })),
    form("guard-lease", 1, (name) =>
      Effect.andThen(Effect.sleep("6 seconds"), body(name)).pipe(
        Cycles.withCycles({ action, estimate, actual: (tokens: number) => Amount.tokens(tokens), ttl: "8 seconds" })
      )
    ),
    form("guard-denied", 2, (name) => guarded(name, { estimate: Amount.tokens(100_000) })),
    form("stream", 6, (name) => Stream.runDrain(streamed(name))),
    form("stream-taken", 3, (name) => Stream.runDrain(Stream.take(streamed(name), 3))),
    form("stream-failing", 2, (name) =>
      Stream.runDrain(
        Stream.concat(elements(name), Stream.fail(new BodyFailed())).pipe(
          Cycles.withCyclesStream({ action, estimate, usage: (tokens: Amount.Amount<"TOKENS">) => tokens })
        )
      )
    ),
    form("reserve-commit", 6, (name) =>
      Effect.scoped(
        Effect.gen(function* () {
          const reservation = yield* reserved
          yield* reservation.commit({ actual: Amount.tokens(yield* body(name)) })
        })
      )
    ),
    form("reserve-release", 3, () =>
      Effect.scoped(Effect.flatMap(reserved, (reservation) => reservation.release("not needed")))
    ),
    form("reserve-close", 3, (name) =>
      Effect.scoped(
        Effect.gen(function* () {
          const reservation = yield* reserved
          yield* Effect.provideService(steps(name), Reservation.Reservation, reservation)
          yield* reservation.extend("5 seconds")
          if (yield* Random.nextBoolean) return yield* Effect.fail(new BodyFailed())
        })
      )
    ),
    form("event", 6, (name) =>
      Effect.gen(function* () {
        const tokens = yield* body(name, 0)
        // A repeated event with the same key is charged once.
        yield* Effect.retry(
          Cycles.event({ action, actual: Amount.tokens(tokens), idempotencyKey: globalThis.crypto.randomUUID() }),
          { while: isRepeatable }
        )
      })
    ),
    form("decide", 3, () => Cycles.decide({ action, estimate })),
    form("balances", 1, () => Stream.runDrain(Cycles.balances({ tenant, includeChildren: true }))),
    form("list", 1, () =>
      Effect.flatMap(CyclesClient.CyclesClient, (client) => client.listReservations({ tenant, limit: 20 }))
    ),
    form("nested-join", 4, (name) =>
      Effect.gen(function* () {
        yield* steps(name)
        yield* Effect.forEach([1, 2], () => guarded(name, { estimate: Amount.tokens(300), nested: "join" }), {
          concurrency: 2
        })
      }).pipe(Cycles.withCycles({ action, estimate: Amount.tokens(2_000) }))
    ),
    form("nested-independent", 2, (name) =>
      Effect.andThen(steps(name), guarded(name)).pipe(Cycles.withCycles({ action, estimate }))
    ),
    form("pool", 3, (name) =>
      Effect.scoped(
        Effect.gen(function* () {
          const pool = yield* Cycles.pool({ action, size: Amount.tokens(5_000), maxAge: "1 second" })
          const failing = Effect.andThen(steps(name), Effect.fail(new BodyFailed())).pipe(
            Cycles.withCycles({ action, estimate })
          )
          // Some calls are open when a block is replaced, and some fail.
          yield* Effect.forEach(
            Array.from({ length: yield* between(5, 60) }, (_, i) => (i % 8 === 7 ? failing : guarded(name))),
            (call) => Effect.andThen(pause(300), Effect.ignore(call)),
            { concurrency: 6 }
          ).pipe(Pool.within(pool))
        })
      )
    ),
    form("run", 4, (name) => Run.outcome(agent(name), runOptions)),
    form("run-waiting", 2, (name) => Run.outcome(agent(name), { ...runOptions, whenHeld: { wait: "200 millis" } })),
    form("run-hold", 3, (name) =>
      Run.outcome(Effect.andThen(agent(name), Effect.ignore(Run.outcome(agent(name), { ...runOptions, hold: true }))), {
        ...runOptions,
        hold: true
      })
    ),
    form("run-children", 2, (name) =>
      Effect.forEach([1, 2, 3], () => Effect.ignore(Run.outcome(agent(name), { ...runOptions, share: "carve" })), {
        concurrency: 3
      }).pipe(Cycles.withBudget(Amount.tokens(9_000), { name: "soak" }))
    )
  ]

  /** Calls with steps and tool calls, some of which exceed the limits of their run. */
  function agent(name: string) {
    return Effect.gen(function* () {
      for (let left = yield* between(1, 5); left > 0; left -= 1) {
        const step = yield* RunLimits.takeStep(action)
        yield* RunLimits.withinStep(guarded(name), step)
        yield* RunLimits.takeToolCall("search", { left: yield* between(0, 2) })
        yield* Effect.forEach([1, 2], () => guarded(name), { concurrency: 2 })
      }
    })
  }
}

const runOptions = {
  name: "soak",
  budget: Amount.tokens(4_000),
  limits: { steps: 4, toolCalls: 4, repeats: 3 }
} as const

/** Events are repeated after every error, because all faults end by themselves. */
const isRepeatable = (_: CyclesError): boolean => true
