/**
 * Structured responses of a guarded model.
 *
 * Only the inner model knows how its provider writes a schema, so it decodes the response. The outer model runs the tools and
 * takes the decoded value as it is. A response that can't be decoded is charged too: its parts are kept, and the failure is
 * returned when the value is decoded.
 */
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Telemetry from "effect/ai/Telemetry"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Stream from "effect/Stream"
import type { Part, Tools } from "./parts.ts"

/** The response of the inner model. */
export interface StructuredResponse {
  readonly content: ReadonlyArray<Part>
  readonly value: unknown
}

/** Runs the inner model and returns its parts, whether they could be decoded or not. */
export type Read = <R>(
  ask: Effect.Effect<StructuredResponse, AiError.AiError, R>
) => Effect.Effect<ReadonlyArray<Part>, AiError.AiError, R>

/** Makes the outer model of one call. */
export const make = (
  generate: (
    request: LanguageModel.ProviderOptions,
    read: Read
  ) => ReturnType<Parameters<typeof LanguageModel.make>[0]["generateText"]>
): Effect.Effect<LanguageModel.LanguageModel> => {
  let decoded: Result.Result<unknown, string> = Result.fail("there is no response")

  const read: Read = (ask) =>
    Effect.suspend(() => {
      let seen: ReadonlyArray<Response.AllParts<Tools>> | undefined
      // The transformer of the program runs in the outer model.
      return Effect.provideService(ask, Telemetry.CurrentSpanTransformer, ({ response }) => {
        seen = response
      }).pipe(
        Effect.map((response) => {
          decoded = Result.succeed(response.value)
          return response.content
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

/** Decodes any text as the value that the inner model decoded. */
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
      return is(result.success) ? Effect.succeed(result.success) : refuse("The response doesn't match the schema")
    },
    encode: (value) => Effect.succeed(value)
  })
}

/** Whether a part can be in a response that isn't streamed. */
const isPart = (part: Response.AllParts<Tools>): part is Part & Response.AllParts<Tools> =>
  part.type !== "error" && !/-(start|delta|end)$/.test(part.type)
