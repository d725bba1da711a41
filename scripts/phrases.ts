/**
 * Words that this project doesn't use, each with the term to use instead. The list contains only unambiguous words. `AGENTS.md`
 * has the rules.
 */

interface Phrase {
  readonly pattern: RegExp
  readonly instead: string
}

/** The phrases of prose and names. Each matches within one line. */
const phrases: ReadonlyArray<Phrase> = [
  { pattern: /\b(tells?|told)\b/i, instead: "returns, fails with, throws, logs or reports" },
  { pattern: /\banswer(s|ed|ing)?\b/i, instead: "response, respond" },
  { pattern: /\b(an|the|each|every) act\b/i, instead: "guarded call, body" },
  { pattern: /\bpatience\b/i, instead: "retry, backoff, timeout" },
  { pattern: /\b(a|the|this) floor\b/i, instead: "minimum, minimum delay" },
  { pattern: /\blanes?\b/i, instead: "partition" },
  { pattern: /\bgo(es)? alone\b/i, instead: "idle probe" },
  { pattern: /\balarms?\b|\bfalls? due\b/i, instead: "timer queue, deadline, is due" },
  { pattern: /\bunkept\b/i, instead: "unjournaled" },
  { pattern: /\bhabits?\b(?!-server)/i, instead: "quirk, latency profile" },
  { pattern: /\b([Nn]obody|[Ww]hoever)\b/, instead: "the client, the caller, users" },
  { pattern: /\b(anew|dear|at the least|hold(s|ing)? against|see(s|n)? to)\b/i, instead: "a current word" },
  { pattern: /\bof ((a|an|the|its) )?[a-z]+'s own\b/i, instead: "custom, separate, caller-supplied" },
  { pattern: /(?<!there )\b(is|are|was|were) no (?!longer\b|more\b|less\b|sooner\b)/i, instead: "isn't, has no" },
  { pattern: /\bthe books\b/i, instead: "the ledger, the balance" },
  { pattern: /\bSource: ours\b/, instead: "nothing" }
]

/** Returns the first match of each phrase in each line, with the line number. */
export const phraseProblems = (text: string): ReadonlyArray<string> =>
  text.split("\n").flatMap((line, index) =>
    phrases.flatMap(({ instead, pattern }) => {
      const found = pattern.exec(line)
      return found === null ? [] : [`line ${index + 1} says "${found[0]}"; use: ${instead}`]
    })
  )
