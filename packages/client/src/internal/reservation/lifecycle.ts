/**
 * The lifecycle of a reservation: every state, every event, and the next state. Guards, streams, scoped reservations,
 * settlements and recovery all use this table.
 *
 * Known spend ends in `settled`, `recovered`, `pending` or `deadLetter`. `released` is reached only without spend, or
 * with the policy `onFailure: "release"`.
 */
import * as Context from "effect/Context"

/** A state of a reservation. */
export type State = keyof typeof transitions

/** An event in the life of a reservation. */
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
 * State -> event -> next state. An event that isn't listed is a bug.
 *
 * - `reserving`: the request was sent. After an ambiguous response it is repeated with the same key.
 * - `abandoned`: no caller waits for the response. The request is repeated to learn the id, and the reservation is
 *   released.
 * - `active`: the body runs.
 * - `committing`, `recovering`, `releasing`: the settlement is in progress, by a commit, by an event after the lease
 *   has ended, or by a release.
 * - `pending`: the attempts of this run are used up. A later scan retries the record.
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

/** The state after an event; nothing if the event isn't listed. */
export const next = (state: State, event: Event): State | undefined => {
  const row: Partial<Record<Event, State>> = transitions[state]
  return row[event]
}

/** Observes every transition, for tests. `to` is absent if the event isn't listed for the state. */
export type Observer = (from: State, event: Event, to: State | undefined) => void

/** The observer of a client. Read when its layer is built. */
export const CurrentObserver = Context.Reference<Observer | undefined>("effect-cycles/internal/LifecycleObserver", {
  defaultValue: () => undefined
})

/** The state of one reservation. Only events change it. */
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
   * Applies an event. An event that isn't listed doesn't change the state, because a bug in the client must not stop a
   * settlement.
   */
  fire(event: Event): void {
    const to = next(this.#state, event)
    this.#observer?.(this.#state, event, to)
    if (to !== undefined) this.#state = to
  }
}
