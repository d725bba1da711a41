/**
 * The life of a reservation: every state, every event, and the state that each event leads to. Guards, streams, scoped
 * reservations, settlements and recovery all move along this table, and along nothing else.
 *
 * Known spend ends in one of four ways: `settled`, `recovered`, `pending` or `deadLetter`. `released` is reached only if
 * nothing was spent.
 */
import * as Context from "effect/Context"

/** A state of a reservation. */
export type State = keyof typeof transitions

/** Something that happens to a reservation. */
export type Event =
  | "allowed"
  | "refused"
  | "ambiguous"
  | "abandoned"
  | "gaveUp"
  | "commitDecided"
  | "releaseDecided"
  | "confirmed"
  | "expired"
  | "unknown"
  | "rejected"
  | "exhausted"
  | "replayed"

/**
 * State -> event -> next state. An event that isn't listed can't happen.
 *
 * - `reserving`: the request was sent; after an ambiguous response it is repeated with the same key.
 * - `abandoned`: no caller waits for the response; the request is repeated to learn the id, and the reservation released.
 * - `active`: the body runs.
 * - `committing`, `recovering`, `releasing`: the settlement is under way, by a commit, by an event after the lease has
 *   ended, or by a release.
 * - `pending`: the attempts of this run are used up; a later scan retries the record.
 */
export const transitions = {
  reserving: { allowed: "active", refused: "refused", ambiguous: "reserving", abandoned: "abandoned" },
  abandoned: { allowed: "releasing", refused: "refused", ambiguous: "abandoned", gaveUp: "lapsed" },
  active: { commitDecided: "committing", releaseDecided: "releasing" },
  committing: {
    confirmed: "settled",
    expired: "recovering",
    unknown: "committing",
    rejected: "deadLetter",
    exhausted: "pending"
  },
  recovering: { confirmed: "recovered", unknown: "recovering", rejected: "deadLetter", exhausted: "pending" },
  releasing: { confirmed: "released", unknown: "releasing", gaveUp: "lapsed" },
  pending: { replayed: "committing", expired: "recovering", rejected: "deadLetter" },
  refused: {},
  settled: {},
  recovered: {},
  released: {},
  lapsed: {},
  deadLetter: {}
} as const satisfies Record<string, Partial<Record<Event, string>>>

/** The state that an event leads to; nothing if the event can't happen. */
export const next = (state: State, event: Event): State | undefined => {
  const row: Partial<Record<Event, State>> = transitions[state]
  return row[event]
}

/** Whether a settlement has been decided: a second one fails with `AlreadySettled`. */
export const isDecided = (state: State): boolean => state !== "reserving" && state !== "abandoned" && state !== "active"

/** Sees every transition; for tests. `to` is absent if the event can't happen in that state. */
export type Observer = (from: State, event: Event, to: State | undefined) => void

/** The observer of a client, read when its layer is built. */
export const CurrentObserver = Context.Reference<Observer | undefined>("effect-cycles/internal/LifecycleObserver", {
  defaultValue: () => undefined
})

/** The state of one reservation. It moves only by events. */
export class Lifecycle {
  #state: State
  readonly #observer: Observer | undefined

  constructor(state: "reserving" | "pending", observer: Observer | undefined) {
    this.#state = state
    this.#observer = observer
  }

  get state(): State {
    return this.#state
  }

  /**
   * Moves on. An event that can't happen leaves the state alone: a mistake in the client must not stop a settlement.
   */
  fire(event: Event): void {
    const to = next(this.#state, event)
    this.#observer?.(this.#state, event, to)
    if (to !== undefined) this.#state = to
  }
}
