/**
 * Trying again: the one loop of the client. The schedule says how long to wait, the server may ask for longer, a flush
 * for shorter, and the closing layer for none.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Engine } from "./runtime.ts"

/** What an attempt led to: the end, or a reason to try again. */
export type Attempt<A> = Ended<A> | Again

/** The end. */
export interface Ended<A> {
  readonly _tag: "Ended"
  readonly value: A
}

/** A reason to try again. */
export interface Again {
  readonly _tag: "Again"
  readonly because: string
  /** The server asked not to be asked again before this time has passed; 0 where it didn't. */
  readonly floorMs: number
  /** Whether trying again in this run is useless. */
  readonly isLast: boolean
}

/** The end. */
export const ended = <A>(value: A): Ended<A> => ({ _tag: "Ended", value })

/** A reason to try again. */
export const again = (because: string, floorMs: number, isLast = false): Again => ({
  _tag: "Again",
  because,
  floorMs,
  isLast
})

/** Goes on after a first attempt, until one ends it or the attempts of this run are used up. */
export const goOn = <A>(
  engine: Engine,
  first: Attempt<A>,
  attempt: Effect.Effect<Attempt<A>>,
  giveUp: (last: Again) => Effect.Effect<A>
): Effect.Effect<A> => {
  if (first._tag === "Ended") return Effect.succeed(first.value)
  return Effect.flatMap(Schedule.toStep(engine.config.retry), (step) => {
    const after = (failed: Again): Effect.Effect<A> =>
      failed.isLast
        ? giveUp(failed)
        : Effect.flatMap(wait(engine, step, failed), (isOver) =>
            isOver
              ? giveUp(failed)
              : Effect.flatMap(attempt, (next) => (next._tag === "Ended" ? Effect.succeed(next.value) : after(next)))
          )
    return after(first)
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

type Step = Effect.Success<ReturnType<typeof Schedule.toStep<unknown, unknown, never, never>>>

/** Waits for the next attempt; true when there is none. */
const wait = (engine: Engine, step: Step, failed: Again): Effect.Effect<boolean> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.matchEffect(step(now, failed), {
      onFailure: () => Effect.succeed(true),
      onSuccess: ([, delay]) => engine.pause(Duration.toMillis(delay), failed.floorMs)
    })
  )
