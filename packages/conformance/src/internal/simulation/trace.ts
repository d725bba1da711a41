/** The trace of a world: a hash of everything that happened, and the events themselves if a person will read them. */

/** One event. */
export interface Line {
  readonly atMs: number
  readonly who: string
  readonly what: string
}

/** A trace. Two runs of a seed have the same hash. */
export class Trace {
  readonly lines: Array<Line> = []
  readonly isRecorded: boolean
  #high = 0xdeadbeef
  #low = 0x41c6ce57
  count = 0

  constructor(isRecorded: boolean) {
    this.isRecorded = isRecorded
  }

  /** Adds an event. `detail` is only for the reader: it is evaluated if the trace is recorded. */
  add(atMs: number, who: string, what: string, detail?: () => string): void {
    this.count += 1
    this.#mix(Math.round(atMs * 1_000) | 0)
    this.#text(who)
    this.#text(what)
    if (!this.isRecorded) return
    const more = detail?.()
    this.lines.push({ atMs, who, what: more === undefined || more === "" ? what : `${what} ${more}` })
  }

  /** The hash so far, 16 hexadecimal digits. */
  get hash(): string {
    return (this.#high >>> 0).toString(16).padStart(8, "0") + (this.#low >>> 0).toString(16).padStart(8, "0")
  }

  #text(text: string): void {
    for (let at = 0; at < text.length; at += 1) this.#mix(text.charCodeAt(at))
  }

  #mix(value: number): void {
    this.#high = Math.imul(this.#high ^ value, 2_654_435_761)
    this.#low = Math.imul(this.#low ^ value ^ (this.#high >>> 15), 1_597_334_677)
  }
}
