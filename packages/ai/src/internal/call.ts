/**
 * One call of a provider, from its estimate to its settlement.
 *
 * It holds one reservation, or one for each unit; they live and die together. What is seen of the answer is noted as it
 * comes, so that whatever ends the call, what it used until then is known.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import * as Amount from "@effect-cycles/protocol/Amount"
import type { Caps } from "@effect-cycles/protocol/Caps"
import type { Metrics } from "@effect-cycles/protocol/Metrics"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type { Cycles, LeaseOptions, Metadata } from "effect-cycles/Cycles"
import type { LeaseLost } from "effect-cycles/Heartbeat"
import type { Active } from "effect-cycles/Reservation"
import type { Settlement } from "effect-cycles/Settlement"
import * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { Span } from "effect/Tracer"
import type { BudgetError } from "../CyclesAiError.ts"
import type * as Estimator from "../Estimator.ts"
import * as Pricing from "../Pricing.ts"
import * as Usage from "../Usage.ts"
import { spentBy } from "./outcome.ts"
import type { Part, StreamPart } from "./parts.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** What the budget is charged in. */
export type Units = "tokens" | "usd" | "both"

/** What all calls of a guarded model have in common. */
export interface Guard {
  readonly cycles: Cycles
  readonly units: Units
  readonly pricing: Pricing.Pricing | undefined
  readonly estimator: Estimator.Estimator
  readonly lease: Omit<LeaseOptions, "onSettled">
}

/** What is asked for. */
export interface Request {
  readonly provider: string | undefined
  readonly model: string
  readonly action: Action
  readonly subject: Subject | undefined
  readonly metadata: Metadata | undefined
  readonly estimate: Estimator.Estimate
  readonly outputTokens: number
  readonly span: Span
  /** Runs with each settlement of the call. */
  readonly onSettled: ((settlement: Settlement) => Effect.Effect<unknown>) | undefined
}

/** A call that may be made. */
export interface Call {
  readonly caps: ReadonlyArray<Caps>
  /** Notes a part of the answer. Returns whether it tells what the call used. */
  readonly see: (part: Part | StreamPart) => boolean
  /** Notes what the call used, where no part of an answer tells it. */
  readonly noteUsage: (told: { readonly inputTokens?: number | undefined }) => void
  /** Charges what the answer told, where it told it. */
  readonly settleSeen: Effect.Effect<void, BudgetError>
  /** Charges, records or gives back by how the call ended; nothing where it is settled. */
  readonly conclude: (exit: Exit.Exit<unknown, AiError.AiError>) => Effect.Effect<void, BudgetError>
}

/** The name of a model in estimates and in actions. */
export const nameOf = (provider: string | undefined, model: string): string =>
  provider === undefined ? model : `${provider}:${model}`

// ---------------------------------------------------------------------------------------------------------------------
// open
// ---------------------------------------------------------------------------------------------------------------------

