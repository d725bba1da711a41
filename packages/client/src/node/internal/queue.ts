/** Runs asynchronous work one after the other for each key. Work continues even if its caller has stopped waiting. */

/** A queue for each key. */
export interface Queue {
  /** Runs work after all earlier work with the same key has ended. */
  readonly run: <A>(key: string, work: () => Promise<A>) => Promise<A>
}

/** Makes a queue without work. */
export const make = (): Queue => {
  const last = new Map<string, Promise<unknown>>()
  return {
    run: (key, work) => {
      const before = last.get(key)
      const result = before === undefined ? work() : before.then(work, work)
      last.set(key, result)
      const forget = (): void => {
        if (last.get(key) === result) last.delete(key)
      }
      result.then(forget, forget)
      return result
    }
  }
}
