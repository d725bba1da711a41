/**
 * Values for everyone who listens. Not a `PubSub`: that alone would be a twentieth of a small program's bundle.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

export interface Listeners<A> {
  /** Hands a value to everyone who listens now. */
  readonly publish: (value: A) => void
  /** Ends the streams after the values that they hold. */
  readonly end: () => void
  /** The values from now on. A slow listener loses the oldest. */
  readonly stream: Stream.Stream<A>
}

/** Makes listeners that hold at most so many values each. */
export const make = <A>(capacity: number): Listeners<A> => {
  const listeners = new Set<Listener<A>>()
  let isEnded = false
  const listen = Effect.acquireRelease(
    Effect.sync(() => {
      const listener: Listener<A> = { held: [], wake: nothing }
      listeners.add(listener)
      return listener
    }),
    (listener) => Effect.sync(() => listeners.delete(listener))
  )
  const take = (listener: Listener<A>): Effect.Effect<readonly [A, ...Array<A>], Cause.Done> =>
    Effect.suspend(() => {
      const [first, ...rest] = listener.held.splice(0)
      if (first !== undefined) return Effect.succeed([first, ...rest] as const)
      if (isEnded) return Cause.done()
      return Effect.callback<void>((resume) => {
        listener.wake = () => resume(Effect.void)
        return Effect.sync(() => {
          listener.wake = nothing
        })
      }).pipe(Effect.andThen(take(listener)))
    })
  return {
    publish: (value) => {
      for (const listener of listeners) {
        if (listener.held.push(value) > capacity) listener.held.shift()
        listener.wake()
      }
    },
    end: () => {
      isEnded = true
      for (const { wake } of listeners) wake()
    },
    stream: Stream.unwrap(Effect.map(listen, (listener) => Stream.fromPull(Effect.succeed(take(listener)))))
  }
}

interface Listener<A> {
  readonly held: Array<A>
  /** Resumes a listener that waits. */
  wake: () => void
}

const nothing = (): void => {}
