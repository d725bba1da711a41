/**
 * Shadow mode: every guarded call is checked by a dry run and then runs. A call that would be denied is counted and
 * logged.
 *
 * - The run of the caller is checked first, as in enforcement: the server isn't asked about a call that the run denies.
 * - The server's decision is corrected by what this process has let through, because dry runs reserve nothing.
 * - A call that joins a guard around it takes its estimate from that guard, and the server isn't asked.
 * - A call that would be denied uses nothing up, neither in the run nor in the ledger: in enforcement it wouldn't have
 *   run.
 * - The call runs without caps, even if the response contains some.
 * - No problem stops the call: an invalid request, an error and a response that isn't usable leave it unchecked.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { EventId } from "@effect-cycles/protocol/Identifiers"
import { scopes as scopesOf } from "@effect-cycles/protocol/Subject"
import * as Brand from "effect/Brand"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { CyclesError } from "../../CyclesError.ts"
import { BudgetExceeded, isBudgetExceeded } from "../../CyclesError.ts"
import { nowMs } from "../config/time.ts"
import { isDenial, isUnreachable } from "../protocol/classify.ts"
import * as Operations from "../protocol/operations.ts"
import type { Engine, Shadow } from "../reservation/engine.ts"
import { Handle } from "../reservation/handle.ts"
import { unreserved } from "../reservation/source.ts"
import type { Prepared } from "../reservation/options.ts"
import type { Call } from "../run/lines.ts"
import type { Ticket } from "../run/ticket.ts"
import { warnUncovered } from "../run/uncovered.ts"
import * as Log from "../runtime/log.ts"
import * as Metrics from "../runtime/metrics.ts"
import { report } from "../runtime/unenforced.ts"
import type { Meta } from "../transport/call.ts"
import type { Restore } from "../run/waiting.ts"
import { denied } from "./acquire.ts"
import * as Nested from "./nested.ts"
import type { Response } from "./request.ts"
import { ShadowLedger } from "./shadowLedger.ts"
import { ShadowShare } from "./shadowShare.ts"

/** The decision of the server, or of this process, about a call. */
type Verdict =
  | { readonly _tag: "Allowed"; readonly response: Response; readonly use: ((more: bigint) => void) | undefined }
  | { readonly _tag: "Denied"; readonly by: "server" | "process"; readonly because: CyclesError }
  /** `problem` is absent if the server isn't asked, because it could not be reached recently. */
  | { readonly _tag: "Unchecked"; readonly problem: CyclesError | Cause.Cause<unknown> | undefined }

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Makes the guards of a client in shadow mode. */
export const make = (engine: Omit<Engine, "shadow">): Shadow => {
  const ledger = new ShadowLedger()
  const warnings = new Warnings()

  const unchecked = (problem: CyclesError | Cause.Cause<unknown> | undefined): Effect.Effect<void> =>
    Effect.withFiber((fiber) => {
      Metrics.shadowUnchecked(fiber.context)
      return problem === undefined ? Effect.void : warnings.warn(problem, nowMs(fiber.getRef(Clock.Clock)))
    })

  const acquire = (restore: Restore, prepared: Prepared): Effect.Effect<Handle> =>
    Effect.gen(function* () {
      const place = Nested.placeInShadow(yield* Effect.context<never>(), prepared)
      const joined = join(prepared, place.guard)
      const invalid = prepared.invalid ?? Nested.rejection(prepared, place.outer)
      const handle =
        joined === undefined
          ? yield* asked(restore, invalid === undefined ? prepared : { ...prepared, invalid })
          : makeHandle(prepared, undefined, joined, yield* Clock.Clock)
      handle.outer = place.outer
      handle.within = place.guard
      return handle
    })

  const asked = (restore: Restore, prepared: Prepared): Effect.Effect<Handle> =>
    Effect.gen(function* () {
      const admission = admit(prepared)
      if (isBudgetExceeded(admission)) {
        yield* report("run", admission)
        return makeHandle(prepared, undefined, undefined, yield* Clock.Clock)
      }
      const { run } = prepared
      if (run !== undefined && admission?.isFirstUncovered === true) yield* warnUncovered(run, prepared.estimate.unit)
      const verdict = yield* Effect.onInterrupt(restore(ask(engine, ledger, prepared)), () =>
        Effect.sync(() => admission?.giveBack(undefined))
      )
      const clock = yield* Clock.Clock
      switch (verdict._tag) {
        case "Allowed":
          return makeHandle(
            prepared,
            verdict.response,
            new ShadowShare(prepared.estimate.amount, admission, verdict.use),
            clock
          )
        case "Unchecked":
          yield* unchecked(verdict.problem)
          return makeHandle(prepared, undefined, new ShadowShare(prepared.estimate.amount, admission, undefined), clock)
        case "Denied":
          if (admission === undefined)
            run?.countWouldDeny({ action: prepared.action, amount: prepared.estimate }, verdict.because)
          else admission.giveBack(verdict.because)
          yield* report(verdict.by, verdict.because)
          return makeHandle(prepared, undefined, undefined, clock)
      }
    })

  return {
    acquire,
    event: (subject, actual, invalid) =>
      Effect.gen(function* () {
        if (invalid !== undefined) yield* unchecked(invalid)
        ledger.useOf(actual, scopesOf(subject))
        return { status: "APPLIED", eventId: unsentEvent, charged: Amount.zero(actual.unit), meta: noMeta } as const
      })
  }
}

