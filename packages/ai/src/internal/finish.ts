/**
 * From the response of a call to its settlement. The response is collected as it passes, charged before anything else happens
 * with it, and returned as a provider would return it.
 */
import * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import * as Channel from "effect/Channel"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { fromBudget } from "../CyclesAiError.ts"
import * as Body from "./body.ts"
import { assumeServed, assumeServedStream } from "./assume.ts"
import * as Parts from "./parts.ts"
import type { Ready } from "./prepare.ts"
import { quietly } from "./safely.ts"

/** Makes a call, charges it, and returns its parts as a provider would. */
export const whole = <R>(
  ready: Ready,
  ask: Effect.Effect<ReadonlyArray<Parts.Part>, AiError.AiError, R>
): Effect.Effect<Array<Response.PartEncoded>, AiError.AiError> =>
  Effect.uninterruptibleMask((restore) => {
    assumeServed(ask)
    const called = Effect.andThen(ready.call.begin, Effect.updateContext(ask, ready.prepareContext))
    return Effect.flatMap(Body.run(restore, called, untilLost(ready)), (exit) => {
      if (Exit.isFailure(exit)) return Effect.andThen(end(ready, exit), Effect.failCause(exit.cause))
      for (const part of exit.value) ready.call.see(part)
      ready.call.seeEnd()
      return Effect.gen(function* () {
        yield* Effect.mapError(ready.call.conclude(exit), (error) => fromBudget(ready.method, error))
        yield* ready.checkLimit
        yield* refuseHidden(ready, exit.value)
        return exit.value.map(Parts.encode)
      })
    })
  })

/** Collects a stream as it passes, and charges it as soon as it reports its usage. */
export const streamed = <R>(
  ready: Ready,
  stream: Stream.Stream<Parts.StreamPart, AiError.AiError, R>
): Stream.Stream<Response.StreamPartEncoded, AiError.AiError> =>
  Stream.unwrap(
    Effect.gen(function* () {
      yield* Effect.addFinalizer((exit) => end(ready, exit))
      assumeServedStream(stream)
      const begun = Stream.unwrap(Effect.as(ready.call.begin, preparing(stream, ready.prepareContext)))
      const lost = untilLost(ready)
      const called = lost === undefined ? begun : Stream.interruptWhen(begun, lost)
      const ended = Stream.onEnd(
        called,
        Effect.sync(() => ready.call.seeEnd())
      )
      return Stream.mapArrayEffect(ended, (parts) => {
        let hasUsage = false
        for (const part of parts) hasUsage = ready.call.see(part) || hasUsage
        const encoded = mapAll(parts, Parts.encodeStream)
        if (!hasUsage && ready.hidden.size === 0) return Effect.succeed(encoded)
        const committed = Effect.mapError(ready.call.commitReported, (error) => fromBudget(ready.method, error))
        return Effect.as(Effect.andThen(committed, refuseHidden(ready, parts)), encoded)
      })
    })
  )

/**
 * Runs a stream in the context that `prepare` makes of the caller's. `Stream.updateContext` would merge the two contexts
 * for each chunk.
 */
const preparing = (
  stream: Stream.Stream<Parts.StreamPart, AiError.AiError>,
  prepare: (context: Context.Context<never>) => Context.Context<never>
): Stream.Stream<Parts.StreamPart, AiError.AiError> =>
  Stream.fromChannel(
    Channel.fromTransform((upstream, scope) =>
      Effect.contextWith((context: Context.Context<never>) => {
        const prepared = prepare(context)
        const started = Channel.toTransform(Stream.toChannel(stream))(upstream, scope)
        if (prepared === context) return started
        const provided = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
          Effect.updateContext(effect, () => prepared)
        return Effect.map(provided(started), provided)
      })
    )
  )

/** Settles a call that returns no more parts, and then checks its limit. */
const end = ({ call, checkLimit }: Ready, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.andThen(quietly(call.conclude(exit)), checkLimit)

const untilLost = ({ call, method }: Ready): Effect.Effect<never, AiError.AiError> | undefined =>
  call.untilLost && Effect.mapError(call.untilLost, (error) => fromBudget(method, error))

/** Fails if the model calls a tool that the caps don't allow, as if the program didn't have the tool. */
const refuseHidden = (
  ready: Ready,
  parts: ReadonlyArray<Parts.Part | Parts.StreamPart>
): Effect.Effect<void, AiError.AiError> => {
  const part = parts.find((part) => part.type === "tool-call" && !part.providerExecuted && ready.hidden.has(part.name))
  return part === undefined || part.type !== "tool-call"
    ? Effect.void
    : Effect.fail(
        AiError.make({
          module: "CyclesModel",
          method: ready.method,
          reason: new AiError.ToolNotFoundError({
            toolName: part.name,
            availableTools: Object.keys(ready.ask.toolkit.tools)
          })
        })
      )
}

const mapAll = <A, B>(values: readonly [A, ...Array<A>], f: (value: A) => B): [B, ...Array<B>] => {
  const [first, ...rest] = values
  return [f(first), ...rest.map(f)]
}
