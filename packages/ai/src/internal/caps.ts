/**
 * The caps of a call's reservations: the strictest of them applies.
 */
import * as Caps from "@effect-cycles/protocol/Caps"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import type * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import type { Span } from "effect/Tracer"
import * as Observe from "./observe.ts"
import { extreme } from "./unknown.ts"

/** Waits for the longest cooldown of the caps, or until the lease is lost. */
export const cooldown = <E = never>(
  caps: ReadonlyArray<Caps.Caps>,
  span: Span | undefined,
  untilLost: Effect.Effect<never, E> | undefined,
  detail?: Record<string, unknown>
): Effect.Effect<void, E> => {
  const ms = largest(caps, (one) => one.cooldownMs)
  if (ms === undefined || ms <= 0) return Effect.void
  const waited = untilLost === undefined ? Effect.sleep(ms) : Effect.raceFirst(Effect.sleep(ms), untilLost)
  return Effect.andThen(Observe.cap(span, "cooldown_ms", { wait: ms, ...detail }), waited)
}

/** The smallest of a limit among several caps. */
export const smallest = (caps: ReadonlyArray<Caps.Caps>, limit: ValueOf): number | undefined =>
  extreme(Math.min, caps.map(limit))

const largest = (caps: ReadonlyArray<Caps.Caps>, time: ValueOf): number | undefined => extreme(Math.max, caps.map(time))

/** The tools that all caps allow. */
export const allowedTools = (caps: ReadonlyArray<Caps.Caps>, tools: ReadonlyArray<Tool.Any>): ReadonlyArray<Tool.Any> =>
  tools.filter((tool) => caps.every((one) => Caps.isToolAllowed(one, tool.name)))

/** Whether a prompt has calls of tools or their results. */
export const refersToTools = ({ content }: Prompt.Prompt): boolean =>
  content.some(
    ({ content }) =>
      typeof content !== "string" && content.some(({ type }) => type === "tool-call" || type === "tool-result")
  )

/** The tool choice of a request that has only some of the tools. */
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
