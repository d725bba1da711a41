/**
 * The life of a reservation: every state, every event, and where each leads. It is the only place that says so;
 * `withCycles`, scoped reservations and streams all move along it.
 *
 * Known spend has four ways to end: `settled`, `recovered`, `pending` or `deadLetter`. `released` is reached only when
 * nothing was spent.
 */

/** Where a reservation can be. */
export type State = keyof typeof transitions

/** What can happen to it. */
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
 * State -> event -> next state. What isn't listed can't happen.
 *
 * - `reserving`: the request is out; an ambiguous answer repeats it with the same key.
 * - `abandoned`: nobody waits for the answer any more; the same request is repeated to learn the id and release it.
 * - `active`: the body runs.
 * - `committing`, `recovering`, `releasing`: settling, by commit, by an event after the lease has ended, by release.
 * - `pending`: the spend is in the journal and a later run takes it up.
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

/** The state that an event leads to, or nothing where the event can't happen. */
export const next = (state: State, event: Event): State | undefined => {
  const row: Partial<Record<Event, State>> = transitions[state]
  return row[event]
}

/** Whether a settlement has been decided: a second one is refused. */
export const isDecided = (state: State): boolean => state !== "reserving" && state !== "abandoned" && state !== "active"

/** The state that an event leads to; an event that can't happen is a defect of the client, and dies. */
export const advance = (state: State, event: Event): State => {
  const to = next(state, event)
  if (to === undefined) throw new Error(`A reservation that is ${state} can't be ${event}`)
  return to
}
