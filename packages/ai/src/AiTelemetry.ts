/**
 * The metrics of guarded models, as Effect `Metric`s. The client's metrics are in `Telemetry` of `effect-cycles`.
 *
 * **Details**
 *
 * - `model` is `provider:model` as the program asks for it, so it has as many values as the program uses models.
 * - Each call's span has the attributes `cycles.reservation_id`, `cycles.decision`, `cycles.settlement`, `cycles.charged` and
 *   `cycles.output_limit`; with the units `usd` or `both` those of money end in `.usd_microcents`.
 *
 * **Gotchas**
 *
 * Alert if `unconfirmedLimitsTotal` or `shortfallTotal` increases: a limit doesn't bind.
 *
 * @since 0.1.0
 */
import * as Metric from "effect/Metric"

/**
 * Counts the tokens that providers reported, by `model` and `kind`: `input` or `output`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const tokensTotal = Metric.counter("cycles_ai_tokens_total", {
  description: "Tokens that providers reported",
  incremental: true
})

/**
 * Sums the charged amounts, by `model` and `unit`: `TOKENS` or `USD_MICROCENTS`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const chargedTotal = Metric.counter("cycles_ai_charged_total", {
  description: "Amounts that budgets were charged for model calls",
  incremental: true
})

/**
 * Sums the amounts that budgets couldn't be charged, by `model` and `unit`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const shortfallTotal = Metric.counter("cycles_ai_shortfall_total", {
  description: "Amounts that model calls used and budgets were not charged",
  incremental: true
})

/**
 * The actual amount divided by the reserved amount, by `model` and `unit`. Above 1, a reservation didn't bind.
 *
 * @category metrics
 * @since 0.1.0
 */
export const estimateRatio = Metric.histogram("cycles_ai_estimate_ratio", {
  description: "Actual amount of a model call divided by its estimate",
  boundaries: [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1, 1.2, 1.5, 2, 5]
})

/**
 * Counts calls that a budget denied, by `model` and `code`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const denialsTotal = Metric.counter("cycles_ai_denials_total", {
  description: "Model calls that a budget denied",
  incremental: true
})

/**
 * Counts the caps that calls were held to, by `cap`: `max_tokens`, `max_steps_remaining`, `tool_lists` or `cooldown_ms`.
 * The last step of a run counts as `max_steps_remaining`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const capsAppliedTotal = Metric.counter("cycles_ai_caps_applied_total", {
  description: "Caps that model calls were held to",
  incremental: true
})

/**
 * Counts responses of providers that didn't read the output limit, by `model`.
 *
 * @category metrics
 * @since 0.1.0
 */
export const unconfirmedLimitsTotal = Metric.counter("cycles_ai_unconfirmed_limits_total", {
  description: "Responses of providers that did not read the output limit",
  incremental: true
})