/** The reservation of a call that runs regardless of the decision, and without caps. */
const makeHandle = (
  prepared: Prepared,
  response: Response | undefined,
  share: ShadowShare | undefined,
  clock: Clock.Clock
): Handle => {
  const source = prepared.isDryRun
    ? unreserved("dry run")
    : unreserved("shadow", share === undefined ? undefined : reportOverrun(share))
  const handle = new Handle(
    prepared,
    {
      id: undefined,
      decision: "ALLOW",
      caps: undefined,
      scopes: response?.affectedScopes ?? prepared.scopes,
      balances: response?.balances ?? []
    },
    source,
    nowMs(clock)
  )
  if (!prepared.isDryRun) handle.ticket = share
  return handle
}

// ---------------------------------------------------------------------------------------------------------------------
// the server
// ---------------------------------------------------------------------------------------------------------------------

/** Sends the dry run once: another attempt would only delay the call. */
const ask = (engine: Omit<Engine, "shadow">, ledger: ShadowLedger, prepared: Prepared): Effect.Effect<Verdict> =>
  Effect.withFiber((fiber): Effect.Effect<Verdict> => {
    const { config, reachability, sender } = engine
    const { action, estimate, invalid, scopes, body } = prepared
    if (invalid !== undefined) return Effect.succeed({ _tag: "Unchecked", problem: invalid })
    const clock = fiber.getRef(Clock.Clock)
    const startedAtMs = nowMs(clock)
    if (!reachability.shouldAsk(startedAtMs, config.timeoutMs)) {
      return Effect.succeed({ _tag: "Unchecked", problem: undefined })
    }
    const asked = Effect.matchCauseEffect(
      sender.send(Operations.reserve(body, { action, requested: estimate, scopes }, "caller")),
      {
        onSuccess: (response) =>
          Effect.sync((): Verdict => {
            reachability.responded()
            Metrics.decision(response.decision, fiber.context)
            return judge(ledger, prepared, response)
          }),
        onFailure: (cause): Effect.Effect<Verdict> => {
          if (Cause.hasInterrupts(cause)) return Effect.failCause(Cause.interrupt())
          const error = cause.reasons.find(Cause.isFailReason)?.error
          if (error === undefined) return Effect.succeed({ _tag: "Unchecked", problem: cause })
          if (isUnreachable(error)) reachability.failed(startedAtMs, nowMs(clock))
          else reachability.responded()
          return Effect.succeed(
            isDenial(error) ? { _tag: "Denied", by: "server", because: error } : { _tag: "Unchecked", problem: error }
          )
        }
      }
    )
    return Effect.onInterrupt(asked, () => Effect.sync(() => reachability.responded()))
  })

