/**
 * Replaces the global sources of time and randomness while a world runs. Timers run in virtual time, UUIDs and digests
 * are computed from the seed, and everything else that isn't repeatable throws and is reported.
 */
import { createHash } from "node:crypto"
import type { World } from "./world.ts"

/** Runs a world with the replaced globals. */
export const controlled = async <A>(
  world: World,
  seed: number,
  report: (problem: string) => void,
  run: () => Promise<A>
): Promise<A> => {
  let uuids = 0
  const { crypto } = globalThis
  const refuse = (name: string) => () => {
    report(`${name} was called: it isn't repeatable`)
    throw new Error(`${name} isn't available in a simulation`)
  }
  const uuid = (): string => {
    const digits = createHash("md5")
      .update(`${seed} ${(uuids += 1)}`)
      .digest("hex")
    return [8, 4, 4, 4, 12]
      .reduce(
        ({ from, parts }, length) => ({ from: from + length, parts: [...parts, digits.slice(from, from + length)] }),
        { from: 0, parts: Array.of<string>() }
      )
      .parts.join("-")
  }
  const restore = [
    replace(Math, "random", refuse("Math.random")),
    // The stacks of errors cost a tenth of the time, and nothing reads them.
    replace(Error, "stackTraceLimit", 0),
    replace(Date, "now", refuse("Date.now")),
    replace(performance, "now", refuse("performance.now")),
    replace(globalThis, "setImmediate", refuse("setImmediate")),
    replace(globalThis, "setInterval", refuse("setInterval")),
    replace(globalThis, "setTimeout", (callback: () => void, ms = 0) => {
      const { current } = world
      return current === undefined ? world.at(ms, callback) : current.after(ms, callback)
    }),
    replace(globalThis, "clearTimeout", (timer: Parameters<World["cancel"]>[0] | undefined) => {
      if (timer !== undefined) world.cancel(timer)
    }),
    replace(crypto, "randomUUID", uuid),
    replace(crypto, "getRandomValues", refuse("crypto.getRandomValues")),
    replace(crypto, "subtle", subtleOf(world))
  ]
  try {
    return await run()
  } finally {
    for (const undo of restore.toReversed()) undo()
  }
}

/** The operations of `crypto.subtle` that the client uses, computed at once. */
const subtleOf = (world: World) => {
  const after = <A>(value: A): Promise<A> => {
    world.promises += 1
    return Promise.resolve(value)
  }
  const digestOf = (...parts: ReadonlyArray<Uint8Array>): ArrayBuffer => {
    const hash = createHash("sha256")
    for (const part of parts) hash.update(part)
    return new Uint8Array(hash.digest()).buffer
  }
  return {
    importKey: (_format: string, key: Uint8Array) => after(key),
    // The real one takes 30,000 rounds. Only the equality of the results matters.
    deriveBits: ({ salt }: { readonly salt: Uint8Array }, key: Uint8Array) => after(digestOf(key, salt)),
    digest: (_name: string, data: Uint8Array) => after(digestOf(data))
  }
}

/** Replaces a property and returns a function that restores it. */
const replace = (target: object, name: string, value: unknown): (() => void) => {
  const before = Object.getOwnPropertyDescriptor(target, name)
  Object.defineProperty(target, name, {
    value,
    configurable: true,
    writable: true,
    enumerable: before?.enumerable ?? false
  })
  return () => {
    if (before === undefined) Reflect.deleteProperty(target, name)
    else Object.defineProperty(target, name, before)
  }
}
