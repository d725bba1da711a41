/**
 * What holds by construction and can't be said in types: a tool of a toolkit whose names are a type parameter, and the
 * services that its schemas need. Each is stated once, here, with why it holds.
 */
import type * as Tool from "effect/ai/Tool"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"

/**
 * What the tools need is in the context of the call: whoever calls the guarded model or handles the guarded tool has it in its
 * own requirements, by the types of `effect/ai`, and what is inside runs in the caller's context.
 */
export function assumeServed<A, E, R>(_: Effect.Effect<A, E, R>): asserts _ is Effect.Effect<A, E> {}

/** As `assumeServed`, for a stream. */
export function assumeServedStream<A, E, R>(_: Stream.Stream<A, E, R>): asserts _ is Stream.Stream<A, E> {}

/** What a tool's own schema of parameters has decoded is of the type of its parameters. */
export function assumeParameters<T extends Tool.Any>(
  _: Tool.Any,
  _value: unknown
): asserts _value is Tool.Parameters<T> {}

/** A final result that is no failure is of the type of the tool's success. */
export function assumeSuccess<T extends Tool.Any>(_: Tool.Any, _value: unknown): asserts _value is Tool.Success<T> {}

/** Every tool may be answered with a denial: `failureResultSchema` adds it to the failures of each. */
export function assumeResult<T extends Tool.Any>(_: Tool.Any, _value: unknown): asserts _value is Tool.Result<T> {}

/** Tools of the same names, each a copy that differs in its approval only. */
export function assumeTools<Tools extends Record<string, Tool.Any>>(
  _: Tools,
  _value: Record<string, Tool.Any>
): asserts _value is Tools {}
