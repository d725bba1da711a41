/**
 * Span attributes, span events and metrics of guarded calls. A tracer or a metric that throws changes nothing.
 */
import type * as Amount from "@effect-cycles/protocol/Amount"
import type { LeaseLost } from "effect-cycles/Heartbeat"
import type { Active } from "effect-cycles/Reservation"
import type { Settlement } from "effect-cycles/Settlement"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type { Span } from "effect/Tracer"
import * as AiTelemetry from "../AiTelemetry.ts"
import type { BudgetError } from "../CyclesAiError.ts"
import type * as Usage from "../Usage.ts"
import { safely } from "./safely.ts"

// ---------------------------------------------------------------------------------------------------------------------
// reservation and settlement
// ---------------------------------------------------------------------------------------------------------------------

/** Annotates the span with a reservation. */
export const reservation = (span: Span, hold: Active<Amount.Unit, LeaseLost>): void => {
  const suffix = suffixOf(hold.estimate.unit)
  if (hold.id !== undefined) attribute(span, `cycles.reservation_id${suffix}`, hold.id)
  attribute(span, `cycles.decision${suffix}`, hold.decision)
}

/** Reports a settlement in the span and in the metrics. */
export const settlement = (
  span: Span,
  model: string,
  estimate: Amount.Amount,
  settlement: Settlement
): Effect.Effect<void> => {
  attribute(span, "cycles.settlement", settlement._tag)
  if (settlement._tag !== "Committed" && settlement._tag !== "Recovered") return Effect.void
  const { actual, charged, shortfall } = settlement
  const { unit } = charged
  attribute(span, `cycles.charged${suffixOf(unit)}`, charged.amount)
  const labels = { model, unit }
  const updates = [update(AiTelemetry.chargedTotal, labels, Number(charged.amount))]
  if (estimate.amount > 0n) {
    updates.push(update(AiTelemetry.estimateRatio, labels, Number(actual.amount) / Number(estimate.amount)))
  }
  if (shortfall.amount > 0n) {
    attribute(span, `cycles.shortfall${suffixOf(unit)}`, shortfall.amount)
    updates.push(update(AiTelemetry.shortfallTotal, labels, Number(shortfall.amount)))
  }
  return Effect.all(updates, { discard: true })
}

/** Counts a denial. */
export const denial = (model: string, error: BudgetError): Effect.Effect<void> =>
  error._tag === "BudgetExceeded" ? update(AiTelemetry.denialsTotal, { model, code: error.code }, 1) : Effect.void

/** Counts reported tokens. */
export const usage = (model: string, usage: Usage.Usage): Effect.Effect<void> =>
  Effect.andThen(
    update(AiTelemetry.tokensTotal, { model, kind: "input" }, usage.inputTokens),
    update(AiTelemetry.tokensTotal, { model, kind: "output" }, usage.outputTokens)
  )

// ---------------------------------------------------------------------------------------------------------------------
// caps and limits
// ---------------------------------------------------------------------------------------------------------------------

/** The caps by their names in the protocol. */
export type CapName = "max_tokens" | "max_steps_remaining" | "tool_lists" | "cooldown_ms"

/** Reports an applied cap as an event of the span and in the metrics. */
export const cap = (span: Span | undefined, name: CapName, detail: Record<string, unknown>): Effect.Effect<void> =>
  Effect.clockWith((clock) => {
    safely(() => span?.event("cycles.cap", clock.currentTimeNanosUnsafe(), { cap: name, ...detail }))
    return update(AiTelemetry.capsAppliedTotal, { cap: name }, 1)
  })

/** Annotates the span with what is known about the output limit. */
export const outputLimit = (span: Span, state: "confirmed" | "unconfirmed" | "none"): void =>
  attribute(span, "cycles.output_limit", state)

/** Counts a response of a provider that didn't read the output limit. */
export const unconfirmed = (model: string): Effect.Effect<void> =>
  update(AiTelemetry.unconfirmedLimitsTotal, { model }, 1)

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const suffixOf = (unit: Amount.Unit): string => (unit === "TOKENS" ? "" : `.${unit.toLowerCase()}`)

const attribute = (span: Span, name: string, value: unknown): void => {
  safely(() => span.attribute(name, value))
}

const update = <State>(
  metric: Metric.Metric<number, State>,
  labels: Record<string, string>,
  value: number
): Effect.Effect<void> => Effect.ignoreCause(Metric.update(Metric.withAttributes(metric, labels), value))
