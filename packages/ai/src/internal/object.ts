/**
 * Structured answers over a guarded model.
 *
 * Only the model inside knows how its provider writes a schema, so it decodes the answer; the model outside runs the tools
 * and takes the value as it is. An answer that can't be decoded has been paid for all the same: its parts are kept, and the
 * failure is told where the value is asked for.
 */
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Telemetry from "effect/ai/Telemetry"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Stream from "effect/Stream"
import type { Part, Tools } from "./parts.ts"

/** The answer of the model inside. */
export interface Answer {
  readonly content: ReadonlyArray<Part>
  readonly value: unknown
}

/** Runs the model inside, and gives its parts, decoded or not. */
export type Read = <R>(
  ask: Effect.Effect<Answer, AiError.AiError, R>
) => Effect.Effect<ReadonlyArray<Part>, AiError.AiError, R>

/** A model outside, for one call. */
export const make = (
  generate: (
    request: LanguageModel.ProviderOptions,
    read: Read
  ) => ReturnType<Parameters<typeof LanguageModel.make>[0]["generateText"]>
): Effect.Effect<LanguageModel.LanguageModel> => {
  let decoded: Result.Result<unknown, string> = Result.fail("nothing was answered")

  const read: Read = (ask) =>
    Effect.suspend(() => {
      let seen: ReadonlyArray<Response.AllParts<Tools>> | undefined
      return Effect.serviceOption(Telemetry.CurrentSpanTransformer).pipe(
        Effect.flatMap((before) =>
          Effect.provideService(ask, Telemetry.CurrentSpanTransformer, (told) => {
            seen = told.response
            if (Option.isSome(before)) before.value(told)
          })
        ),
        Effect.map((answer) => {
          decoded = Result.succeed(answer.value)
          return answer.content
        }),
        Effect.catch((error) => {
          if (error.reason._tag !== "StructuredOutputError" || seen === undefined) return Effect.fail(error)
          decoded = Result.fail(error.reason.description)
          return Effect.succeed(seen.filter(isPart))
        })
      )
    })

  return LanguageModel.make({
    generateText: (request) => generate(request, read),
    streamText: () => Stream.empty,
    codecTransformer: (schema) => ({
      codec: Schema.Unknown.pipe(
        Schema.decodeTo(
          Schema.toType(schema),
          givenValue(schema, () => decoded)
        )
      ),
      jsonSchema: {}
    })
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** Takes the value that was decoded, whatever the text is. */
const givenValue = <T, E, RD, RE>(
  schema: Schema.ConstraintCodec<T, E, RD, RE>,
  decoded: () => Result.Result<unknown, string>
) => {
  const is = Schema.is(Schema.toType(schema))
  const refuse = (message: string) => Effect.fail(new SchemaIssue.InvalidValue({ message }))
  return SchemaTransformation.transformEffect<T, unknown>({
    decode: () => {
      const result = decoded()
      if (Result.isFailure(result)) return refuse(result.failure)
      return is(result.success) ? Effect.succeed(result.success) : refuse("The answer is not of the schema")
    },
    encode: (value) => Effect.succeed(value)
  })
}

/** Whether a part can be in an answer that isn't streamed. */
const isPart = (part: Response.AllParts<Tools>): part is Part & Response.AllParts<Tools> =>
  part.type !== "error" && !/-(start|delta|end)$/.test(part.type)
