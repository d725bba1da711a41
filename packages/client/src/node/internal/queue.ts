/**
 * Runs asynchronous work in order, key by key: an operation that nobody waits for any more may still be running.
 */

export interface Queue {
  /** Runs work after all earlier work of the same key, however that ended. */
  readonly run: <A>(key: string, work: () => Promise<A>) => Promise<A>
}

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