/** Reserves what the call is estimated at, in the current scope. */
export const open = (guard: Guard, request: Request): Effect.Effect<Call, BudgetError, Scope.Scope> =>
  Effect.gen(function* () {
    const startedAtMs = yield* Clock.currentTimeMillis
    const name = nameOf(request.provider, request.model)
    const estimated = Usage.make(request.estimate.tokens, request.outputTokens)
    const price = (usage: Usage.Usage, model: string, serviceTier: string | undefined) =>
      guard.pricing === undefined
        ? Effect.fail(new Pricing.UnknownModel({ provider: request.provider, model }))
        : guard.pricing.price({ provider: request.provider, model, usage, serviceTier, atMs: startedAtMs })

    const estimates: Array<Amount.Amount> = []
    if (guard.units !== "usd") estimates.push(Amount.tokens(Usage.total(estimated)))
    if (guard.units !== "tokens") estimates.push(yield* price(estimated, request.model, undefined))
    // One after the other: what the first unit refuses isn't asked of the second.
    const holds = yield* Effect.forEach(estimates, (estimate) =>
      guard.cycles.reserve({
        ...guard.lease,
        action: request.action,
        estimate,
        subject: request.subject,
        metadata: request.metadata,
        onSettled: request.onSettled
      })
    )
    for (const hold of holds) annotate(request.span, hold)

    let finish: Response.FinishPart | undefined
    let used: Usage.Usage | undefined
    let modelId: string | undefined
    let output = ""
    let isAnswered = false
    /** Whether the provider told what the input was; what was only counted teaches nothing. */
    let isInputTold = false
    /** What has been charged, in the order of the holds; nothing until then. */
    let charged: ReadonlyArray<Amount.Amount> | undefined
    /** Whether nothing more is to be settled. */
    let isReleased = false

    const counted = () => Usage.make(request.estimate.tokens, guard.estimator.output(name, output))

    const see = (part: Part | StreamPart): boolean => {
      isAnswered = true
      switch (part.type) {
        case "text":
        case "reasoning":
          output += part.text
          return false
        case "text-delta":
        case "reasoning-delta":
        case "tool-params-delta":
          output += part.delta
          return false
        case "tool-call":
          output += part.name + (JSON.stringify(part.params) ?? "")
          return false
        case "response-metadata":
          modelId = part.modelId ?? modelId
          return false
        case "finish": {
          finish = part
          const told = Usage.fromFinish(part, counted())
          isInputTold = isInputTold || Usage.hasInput(part)
          if (told !== undefined) used = used === undefined ? told : Usage.larger(used, told)
          return told !== undefined
        }
        default:
          return false
      }
    }

    const remember = (amounts: ReadonlyArray<Amount.Amount>): void => {
      charged = amounts
    }

    /** What the call cost in the unit of a hold, and whether that is an estimate. */
    const costOf = (hold: Hold, usage: Usage.Usage): Effect.Effect<Amount.Amount, Pricing.PriceError> => {
      if (hold.estimate.unit === "TOKENS") return Effect.succeed(Amount.tokens(Usage.total(usage)))
      const reported = finish === undefined || usage !== used ? undefined : Pricing.reportedCost(finish)
      if (reported !== undefined) return Effect.succeed(reported)
      const tier = finish === undefined ? undefined : serviceTierOf(finish)
      return Effect.catch(price(usage, modelId ?? request.model, tier), () => price(usage, request.model, tier))
    }

    const spendOf = (hold: Hold, usage: Usage.Usage, isEstimated: boolean): Effect.Effect<Spend> =>
      Effect.gen(function* () {
        const latencyMs = (yield* Clock.currentTimeMillis) - startedAtMs
        const metrics = metricsOf(usage, latencyMs, modelId ?? request.model, finish?.reason)
        return yield* Effect.match(costOf(hold, usage), {
          onFailure: () => ({ actual: hold.estimate, isEstimated: true, metrics }),
          onSuccess: (actual) => ({ actual, isEstimated, metrics })
        })
      })

    const commit = (usage: Usage.Usage, isEstimated: boolean): Effect.Effect<void, BudgetError> =>
      Effect.suspend(() => {
        charged = []
        if (!isEstimated && isInputTold) {
          guard.estimator.learn(request.estimate, {
            inputTokens: usage.inputTokens,
            outputTokens: undefined,
            output
          })
        }
        return Effect.flatMap(
          Effect.forEach(
            holds,
            (hold) =>
              Effect.flatMap(spendOf(hold, usage, isEstimated), (spend) =>
                Effect.map(
                  Effect.catchTag(hold.commit(spend), "UnitMismatch", (mismatch) => Effect.die(mismatch)),
                  (settlement) => {
                    annotateCharge(request.span, settlement)
                    return spend.actual
                  }
                )
              ),
            { concurrency: "unbounded" }
          ),
          (amounts) => Effect.sync(() => remember(amounts))
        )
      })

    /** A later part told of more than was charged: known spend is not lost. */
    const chargeMore = (amounts: ReadonlyArray<Amount.Amount>, usage: Usage.Usage): Effect.Effect<void, BudgetError> =>
      Effect.forEach(holds, (hold, i) =>
        Effect.flatMap(spendOf(hold, usage, false), (spend) => {
          const before = amounts[i]?.amount ?? spend.actual.amount
          const more = spend.actual.amount - before
          if (more <= 0n || hold.id === undefined) return Effect.succeed(amounts[i] ?? spend.actual)
          const event = guard.cycles.event({
            action: request.action,
            actual: Amount.make(spend.actual.unit, more),
            subject: hold.subject,
            metadata: { reservation_id: hold.id }
          })
          return Effect.as(event, spend.actual)
        })
      ).pipe(Effect.map(remember))

    const settleSeen: Effect.Effect<void, BudgetError> = Effect.suspend(() => {
      if (used === undefined || isReleased) return Effect.void
      return Effect.uninterruptible(charged === undefined ? commit(used, false) : chargeMore(charged, used))
    })

    const release = (reason: string): Effect.Effect<void, BudgetError> =>
      Effect.suspend(() => {
        isReleased = true
        return Effect.forEach(holds, (hold) => hold.release(reason), { discard: true })
      })

    /** Leaves the end to the reservation's own policy, which knows what was used. */
    const record: Effect.Effect<void> = Effect.suspend(() =>
      Effect.forEach(
        holds,
        (hold) => Effect.flatMap(spendOf(hold, counted(), true), (spend) => Effect.orDie(hold.record(spend))),
        { discard: true }
      )
    )

    return {
      caps: holds.flatMap((hold) => (hold.caps === undefined ? [] : [hold.caps])),
      see,
      noteUsage: ({ inputTokens }) => {
        isAnswered = true
        if (inputTokens === undefined) return
        used = Usage.make(inputTokens, 0)
        isInputTold = true
      },
      settleSeen,
      conclude: (exit) =>
        Effect.suspend(() => {
          if (charged !== undefined || isReleased) return Effect.void
          if (used !== undefined) return settleSeen
          if (Exit.isSuccess(exit)) return commit(counted(), true)
          const failed = exit.cause.reasons.find(Cause.isFailReason)
          if (failed === undefined) return isAnswered ? record : Effect.void
          if (isAnswered) return commit(counted(), true)
          return spentBy[failed.error.reason._tag] === "before" ? release("provider_refused") : commit(estimated, true)
        })
    }
  })

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

