/** Values that a program in JavaScript can pass to any option: their getters throw, they have cycles, they are huge. */

/** What a hostile getter, trap or function throws. */
export class Hostile extends Error {
  override readonly name = "Hostile"
}

const fail = (): never => {
  throw new Hostile("thrown by a value of the caller")
}

const throwingHandler: ProxyHandler<object> = {
  get: fail,
  has: fail,
  ownKeys: fail,
  getOwnPropertyDescriptor: fail,
  getPrototypeOf: fail
}

/** Throws only for unknown fields and for the inspection of the object itself. */
const shyHandler: ProxyHandler<object> = { ownKeys: fail, getOwnPropertyDescriptor: fail, getPrototypeOf: fail }

const entriesOf = (good: unknown): ReadonlyArray<[string, unknown]> =>
  typeof good === "object" && good !== null ? Object.entries(good) : []

/**
 * An object whose fields are getters; `read` gets the name, the good value, and how often the field was read before.
 */
const withGetters = (good: unknown, read: (name: string, value: unknown, count: number) => unknown): object => {
  const made = {}
  for (const [name, value] of entriesOf(good)) {
    let count = 0
    Object.defineProperty(made, name, { enumerable: true, get: () => read(name, value, count++) })
  }
  return made
}

const nested = (levels: number): unknown => {
  let value: unknown = 1
  for (let i = 0; i < levels; i++) value = i % 2 === 0 ? [value] : { a: value }
  return value
}

const cycle = (good: unknown): unknown => {
  const made: Record<string, unknown> = Object.fromEntries(entriesOf(good))
  made["self"] = made
  made["list"] = [made, [made]]
  return made
}

const wide = (): unknown => Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`k${i}`, i]))

const thenKey = (value: unknown): [string, unknown] => [["th", "en"].join(""), value]

/** An object that promises would await. */
const withThen = (good: unknown, then: (resolve: (value: unknown) => void) => void): unknown =>
  Object.fromEntries([...entriesOf(good), thenKey(then)])

class Instance {
  readonly #good: Readonly<Record<string, unknown>>

  constructor(good: unknown) {
    this.#good = Object.fromEntries(entriesOf(good))
  }
  get unit(): unknown {
    return this.#good["unit"]
  }
  get amount(): unknown {
    return this.#good["amount"]
  }
  get kind(): unknown {
    return this.#good["kind"]
  }
  get name(): unknown {
    return this.#good["name"]
  }
}

/** The values by name. Each is made for a place, whose good value is given. */
export const hostileValues = {
  undefined: () => undefined,
  null: () => null,
  true: () => true,
  zero: () => 0,
  minus: () => -1,
  fraction: () => 1.5,
  NaN: () => Number.NaN,
  infinity: () => Number.POSITIVE_INFINITY,
  unsafe: () => 2 ** 60,
  bigint: () => 10n ** 40n,
  "negative bigint": () => -1n,
  "empty text": () => "",
  "lone surrogate": () => "a\ud800b",
  "control characters": () => "a\u0000\r\nx-injected: 1",
  "huge text": () => "x".repeat(2_000_000),
  "huge text of quotes": () => '"\\'.repeat(1_000_000),
  symbol: () => Symbol("hostile"),
  function: () => fail,
  "async function": () => async () => fail(),
  "empty object": () => ({}),
  "empty list": () => [],
  "list of nothing": () => Array.from({ length: 3 }),
  "sparse list": () => Object.assign([], { 100_000: 1 }),
  "throwing getters": (good: unknown) => withGetters(good, fail),
  "throwing getter of metadata": () => ({
    get hostile(): never {
      return fail()
    }
  }),
  "getters that change": (good: unknown) =>
    withGetters(good, (_, value, count) => (count === 0 ? value : count % 2 === 1 ? undefined : "changed")),
  "getters that throw later": (good: unknown) => withGetters(good, (_, value, count) => (count < 2 ? value : fail())),
  "throwing proxy": () => new Proxy({}, throwingHandler),
  "shy proxy": (good: unknown) => new Proxy(Object(good), shyHandler),
  "transparent proxy": (good: unknown) => new Proxy(Object(good), {}),
  "throwing proxy of a function": () => new Proxy(fail, throwingHandler),
  "revoked proxy": () => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy
  },
  "revoked proxy of a list": () => {
    const { proxy, revoke } = Proxy.revocable<Array<unknown>>([], {})
    revoke()
    return [proxy]
  },
  cycle,
  deep: () => nested(30_000),
  "deep object": (good: unknown) => ({ ...Object(good), deep: nested(30_000) }),
  wide,
  "class instance": (good: unknown) => new Instance(good),
  "object without a prototype": (good: unknown) =>
    Object.assign(Object.create(null), typeof good === "object" ? good : {}),
  "frozen object": (good: unknown) => Object.freeze({ ...Object(good) }),
  "own __proto__": (good: unknown) =>
    Object.defineProperty({ ...Object(good) }, "__proto__", { enumerable: true, value: { amount: 1 } }),
  thenable: (good: unknown) => withThen(good, (resolve) => resolve(good)),
  "throwing thenable": (good: unknown) => withThen(good, fail),
  promise: (good: unknown) => Promise.resolve(good),
  "endless promise": () => new Promise(() => {}),
  map: () => new Map([["a", 1]]),
  set: () => new Set([1]),
  date: () => new Date(0),
  "invalid date": () => new Date(Number.NaN),
  "regular expression": () => /x/,
  bytes: () => new Uint8Array(1_000),
  error: () => new Error("an error as a value"),
  "throwing toJSON": (good: unknown) => ({ ...Object(good), toJSON: fail }),
  "throwing toString": () => ({ toString: fail, valueOf: fail, [Symbol.toPrimitive]: fail }),
  "toJSON of itself": () => {
    const made = { toJSON: (): unknown => made }
    return made
  },
  "symbol keys": (good: unknown) => ({ ...Object(good), [Symbol("a")]: 1, [Symbol.iterator]: fail }),
  undefinedFields: (good: unknown) => ({ ...Object(good), extra: undefined, more: fail, bigint: 1n }),
  "extra fields": (good: unknown) => ({ ...Object(good), constructor: 1, hasOwnProperty: null, toString: 2 })
} as const satisfies Readonly<Record<string, (good: unknown) => unknown>>

/** The name of a value. */
export type HostileName = keyof typeof hostileValues
