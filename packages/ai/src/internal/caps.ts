/**
 * Keeping to the caps of a reservation: what a model is shown and may generate, and how long it waits.
 */
import * as Caps from "@effect-cycles/protocol/Caps"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type { Span } from "effect/Tracer"

/** Caps that a call was held to, by `cap`. */
export const capsAppliedTotal = Metric.counter("cycles_ai_caps_applied_total", {
  description: "Caps that model calls were held to",
  incremental: true
})

/** The names of the caps, as the wire has them. */
export type CapName = "max_tokens" | "max_steps_remaining" | "tool_lists" | "cooldown_ms"

/** Tells a cap that was applied, in the span of the call and in the metrics. */
export const tell = (span: Span | undefined, cap: CapName, detail: Record<string, unknown>): Effect.Effect<void> =>
  Effect.andThen(
    Effect.clockWith((clock) =>
      Effect.sync(() => span?.event("cycles.cap", clock.currentTimeNanosUnsafe(), { cap, ...detail }))
    ),
    Metric.update(Metric.withAttributes(capsAppliedTotal, { cap }), 1)
  )

/** The smallest of a limit among several caps. */
export const smallest = (caps: ReadonlyArray<Caps.Caps>, limit: ValueOf): number | undefined =>
  chosen(caps, limit, Math.min)

/** The largest of a time among several caps. */
export const largest = (caps: ReadonlyArray<Caps.Caps>, time: ValueOf): number | undefined =>
  chosen(caps, time, Math.max)

/** Tools that may be shown, by all caps. */
export const allowedTools = (caps: ReadonlyArray<Caps.Caps>, tools: ReadonlyArray<Tool.Any>): ReadonlyArray<Tool.Any> =>
  tools.filter((tool) => caps.every((one) => Caps.isToolAllowed(one, tool.name)))

/** The choice of tools that is left where only some are shown. */
export const choiceOf = (
  choice: LanguageModel.ToolChoice<string>,
  tools: ReadonlyArray<Tool.Any>
): LanguageModel.ToolChoice<string> => {
  const isShown = (name: string) => tools.some((tool) => tool.name === name)
  if (tools.length === 0) return "none"
  if (typeof choice === "string") return choice
  if ("tool" in choice) return isShown(choice.tool) ? choice : "auto"
  const oneOf = choice.oneOf.filter(isShown)
  return oneOf.length === 0 ? "auto" : { ...choice, oneOf }
}

type ValueOf = (caps: Caps.Caps) => number | undefined

const chosen = (
  caps: ReadonlyArray<Caps.Caps>,
  valueOf: ValueOf,
  choose: (a: number, b: number) => number
): number | undefined =>
  caps.reduce<number | undefined>((before, one) => {
    const value = valueOf(one)
    return value === undefined ? before : choose(before ?? value, value)
  }, undefined)
