/**
 * One call of a provider, from its reservation to its settlement.
 *
 * A call has one reservation, or one for each unit. It collects the usage and the text of the response as they arrive, so
 * that the spend is known however the call ends.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { Caps } from "@effect-cycles/protocol/Caps"
import type { LeaseLost } from "effect-cycles/Heartbeat"
import type { Active } from "effect-cycles/Reservation"
import * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { BudgetError } from "../CyclesAiError.ts"
import * as Pricing from "../Pricing.ts"
import * as Usage from "../Usage.ts"
import { nameOf } from "./request.ts"
import type { Guard, Request } from "./request.ts"
import { quietly, safely } from "./safely.ts"
import * as Observe from "./observe.ts"
import { billedOf, isUnusable } from "./outcome.ts"
import type { Part, StreamPart } from "./parts.ts"
import * as Spend from "./spend.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A call with budget. */
export interface Call {
  readonly caps: ReadonlyArray<Caps>
  /** Marks that the request differs from the estimated one, so that its usage must not teach the estimator. */
  readonly markChanged: () => void
  /** Marks that the provider is called now. Before that, the call costs nothing. */
  readonly begin: Effect.Effect<void>
  /** Collects a part of the response. Returns whether it reports usage. */
  readonly see: (part: Part | StreamPart) => boolean
  /** Marks that the response has ended, also one without parts. */
  readonly seeEnd: () => void
  /** Sets the input tokens that the provider reported, for responses without parts. */
  readonly seeInput: (inputTokens: number | undefined) => void
  /** Why the response ended, if it has ended. */
  readonly finishReason: () => Response.FinishReason | undefined
  /** Whether the provider has responded, although the response may be empty or unusable. */
  readonly hasResponse: () => boolean
  /** Fails with `LeaseLost` when a lease is lost. Only with the heartbeat policy `cancel`. */
  readonly untilLost: Effect.Effect<never, BudgetError> | undefined
  /** Commits the reported usage, if there is one. */
  readonly commitReported: Effect.Effect<void, BudgetError>
  /** Settles the call by its outcome, unless it is settled. The scope of the call does so at the latest. */
  readonly conclude: (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<void, BudgetError>
}

// ---------------------------------------------------------------------------------------------------------------------
// open
// ---------------------------------------------------------------------------------------------------------------------

/** Reserves the highest cost of a call, in the current scope. Gives the step of the call back if that fails. */
export const open = (guard: Guard, request: Request): Effect.Effect<Call, BudgetError, Scope.Scope> =>
  Effect.onError(reserve(guard, request), () => Effect.sync(() => request.step?.giveBack()))

const reserve = (guard: Guard, request: Request): Effect.Effect<Call, BudgetError, Scope.Scope> =>
  Effect.gen(function* () {
    const name = nameOf(request.provider, request.model)
    const openedAtMs = yield* Clock.currentTimeMillis
    const prices = Spend.pricesOf(guard.pricing, request, openedAtMs)

    const estimates: Array<Amount.Amount> = []
    if (guard.units !== "usd") estimates.push(Amount.tokens(request.estimate.tokens + request.outputTokens))
    if (guard.units !== "tokens") {
      const maximum = Effect.tap(prices.maximum, Spend.checkDollars("maximum"))
      const estimate = yield* guard.cycles.mode === "shadow" ? orUnpriced(maximum) : maximum
      if (estimate !== undefined) estimates.push(estimate)
    }
    let call: OpenCall | undefined
    const conclude = (hold: Hold) => (exit: Exit.Exit<unknown, unknown>) =>
      quietly(call === undefined ? Effect.asVoid(hold.release("not_sent")) : call.conclude(exit))
    // In sequence: a call that the first budget denies isn't reserved in the second one.
    const holds = yield* Effect.forEach(estimates, (estimate) =>
      Effect.tapError(
        guard.cycles.reserve({
          ...guard.lease,
          action: request.action,
          estimate,
          subject: request.subject,
          metadata: request.metadata,
          onSettled: (settlement) =>
            Effect.andThen(
              Observe.settlement(request.span, name, estimate, settlement),
              Effect.suspend(() => request.onSettled?.(settlement) ?? Effect.void)
            )
        }),
        (error) => Observe.denial(name, error)
      ).pipe(
        // The scope closes in reverse order, so the call is settled before the policy of its reservation applies.
        Effect.tap((hold) => Effect.addFinalizer(conclude(hold)))
      )
    )
    for (const hold of holds) Observe.reservation(request.span, hold)
    call = new OpenCall(guard, request, name, prices, holds)
    return call
  })

/** In shadow mode a call without a price runs, and isn't checked in dollars. */
const orUnpriced = <A, E extends Error>(maximum: Effect.Effect<A, E>): Effect.Effect<A | undefined> =>
  Effect.catch(maximum, (error) =>
    Effect.as(Effect.logWarning(`Not enforced in shadow mode: ${error.message}`), undefined)
  )

// ---------------------------------------------------------------------------------------------------------------------
// the state of a call
// ---------------------------------------------------------------------------------------------------------------------

type Hold = Active<Amount.Unit, LeaseLost>

class OpenCall implements Call {
  readonly caps: ReadonlyArray<Caps>
  readonly #guard: Guard
  readonly #request: Request
  readonly #name: string
  readonly #prices: Spend.Prices
  readonly #holds: ReadonlyArray<Hold>
  /** When the provider was called. */
  #begunAtMs: number | undefined
  #finish: Response.FinishPart | undefined
  /** The usage that was reported, in full each time. Of contradictory reports the most expensive one counts. */
  #reports: Array<Usage.Usage> = []
  /** Calls of tools that the provider runs, by the name of the tool. */
  readonly #toolCalls = new Map<string, number>()
  /** The largest cost that the provider reported. */
  #cost: Amount.Amount | undefined
  #modelId: string | undefined
  #output = ""
  #hasResponse = false
  /** Whether the provider reported the input; a counted one must not teach the estimator. */
  #isInputReported = false
  #isChanged = false
  #state: "open" | "recorded" | "committed" | "released" = "open"

