/** Publishes values to streams. A `PubSub` would add 5 % to the bundle of a small program. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** Values for any number of streams. */
export interface Listeners<A> {
  /** Whether a stream is open. */
  readonly isOpen: () => boolean
  /** Sends a value to every open stream. */
  readonly publish: (value: A) => void
  /** Ends the streams after their buffered values. */
  readonly end: () => void
  /** Emits the values from now on. A slow consumer loses the oldest. */
  readonly stream: Stream.Stream<A>
}

/** Makes listeners with a buffer of `capacity` values for each stream. */
export const make = <A>(capacity: number): Listeners<A> => {
  const listeners = new Set<Listener<A>>()
  let isEnded = false
  const listen = Effect.acquireRelease(
    Effect.sync(() => {
      const listener: Listener<A> = { buffered: [], wake: nothing }
      listeners.add(listener)
      return listener
    }),
    (listener) => Effect.sync(() => listeners.delete(listener))
  )
  const take = (listener: Listener<A>): Effect.Effect<readonly [A, ...Array<A>], Cause.Done> =>
    Effect.suspend(() => {
      const [first, ...rest] = listener.buffered.splice(0).slice(-capacity)
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
    isOpen: () => listeners.size > 0,
    publish: (value) => {
      for (const listener of listeners) {
        // Dropping the oldest half at once takes a small constant time for each value.
        if (listener.buffered.push(value) >= 2 * capacity) listener.buffered.splice(0, capacity)
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

/** One open stream. */
interface Listener<A> {
  readonly buffered: Array<A>
  /** Resumes a waiting consumer. */
  wake: () => void
}

const nothing = (): void => {}
