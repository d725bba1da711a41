/**
 * From the answer of a call to its charge: noted as it passes, charged before anything is made of it, and given on as a
 * provider would give it.
 */
import * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { fromBudget } from "../CyclesAiError.ts"
import { assumeServed, assumeServedStream } from "./assume.ts"
import { quietly } from "./guard.ts"
import * as Parts from "./parts.ts"
import type { Ready } from "./prepare.ts"

/** Makes a call, charges it, and gives its parts as a provider would. */
export const whole = <R>(
  ready: Ready,
  ask: Effect.Effect<ReadonlyArray<Parts.Part>, AiError.AiError, R>
): Effect.Effect<Array<Response.PartEncoded>, AiError.AiError> =>
  Effect.uninterruptibleMask((restore) => {
    assumeServed(ask)
    const limited = ready.withLimit === undefined ? ask : Effect.updateContext(ask, ready.withLimit)
    return Effect.flatMap(Effect.exit(restore(limited)), (exit) => {
      if (Exit.isFailure(exit)) {
        return Effect.andThen(quietly(ready.call.conclude(exit)), Effect.failCause(exit.cause))
      }
      for (const part of exit.value) ready.call.see(part)
      return Effect.andThen(
        Effect.mapError(ready.call.conclude(exit), (error) => fromBudget(ready.method, error)),
        Effect.map(refuseHidden(ready, exit.value), () => exit.value.map(Parts.encode))
      )
    })
  })

/** Notes a stream as it passes, and charges it as soon as it tells what it used. */
export const streamed = <R>(
  ready: Ready,
  stream: Stream.Stream<Parts.StreamPart, AiError.AiError, R>
): Stream.Stream<Response.StreamPartEncoded, AiError.AiError> =>
  Stream.unwrap(
    Effect.gen(function* () {
      yield* Effect.addFinalizer((exit) => quietly(ready.call.conclude(asOfModel(exit))))
      assumeServedStream(stream)
      const limited = ready.withLimit === undefined ? stream : Stream.updateContext(stream, ready.withLimit)
      return Stream.mapArrayEffect(limited, (parts) => {
        let tells = false
        for (const part of parts) tells = ready.call.see(part) || tells
        const encoded = mapAll(parts, Parts.encodeStream)
        if (!tells && ready.hidden.size === 0) return Effect.succeed(encoded)
        const settled = Effect.mapError(ready.call.settleSeen, (error) => fromBudget(ready.method, error))
        return Effect.as(Effect.andThen(settled, refuseHidden(ready, parts)), encoded)
      })
    })
  )

/** A model that calls a tool it was not shown fails as it does where the program doesn't offer that tool. */
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

/** The end of a stream's scope: what fails it, besides the model, says nothing about the model. */
const asOfModel = (exit: Exit.Exit<unknown, unknown>): Exit.Exit<unknown, AiError.AiError> => {
  if (Exit.isSuccess(exit)) return Exit.void
  const failed = exit.cause.reasons.find(Cause.isFailReason)
  return failed !== undefined && AiError.isAiError(failed.error) ? Exit.fail(failed.error) : Exit.interrupt()
}

const mapAll = <A, B>(values: readonly [A, ...Array<A>], f: (value: A) => B): [B, ...Array<B>] => {
  const [first, ...rest] = values
  return [f(first), ...rest.map(f)]
}
