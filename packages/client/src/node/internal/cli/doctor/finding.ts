/** The findings of the doctor. */

/** The checks, in their order. */
export const checks = [
  "configuration",
  "mode",
  "timeouts",
  "reachability",
  "key",
  "tenant",
  "budgets",
  "clock",
  "journal"
] as const

/** The name of a check. */
export type Check = (typeof checks)[number]

/** The result of a check, or one of several problems that it found. */
export interface Finding {
  readonly check: Check
  /** `skipped`: an earlier check failed, so there is nothing to check. */
  readonly status: "ok" | "warning" | "failed" | "skipped"
  /** The result in one line. */
  readonly summary: string
  /** How to correct the problem. */
  readonly advice?: string | undefined
  /** Further lines, such as the balances. */
  readonly details?: ReadonlyArray<string> | undefined
}

/** Makes a finding. */
export const make =
  (status: Finding["status"]) =>
  (check: Check, summary: string, advice?: string, details?: ReadonlyArray<string>): Finding => ({
    check,
    status,
    summary,
    ...(advice === undefined ? undefined : { advice }),
    ...(details === undefined || details.length === 0 ? undefined : { details })
  })

export const ok = make("ok")

export const warning = make("warning")

export const failed = make("failed")

export const skipped = make("skipped")
