/**
 * Selects faults. Whether a call gets a fault depends only on the seed and the identity of the call, so that removing
 * other calls doesn't change it, and so that single faults can be switched off to shrink a failing world.
 */

/** The faults of a world. */
export class Chaos {
  /** The identities of the faults that were injected. */
  readonly met = new Set<string>()
  /** The identities of the messages that may arrive after their call has ended. */
  readonly late = new Set<string>()
  /** The identities of the requests of which the server got only a part. It refuses them as invalid. */
  readonly cut = new Set<string>()
  readonly #seed: number
  readonly #only: ReadonlySet<string> | undefined
  #isOver = false

  constructor(seed: number, only: ReadonlySet<string> | undefined) {
    this.#seed = seed
    this.#only = only
  }

  /** Returns a kind of fault with a probability, 0 to 1. */
  pick<K extends string>(identity: string, rate: number, kinds: ReadonlyArray<K>): K | undefined {
    if (this.#isOver || rate === 0 || kinds.length === 0) return undefined
    const drawn = hashOf(this.#seed, identity)
    if (drawn >= rate * 4_294_967_296) return undefined
    if (this.#only !== undefined && !this.#only.has(identity)) return undefined
    this.met.add(identity)
    const kind = kinds[hashOf(drawn, identity) % kinds.length]
    if (kind !== undefined && /late|doubled|abandon/.test(kind)) this.late.add(identity)
    if (kind === "the request is cut off") this.cut.add(identity)
    return kind
  }

  /** Whether a fault that isn't a call is injected: a crash, an outage or a jump of a clock. */
  allows(identity: string): boolean {
    if (this.#isOver || (this.#only !== undefined && !this.#only.has(identity))) return false
    this.met.add(identity)
    return true
  }

  /** A number from `least` to `most` that depends only on the seed and the identity. */
  between(identity: string, least: number, most: number): number {
    return least + (hashOf(this.#seed ^ 0x5bd1e995, identity) / 4_294_967_296) * (most - least)
  }

  /** Injects no more faults. */
  end(): void {
    this.#isOver = true
  }
}

/** A hash of 32 bits. */
const hashOf = (seed: number, text: string): number => {
  let hash = seed ^ 0x811c9dc5
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 16_777_619)
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
