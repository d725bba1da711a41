/**
 * The collaborators of the client, the faults of each, and the counter that selects the call that a fault is injected into.
 *
 * The faults are data, so that a scenario can be printed and repeated. `transport.ts` maps those of the transport to `Fault` of
 * `@effect-cycles/testing`; that package has no faults of other collaborators.
 */

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A collaborator, or one of its operations. */
export type Site = keyof typeof kinds

/** One fault, at the n-th call of a site. A kind that ends in `*` also applies to every later call. */
export interface Fault {
  readonly site: Site
  /** The number of the call, from 1. */
  readonly call: number
  readonly kind: string
}

const pages = [401, 403, 404, 410, 413, 429, 500, 502, 503]

/** Error responses of a server that hasn't processed the request. */
const codes = [
  "400 INVALID_REQUEST",
  "401 UNAUTHORIZED",
  "403 FORBIDDEN",
  "404 NOT_FOUND",
  "409 BUDGET_EXCEEDED",
  "409 RESERVATION_FINALIZED",
  "409 IDEMPOTENCY_MISMATCH",
  "409 SOMETHING_NEW",
  "410 RESERVATION_EXPIRED",
  "429 LIMIT_EXCEEDED",
  "500 INTERNAL_ERROR",
  "503 INTERNAL_ERROR"
]

const transport = [
  "loseRequest",
  "loseResponse",
  /** The request is processed, and no response arrives. */
  "hang",
  "hangBefore",
  /** The request is processed. The response arrives after the call has timed out and abandoned the exchange. */
  "tooLate",
  "slow",
  "duplicate",
  /** The transport repeats the request, and returns an error page for the second attempt. */
  "repeatedPage 401",
  "repeatedPage 429",
  "garbage",
  "emptyObject",
  "wrongTypes",
  "doneTwice",
  "doneWithNothing",
  "doneWithGetters",
  "attemptsMissing",
  "throw",
  "throwAfter",
  "die",
  "cancelThrows",
  "atOnce",
  ...pages.flatMap((status) => [`page ${status}`, `pageAfter ${status}`]),
  ...codes.map((code) => `code ${code}`),
  "codeAfter 500 INTERNAL_ERROR",
  "crash",
  "crashAfter",
  "loseRequest*",
  "loseResponse*",
  "hang*",
  "hangBefore*",
  "throw*",
  "page 403*",
  "page 429*",
  "page 502*",
  "pageAfter 410*",
  "code 429 LIMIT_EXCEEDED*",
  "code 403 FORBIDDEN*"
] as const

const journal = [
  "throw",
  "die",
  "fail",
  "hang",
  "interrupt",
  "slow",
  "failAfter",
  "throw*",
  "die*",
  "fail*",
  "hang*"
] as const

/** The faults of each site. */
export const kinds = {
  transport,
  "journal.open": journal,
  "journal.put": [...journal, "hangAfter", "lie", "crash", "crashAfter"],
  "journal.remove": [...journal, "lie", "crash", "crashAfter"],
  "journal.bury": [...journal, "lie"],
  "journal.pending": [...journal, "failMidway", "hangMidway", "garbage", "twice"],
  "journal.isDecided": journal,
  "journal.putOpen": [...journal, "lie", "crash", "crashAfter"],
  "journal.removeOpen": [...journal, "crash"],
  "journal.adoptOpen": [...journal, "lie"],
  "tracer.span": ["throw", "throw*"],
  "tracer.attribute": ["throw", "throw*"],
  "tracer.end": ["throw", "throw*"],
  logger: ["throw", "throw*"],
  metrics: ["throw", "throw*"],
  retry: ["die", "die*"],
  "callback.actual": ["throw", "wrongUnit", "noAmount"],
  "callback.metrics": ["throw", "invalid", "getter", "deep"],
  "callback.recordMetrics": ["throw", "invalid", "getter"],
  "callback.onSettled": ["throw", "die", "interrupt", "hang", "hangUninterruptible"],
  "callback.usage": ["throw", "wrongUnit"],
  "callback.cost": ["throw", "wrongUnit"]
} as const satisfies Readonly<Record<string, ReadonlyArray<string>>>

/** All sites. */
export const sites: ReadonlyArray<Site> = Object.keys(kinds).filter((site): site is Site => site in kinds)

// ---------------------------------------------------------------------------------------------------------------------
// injector
// ---------------------------------------------------------------------------------------------------------------------

/** Counts the calls of all collaborators in one process, and selects the planned fault of each call. */
export class Injector {
  readonly calls = new Map<Site, number>()
  /** The planned faults that were applied. */
  readonly met = new Set<Fault>()
  readonly #faults: ReadonlyArray<Fault>
  #isOver = false
  #isCrashed = false

  constructor(faults: ReadonlyArray<Fault>) {
    this.#faults = faults
  }

  /** Whether the process was killed. After that, its calls have no effect outside the process. */
  get isCrashed(): boolean {
    return this.#isCrashed
  }

  /** Counts a call. Returns the kind of its fault without the `*`, or `undefined` if the call has no fault. */
  next(site: Site): string | undefined {
    const call = (this.calls.get(site) ?? 0) + 1
    this.calls.set(site, call)
    if (this.#isOver) return undefined
    for (const fault of this.#faults) {
      const isStanding = fault.kind.endsWith("*")
      if (fault.site !== site || (isStanding ? call < fault.call : call !== fault.call)) continue
      this.met.add(fault)
      return isStanding ? fault.kind.slice(0, -1) : fault.kind
    }
    return undefined
  }

  /** Kills the process. */
  crash(): void {
    this.#isCrashed = true
  }

  /** Stops injecting faults. */
  stop(): void {
    this.#isOver = true
  }
}

/** The defect of a collaborator that throws. */
export const injectedDefect = (site: Site): Error => new Error(`injected: ${site}`)
