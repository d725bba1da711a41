/**
 * The expected output of the programs, which is the same on every runtime.
 */

/** The lines that `quickstart` returns. */
export const quickstartLines: ReadonlyArray<string> = [
  "guard: You said: Hello, committed 42 TOKENS, 9958 TOKENS left",
  "dry run: nothing reserved (dry run), 9958 TOKENS left",
  "stream: Budgets that hold, committed 60 TOKENS, 9898 TOKENS left",
  "by hand: extended, committed 10 TOKENS, 9888 TOKENS left",
  "denied: BUDGET_EXCEEDED, 9888 TOKENS left",
  "decide: DENY",
  "event: APPLIED, 9883 TOKENS left",
  "failure: the model went away, committed 7 TOKENS, 9876 TOKENS left",
  "flush: complete"
]

/** The lines for one durable journal. */
export const journalLines: ReadonlyArray<string> = [
  "1 pending",
  "0 adopted of a running process",
  "1 adopted of a killed process",
  "2 pending",
  "0 pending"
]
