/** The known spend of the calls of a soak, by form, and the outcomes of the calls. */

/** A kind of leak or error that a test injects to show that it is found. */
export type Leak = "heap" | "handles" | "files" | "journal" | "books"

/** Counts by name. */
export type Counts = Map<string, number>

/** Adds 1 to a count. */
export const count = (counts: Counts, name: string): void => void counts.set(name, (counts.get(name) ?? 0) + 1)

/** The known spend and the outcomes of all calls. */
export interface Books {
  /** The known spend in tokens, by form. */
  readonly spent: Counts
  /** The calls, by form. */
  readonly calls: Counts
  /** The failures, by tag. */
  readonly failures: Counts
  /** The injected faults, by name. */
  readonly faults: Counts
  /** The logged messages, by level. */
  readonly logs: Counts
  /** Defects and other outcomes that must not occur. The first 20. */
  readonly unexpected: Array<string>
}

/** Empty books. */
export const make = (): Books => ({
  spent: new Map(),
  calls: new Map(),
  failures: new Map(),
  faults: new Map(),
  logs: new Map(),
  unexpected: []
})

/** Notes that a body has spent an amount. */
export const spend = ({ spent }: Books, form: string, tokens: number): void =>
  void spent.set(form, (spent.get(form) ?? 0) + tokens)

/** The sum of counts. */
export const total = (counts: ReadonlyMap<string, number>): number => {
  let sum = 0
  for (const value of counts.values()) sum += value
  return sum
}