type Hold = Active<Amount.Unit, LeaseLost>

/** What is charged to a hold. */
interface Spend {
  readonly actual: Amount.Amount
  readonly isEstimated: boolean
  readonly metrics: Metrics
}

const metricsOf = (
  usage: Usage.Usage,
  latencyMs: number,
  model: string,
  finishReason: Response.FinishReason | undefined
): Metrics => ({
  tokensInput: usage.inputTokens,
  tokensOutput: usage.outputTokens,
  latencyMs: Math.max(0, Math.floor(latencyMs)),
  modelVersion: model.slice(0, 128),
  custom: {
    cache_read_tokens: usage.cacheReadTokens,
    cache_write_tokens: usage.cacheWriteTokens,
    reasoning_tokens: usage.reasoningTokens,
    ...(finishReason === undefined ? undefined : { finish_reason: finishReason })
  }
})

const serviceTierOf = (finish: Response.FinishPart): string | undefined => {
  const openai: unknown = finish.metadata["openai"]
  if (typeof openai !== "object" || openai === null || !("serviceTier" in openai)) return undefined
  return typeof openai.serviceTier === "string" ? openai.serviceTier : undefined
}

const annotate = (span: Span, hold: Hold): void => {
  const suffix = hold.estimate.unit === "TOKENS" ? "" : `.${hold.estimate.unit.toLowerCase()}`
  if (hold.id !== undefined) span.attribute(`cycles.reservation_id${suffix}`, hold.id)
  span.attribute(`cycles.decision${suffix}`, hold.decision)
}

const annotateCharge = (span: Span, settlement: Settlement): void => {
  span.attribute("cycles.settlement", settlement._tag)
  if (settlement._tag === "Committed" || settlement._tag === "Recovered") {
    const suffix = settlement.charged.unit === "TOKENS" ? "" : `.${settlement.charged.unit.toLowerCase()}`
    span.attribute(`cycles.charged${suffix}`, settlement.charged.amount)
  }
}