  constructor(guard: Guard, request: Request, name: string, prices: Spend.Prices, holds: ReadonlyArray<Hold>) {
    this.#guard = guard
    this.#request = request
    this.#name = name
    this.#prices = prices
    this.#holds = holds
    this.caps = holds.flatMap((hold) => (hold.caps === undefined ? [] : [hold.caps]))
  }

  readonly begin: Effect.Effect<void> = Effect.clockWith((clock) =>
    Effect.sync(() => {
      this.#begunAtMs = clock.currentTimeMillisUnsafe()
    })
  )

  markChanged(): void {
    this.#isChanged = true
  }

  see(part: Part | StreamPart): boolean {
    this.#hasResponse = true
    switch (part.type) {
      case "text":
      case "reasoning":
        this.#output += part.text
        return false
      case "text-delta":
      case "reasoning-delta":
      case "tool-params-delta":
        this.#output += part.delta
        return false
      case "tool-call":
        this.#output += part.name + textOf(part.params)
        if (part.providerExecuted === true) {
          this.#request.step?.countToolCall(part.name)
          const tool = this.#request.providerTools.get(part.name) ?? part.name
          this.#toolCalls.set(tool, (this.#toolCalls.get(tool) ?? 0) + 1)
        }
        return false
      case "response-metadata":
        this.#modelId = part.modelId ?? this.#modelId
        return false
      case "finish":
        return this.#seeFinish(part)
      default:
        return false
    }
  }

