/** The span of one call. A defect in a tracer loses the span, and has no other effect. */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import type { Call, WithMeta } from "./call.ts"

/** Opens the span of a call, if a tracer is provided or the call has a parent span. */
export const open = <A extends object>(call: Call<A>, context: Context.Context<never>): Tracer.Span | undefined => {
  try {
    if (!isTraced(context)) return undefined
    const made = Effect.runSyncExitWith(context)(Effect.makeSpan(`Cycles.${call.operation}`, { kind: "client" }))
    if (Exit.isFailure(made)) return undefined
    announce(made.value, call)
    return made.value
  } catch {
    return undefined
  }
}

/** The `traceparent` header of a span. `HttpTraceContext.toHeaders` would also make a B3 header for each request. */
export const traceparent = (span: Tracer.Span): string | undefined => {
  try {
    return `00-${span.traceId.padStart(32, "0")}-${span.spanId}-${span.sampled ? "01" : "00"}`
  } catch {
    return undefined
  }
}

/**
 * Ends the span of a call. A success is ended without its value, because a tracer keeps spans until it has exported
 * them, and would keep the response with each of them.
 */
export const end = <A extends object, E>(
  span: Tracer.Span,
  call: Call<A>,
  exit: Exit.Exit<WithMeta<A>, E>,
  context: Context.Context<never>,
  clock: Clock.Clock
): void => {
  try {
    if (Exit.isSuccess(exit)) describe(span, call, exit.value)
  } catch {
    // Lose the attribute only.
  }
  try {
    const endTime = Context.get(context, References.TracerTimingEnabled) ? clock.currentTimeNanosUnsafe() : 0n
    span.end(endTime, Exit.isSuccess(exit) ? Exit.void : exit)
  } catch {
    // Lose the span only.
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const isTraced = (context: Context.Context<never>): boolean =>
  Context.get(context, References.TracerEnabled) &&
  (Context.get(context, Tracer.Tracer) !== Tracer.nativeTracer ||
    Context.getOrUndefined(context, Tracer.ParentSpan) !== undefined)

/** Adds the attributes that are known before the response. */
const announce = <A extends object>(span: Tracer.Span, { about, method }: Call<A>): void => {
  try {
    span.attribute("http.request.method", method)
    if (about?.reservationId !== undefined) span.attribute("cycles.reservation_id", about.reservationId)
    if (about?.action !== undefined) {
      span.attribute("cycles.action.kind", about.action.kind)
      span.attribute("cycles.action.name", about.action.name)
    }
    if (about?.requested !== undefined) {
      span.attribute("cycles.unit", about.requested.unit)
      span.attribute("cycles.amount", about.requested.amount.toString())
    }
  } catch {
    // Lose the attribute only.
  }
}

/** Adds the attributes of the response. */
const describe = <A extends object>(span: Tracer.Span, call: Call<A>, response: WithMeta<A>): void => {
  span.attribute("http.response.status_code", call.status)
  if (response.meta.requestId !== undefined) span.attribute("cycles.request_id", response.meta.requestId)
  if (call.describe === undefined) return
  const attributes = call.describe(response)
  for (const name in attributes) {
    if (attributes[name] !== undefined) span.attribute(name, attributes[name])
  }
}
