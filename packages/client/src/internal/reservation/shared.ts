/**
 * One reservation for several calls. Each call draws its estimate, and its spend stays in the reservation when it ends.
 *
 * The module counts only. The owner of the reservation decides who may draw, and settles the reservation.
 */

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The owner of a shared reservation. */
export interface Owner {
  /** The recorded spend of the reservation, in the unit of its estimate. Spend of calls that have ended is included. */
  readonly recordedAmount: bigint
  /** A call has ended, or has recorded more after its end. Not called after the reservation was closed. */
  readonly onDrawn: (amount: bigint, isEstimated: boolean) => void
  /** The known spend of open calls has grown. */
  readonly onGrown: () => void
}

/** The spend of a call. */
export interface Drawn {
  /** The amount, with the spend of the calls inside it. */
  readonly actual: bigint
  /** The amount without the spend of the calls inside it. */
  readonly own: bigint
  readonly isEstimated: boolean
}

/** A call that has drawn on the reservation. */
export interface Call {
  /** How it ended; `unknown` if it is open. */
  readonly end: "COMMITTED" | "RELEASED" | "EXPIRED" | "unknown"
}

/** The calls with one action. */
export interface Line {
  calls: number
  charged: bigint
}

// ---------------------------------------------------------------------------------------------------------------------
// shared
// ---------------------------------------------------------------------------------------------------------------------

/** A reservation that calls draw on. */
export class Shared<O extends Owner> {
  readonly owner: O
  readonly size: bigint
  readonly #open = new Set<Draw<O>>()
  readonly #lines = new Map<string, Line>()
  readonly #keys = new Map<string, Call>()
  /** The sum that open calls hold. */
  #drawing = 0n
  /** The known spend of open calls. */
  #known = 0n
  #drawn = 0n
  #isClosed = false
  #next: Shared<O> | undefined = undefined

  constructor(owner: O, size: bigint) {
    this.owner = owner
    this.size = size
  }

  /** The spend of the calls that have ended. */
  get drawn(): bigint {
    return this.#drawn
  }

  /** The known spend of the open calls. */
  get known(): bigint {
    return this.#known
  }

  /**
   * The amount that another call can draw. Negative if more is spent than reserved, or if the reservation is closed.
   */
  get room(): bigint {
    if (this.#isClosed) return -1n
    const { recordedAmount } = this.owner
    return this.size - (recordedAmount > this.#drawn ? recordedAmount : this.#drawn) - this.#drawing
  }

  /** The calls by action. They don't include calls that are still open. */
  get lines(): ReadonlyMap<string, Line> {
    return this.#lines
  }

  /** The open calls. */
  get open(): ReadonlySet<Draw<O>> {
    return this.#open
  }

  /** The call with this caller-supplied key that has drawn on the reservation, if there is one. */
  callOf(key: string): Call | undefined {
    return this.#keys.get(key) ?? this.#next?.callOf(key)
  }

  /** Remembers the caller-supplied key of a call. */
  addKey(key: string, call: Call): void {
    this.#keys.set(key, call)
  }

  /** Draws an estimate. The caller has checked that there is room. */
  draw(estimate: bigint, action: string): Draw<O> {
    const draw = new Draw(this, estimate, action)
    this.#open.add(draw)
    this.#drawing += draw.held
    return draw
  }

  /**
   * The settlement of the reservation is decided. Calls that are still open belong to the next reservation, the one
   * that this one is drawn from. If there is none, their spend is late.
   */
  close(next: Shared<O> | undefined): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#next = next?.current
    if (this.#next !== undefined) {
      for (const [key, call] of this.#keys) this.#next.addKey(key, call)
      for (const [action, line] of this.#lines) this.#next.#count(action, line)
      for (const draw of this.#open) {
        this.#next.#open.add(draw)
        this.#next.#drawing += draw.held
        this.#next.#known += draw.known
      }
    }
    this.#open.clear()
    this.#drawing = 0n
    this.#known = 0n
  }

  /** This reservation, or else the open one that it is drawn from. */
  get current(): Shared<O> | undefined {
    return this.#isClosed ? this.#next?.current : this
  }

  /** The known spend of an open call has changed, and with it the amount that it holds. */
  static grow<O extends Owner>(draw: Draw<O>, held: bigint, known: bigint): void {
    const shared = draw.shared.current
    if (shared === undefined || !shared.#open.has(draw)) return
    shared.#drawing += held
    shared.#known += known
    shared.owner.onGrown()
  }

  /** A call has ended. Returns false if no reservation is open. */
  static end<O extends Owner>(draw: Draw<O>, { actual, isEstimated, own }: Drawn): boolean {
    const shared = draw.shared.current
    if (shared === undefined) return false
    if (shared.#open.delete(draw)) {
      shared.#drawing -= draw.held
      shared.#known -= draw.known
    }
    shared.#drawn += actual
    shared.#count(draw.action, { calls: 1, charged: own })
    shared.owner.onDrawn(actual, isEstimated)
    return true
  }

  /** A call has recorded more after its end. Returns false if no reservation is open. */
  static add<O extends Owner>(draw: Draw<O>, amount: bigint): boolean {
    const shared = draw.shared.current
    if (shared === undefined) return false
    shared.#drawn += amount
    shared.#count(draw.action, { calls: 0, charged: amount })
    shared.owner.onDrawn(amount, false)
    return true
  }

  #count(action: string, { calls, charged }: Line): void {
    const name = this.#lines.has(action) || this.#lines.size < maxLines ? action : "other"
    const line = this.#lines.get(name)
    if (line === undefined) this.#lines.set(name, { calls, charged })
    else {
      line.calls += calls
      line.charged += charged
    }
  }
}

/** More actions than this are counted as `other`. */
const maxLines = 32

// ---------------------------------------------------------------------------------------------------------------------
// draw
// ---------------------------------------------------------------------------------------------------------------------

/** The part of a shared reservation that one call holds. */
export class Draw<O extends Owner> {
  /** The reservation that the call was made in. */
  readonly shared: Shared<O>
  readonly action: string
  /** Called when the lease of the reservation is lost. */
  onLost: ((reason: string) => void) | undefined = undefined
  #held: bigint
  #known = 0n

  constructor(shared: Shared<O>, estimate: bigint, action: string) {
    this.shared = shared
    this.action = action
    this.#held = estimate
  }

  /** The estimate, or the known spend if it is larger. */
  get held(): bigint {
    return this.#held
  }

  /** The known spend of the call so far. */
  get known(): bigint {
    return this.#known
  }

  /** The known spend has changed. */
  grow(total: bigint): void {
    const known = total - this.#known
    const held = total > this.#held ? total - this.#held : 0n
    this.#known = total
    this.#held += held
    Shared.grow(this, held, known)
  }

  /**
   * The call has ended. Returns false if its spend is late: the reservation is settled, so it is charged by an event.
   */
  end(drawn: Drawn): boolean {
    return Shared.end(this, drawn)
  }

  /** The call has recorded more after its end. Returns false if the amount has to be charged by an event. */
  add(amount: bigint): boolean {
    return Shared.add(this, amount)
  }
}
