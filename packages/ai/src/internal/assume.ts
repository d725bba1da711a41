/**
 * Facts that the types of `effect/ai` can't express, because the names of the tools are a type parameter. Each function
 * states one fact, and why it holds.
 */
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"

/**
 * The services that a tool needs are in the context of the call: they are requirements of the guarded model and of the
 * guarded `handle`, and the inner call runs in the context of its caller.
 */
export function assumeServed<A, E, R>(_: Effect.Effect<A, E, R>): asserts _ is Effect.Effect<A, E> {}

/** The same as `assumeServed`, for a stream. */
export function assumeServedStream<A, E, R>(_: Stream.Stream<A, E, R>): asserts _ is Stream.Stream<A, E> {}

/** A value that the parameter schema of a tool has decoded has the type of its parameters. */
export function assumeParameters<T extends Tool.Any>(
  _: Tool.Any,
  _value: unknown
): asserts _value is Tool.Parameters<T> {}

/** A final result that isn't a failure has the success type of the tool. */
export function assumeSuccess<T extends Tool.Any>(_: Tool.Any, _value: unknown): asserts _value is Tool.Success<T> {}

/** A denial is a valid result of every tool: `Tool.failureResultSchema` adds it to the failures of each. */
export function assumeResult<T extends Tool.Any>(_: Tool.Any, _value: unknown): asserts _value is Tool.Result<T> {}

/** The tools have the same names as before, and each is a copy that differs only in its approval. */
export function assumeTools<Tools extends Record<string, Tool.Any>>(
  _: Tools,
  _value: Record<string, Tool.Any>
): asserts _value is Tools {}

/** The rule was found in the budgets of a toolkit under the name of this tool. */
export function assumeRule<Rule>(_: unknown, _name: PropertyKey): asserts _ is Rule | undefined {}

/** The toolkit has the tools of the other, and its handlers have the same types. */
export function assumeToolkit<Tools extends Record<string, Tool.Any>>(
  _: Toolkit.Toolkit<Tools>,
  _value: unknown
): asserts _value is Toolkit.Toolkit<Tools> {}

/** A method of a language model returned the value, and the method returns effects. */
export function assumeEffect(_: unknown): asserts _ is Effect.Effect<unknown, unknown, unknown> {}

/** A method of a language model returned the value, and the method returns streams. */
export function assumeStream(_: unknown): asserts _ is Stream.Stream<unknown, unknown, unknown> {}

/** Each method returns what the method of a language model with the same options returns. */
export function assumeModel(_: unknown): asserts _ is LanguageModel.LanguageModel {}