  #seeFinish(part: Response.FinishPart): boolean {
    this.#finish = part
    const cost = safely(() => Pricing.reportedCost(part))
    if (cost !== undefined && (this.#cost === undefined || cost.amount > this.#cost.amount)) this.#cost = cost
    const reported = safely(() => Usage.fromFinish(part, this.#counted()))
    if (reported === undefined) return false
    if (safely(() => Usage.hasInput(part)) === true) this.#isInputReported = true
    this.#reports.push(reported)
    const [first, second] = this.#reports
    if (this.#reports.length > maxReports && first !== undefined && second !== undefined) {
      this.#reports.splice(0, 2, Usage.larger(first, second))
    }
    return true
  }

  seeEnd(): void {
    this.#hasResponse = true
  }

  seeInput(inputTokens: number | undefined): void {
    this.#hasResponse = true
    if (inputTokens === undefined || !(inputTokens > 0)) return
    this.#reports = [Usage.make(inputTokens, 0)]
    this.#isInputReported = true
  }

  finishReason(): Response.FinishReason | undefined {
    return this.#finish?.reason
  }

  hasResponse(): boolean {
    return this.#hasResponse
  }

  get untilLost(): Effect.Effect<never, BudgetError> | undefined {
    // Waiting for it costs a fiber for each call, and a queue for each stream.
    return this.#guard.lease.heartbeat === "cancel" && this.#holds.length > 0
      ? Effect.raceAllFirst(this.#holds.map((hold) => hold.untilLost))
      : undefined
  }

  get commitReported(): Effect.Effect<void, BudgetError> {
    return Effect.suspend(() => {
      if (this.#reports.length === 0 || this.#state === "released") return Effect.void
      const reports = [...this.#reports]
      return Effect.uninterruptible(
        this.#state === "open" ? this.#commit(reports, false) : this.#record(reports, false)
      )
    })
  }

  conclude(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void, BudgetError> {
    return Effect.suspend(() => {
      if (this.#state !== "open") return Effect.void
      if (this.#begunAtMs === undefined) return this.#release("not_sent")
      if (this.#reports.length > 0) return this.commitReported
      if (Exit.isSuccess(exit)) return this.#commit([this.#counted()], true)
      if (this.#hasResponse) return this.#record([this.#counted()], true)
      const failed = exit.cause.reasons.find(Cause.isFailReason)?.error
      // A failure of something else than the model shows nothing about the bill.
      const billed = AiError.isAiError(failed) ? billedOf(failed) : "input"
      if (billed === "nothing") return this.#release("provider_refused")
      if (AiError.isAiError(failed) && isUnusable(failed)) this.#hasResponse = true
      if (billed === "response" || this.#guard.lease.onFailure === "estimate") return this.#recordEstimate()
      return this.#record([Usage.make(this.#request.estimate.tokens, 0)], true)
    })
  }

  /** The usage as far as it can be counted. */
  #counted(): Usage.Usage {
    const output = safely(() => this.#guard.estimator.output(this.#name, this.#output)) ?? 0
    return Usage.make(this.#request.estimate.tokens, output, { toolCalls: Object.fromEntries(this.#toolCalls) })
  }

  /** The spend of the most expensive usage. */
  #spend(hold: Hold, usages: ReadonlyArray<Usage.Usage>, isEstimated: boolean): Effect.Effect<Spend.Spend> {
    return Effect.gen({ self: this }, function* () {
      const nowMs = yield* Clock.currentTimeMillis
      const spends = yield* Effect.forEach(usages, (usage) =>
        Spend.make(this.#prices, hold.estimate, {
          usage,
          isEstimated,
          reportedCost: this.#cost,
          servedModel: this.#modelId,
          finish: this.#finish,
          latencyMs: nowMs - (this.#begunAtMs ?? nowMs)
        })
      )
      return spends.reduce((most, spend) => (spend.actual.amount > most.actual.amount ? spend : most))
    })
  }

  #commit(usages: ReadonlyArray<Usage.Usage>, isEstimated: boolean): Effect.Effect<void, BudgetError> {
    this.#state = "committed"
    const committed = Effect.gen({ self: this }, function* () {
      // Here and not in the fibers of the commits, which an interruption of the call doesn't reach.
      const spends = yield* Effect.forEach(this.#holds, (hold) =>
        Effect.map(this.#spend(hold, usages, isEstimated), (spend) => ({ hold, spend }))
      )
      // A commit that fails doesn't stop the other one.
      const exits = yield* Effect.forEach(spends, ({ hold, spend }) => Effect.exit(commitTo(hold, spend)), {
        concurrency: "unbounded"
      })
      yield* Exit.asVoidAll(exits)
    })
    if (isEstimated) return committed
    const usage = usages.reduce((most, usage) => (Usage.total(usage) > Usage.total(most) ? usage : most))
    this.#teach(usage)
    return Effect.andThen(Observe.usage(this.#name, usage), committed)
  }

  /**
   * Records the spend. An open reservation is settled by its policy when the scope closes. After the commit, the client
   * charges what exceeds the committed amount.
   */
  #record(usages: ReadonlyArray<Usage.Usage>, isEstimated: boolean): Effect.Effect<void, BudgetError> {
    if (this.#state === "open") this.#state = "recorded"
    return Effect.forEach(
      this.#holds,
      (hold) => Effect.flatMap(this.#spend(hold, usages, isEstimated), (spend) => recordIn(hold, spend)),
      { discard: true }
    )
  }

  /** Records the whole estimate: the provider may have generated as much as was reserved. */
  #recordEstimate(): Effect.Effect<void, BudgetError> {
    this.#state = "recorded"
    return Effect.forEach(this.#holds, (hold) => recordIn(hold, { actual: hold.estimate, isEstimated: true }), {
      discard: true
    })
  }

  #release(reason: string): Effect.Effect<void, BudgetError> {
    this.#state = "released"
    this.#request.step?.giveBack()
    return Effect.forEach(this.#holds, (hold) => hold.release(reason), { discard: true })
  }

  #teach(usage: Usage.Usage): void {
    if (this.#isChanged) return
    safely(() =>
      this.#guard.estimator.learn(this.#request.estimate, {
        inputTokens: this.#isInputReported ? usage.inputTokens : undefined,
        outputTokens: Math.max(0, usage.outputTokens - usage.reasoningTokens),
        output: this.#output
      })
    )
  }
}

/** More reports than this are merged. */
const maxReports = 8

const commitTo = (hold: Hold, spend: Spend.Spend): Effect.Effect<void, BudgetError> =>
  Effect.catchTag(hold.commit(spend), "UnitMismatch", (mismatch) => Effect.die(mismatch))

const recordIn = (hold: Hold, spend: Parameters<Hold["record"]>[0]): Effect.Effect<void, BudgetError> =>
  Effect.catchTag(hold.record(spend), "UnitMismatch", (mismatch) => Effect.die(mismatch))

const textOf = (params: unknown): string => safely(() => JSON.stringify(params)) ?? ""