/** Decides by the response and by what this process has let through. A call of a dry run uses nothing up. */
const judge = (ledger: ShadowLedger, prepared: Prepared, response: Response): Verdict => {
  if (response.decision === "DENY") {
    return { _tag: "Denied", by: "server", because: denied(prepared, response) }
  }
  const balances = response.balances ?? []
  const shortage = ledger.shortageOf(prepared.estimate, balances)
  if (shortage === undefined) {
    const use = prepared.isDryRun ? undefined : ledger.use(prepared.estimate, balances)
    return { _tag: "Allowed", response, use }
  }
  return {
    _tag: "Denied",
    by: "process",
    because: new BudgetExceeded({
      operation: "reserve",
      code: "BUDGET_EXCEEDED",
      action: prepared.action,
      requested: prepared.estimate,
      scopes: response.affectedScopes,
      remaining: shortage.remaining,
      limitingScope: shortage.scope
    })
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// the run
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Joins the guard around the call, as in enforcement. Returns nothing if there is no room, or if the call is in another
 * run.
 */
const join = (prepared: Prepared, guard: Handle | undefined): ShadowShare | undefined => {
  const { action, estimate, run, step } = prepared
  const lender = guard?.ticket
  if (guard === undefined || !(lender instanceof ShadowShare) || !lender.hasRoom(estimate.amount)) return undefined
  if (Nested.isOutsideRunOf(guard, prepared)) return undefined
  const ticket = run?.join({ action, amount: estimate, step }, { run: guard.call.run, ticket: lender.ticket }, false)
  return run !== undefined && ticket === undefined
    ? undefined
    : new ShadowShare(estimate.amount, ticket, undefined, lender)
}

/** Holds the estimate in the run of the caller. Returns, and counts, the denial of the run. */
const admit = ({ action, estimate, isDryRun, run, step }: Prepared): Ticket | BudgetExceeded | undefined => {
  if (run === undefined) return undefined
  const call: Call = { action, amount: estimate, step }
  return run.check(call, false) ?? (isDryRun ? undefined : run.start(call, false))
}

// ---------------------------------------------------------------------------------------------------------------------
// reports
// ---------------------------------------------------------------------------------------------------------------------

const reportOverrun = (share: ShadowShare): Effect.Effect<void> =>
  Effect.suspend(() => (share.unenforced === undefined ? Effect.void : report("run", share.unenforced)))

/** The warnings about unchecked calls: one per minute and kind of problem, so that an outage doesn't fill the log. */
class Warnings {
  readonly #loggedAtMs = new Map<string, number>()

  warn(problem: CyclesError | Cause.Cause<unknown>, now: number): Effect.Effect<void> {
    const kind = kindOf(problem)
    const last = this.#loggedAtMs.get(kind)
    const details = Cause.isCause(problem) ? problem : problem.message
    const message = "Shadow mode: calls run unchecked"
    if (last !== undefined && now - last < quietMs) return Log.debug(message, details)
    if (this.#loggedAtMs.size >= maxKinds) this.#loggedAtMs.clear()
    this.#loggedAtMs.set(kind, now)
    return Log.warning(message, details)
  }
}

const quietMs = 60_000

const maxKinds = 100

const kindOf = (problem: CyclesError | Cause.Cause<unknown>): string => {
  if (Cause.isCause(problem)) return "defect"
  switch (problem._tag) {
    case "ApiError":
      return `${problem._tag} ${problem.status} ${problem.code}`
    case "TransportError":
      return `${problem._tag} ${problem.kind}`
    case "InvalidRequest":
      return `${problem._tag} ${problem.fields.map(({ field }) => field).join()}`
    default:
      return problem._tag
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// events
// ---------------------------------------------------------------------------------------------------------------------

/** The id of every event that isn't sent. */
const unsentEvent = Brand.nominal<EventId>()("shadow")

const noMeta: Meta = {
  requestId: undefined,
  traceId: undefined,
  rateLimitRemaining: undefined,
  rateLimitResetSeconds: undefined,
  retryAfter: undefined,
  tenant: undefined,
  rttMs: 0
}
