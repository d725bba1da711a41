/**
 * One request for embeddings, from its reservation to its settlement.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type { Cycles, LeaseOptions, Metadata } from "effect-cycles/Cycles"
import type * as AiError from "effect/ai/AiError"
import type * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Prompt from "effect/ai/Prompt"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { fromBudget } from "../CyclesAiError.ts"
import type { BudgetError } from "../CyclesAiError.ts"
import * as Body from "./body.ts"
import * as Call from "./call.ts"
import * as Caps from "./caps.ts"
import { nameOf } from "./request.ts"
import type { Units } from "./request.ts"
import { estimate as estimateOf, guardOf, names, namesOf } from "./guard.ts"

interface Options extends LeaseOptions {
  readonly units?: Units | undefined
  readonly action?: Action | undefined
  readonly subject?: Subject | undefined
  readonly metadata?: Metadata | undefined
  readonly provider?: string | undefined
  readonly model?: string | undefined
}

/** Makes a request for embeddings under a reservation. */
export type Embed = (
  inputs: ReadonlyArray<string>,
  ask: Effect.Effect<EmbeddingModel.EmbedManyResponse, AiError.AiError>
) => Effect.Effect<EmbeddingModel.EmbedManyResponse, AiError.AiError>

/** Makes the function that guards the requests of an embedding model. */
export const make = (options: Options): Effect.Effect<Embed, never, Cycles> =>
  Effect.gen(function* () {
    const guard = yield* guardOf(options)
    const named = yield* names
    const failed = (error: BudgetError): AiError.AiError => fromBudget("embedMany", error, "CyclesEmbedding")
    return (inputs, ask) =>
      Effect.scoped(
        Effect.gen(function* () {
          const { model = "unknown", provider } = yield* namesOf(options, named)
          const name = nameOf(provider, model)
          const span = yield* Effect.orDie(Effect.currentSpan)
          const call = yield* Effect.mapError(
            Call.open(guard, {
              provider,
              model,
              action: options.action ?? { kind: "llm.embedding", name: name.slice(0, 256) },
              subject: options.subject,
              metadata: options.metadata,
              estimate: yield* estimateOf(guard, {
                model: name,
                prompt: Prompt.make(inputs.join("\n")),
                tools: []
              }),
              outputTokens: 0,
              providerTools: new Map(),
              span,
              step: undefined,
              onSettled: options.onSettled
            }),
            failed
          )
          const untilLost = call.untilLost && Effect.mapError(call.untilLost, failed)
          yield* Caps.cooldown(call.caps, span, untilLost)
          return yield* Effect.uninterruptibleMask((restore) =>
            Effect.flatMap(Body.run(restore, Effect.andThen(call.begin, ask), untilLost), (exit): ReturnType<Embed> => {
              if (Exit.isFailure(exit)) return Effect.failCause(exit.cause)
              call.seeInput(exit.value.usage.inputTokens)
              const concluded = Effect.mapError(call.conclude(exit), failed)
              return Effect.as(concluded, exit.value)
            })
          )
        })
      )
  })
