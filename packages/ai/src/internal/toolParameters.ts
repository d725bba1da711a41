/** The parameters of a tool call, decoded before the inner toolkit decodes them. */
import type * as Tool from "effect/ai/Tool"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import { assumeParameters, assumeServed } from "./assume.ts"

/** The decoded parameters of a call, or `undefined` if they are invalid. */
export const decode = <T extends Tool.Any>(
  tool: T,
  params: unknown,
  options: SchemaAST.ParseOptions | undefined
): Effect.Effect<{ readonly params: Tool.Parameters<T> } | undefined> =>
  Effect.suspend(() => {
    const decoding = Schema.isSchema(tool.parametersSchema)
      ? Schema.decodeUnknownEffect(tool.parametersSchema)(params, options)
      : Effect.succeed(params)
    assumeServed(decoding)
    return Effect.match(decoding, {
      onFailure: () => undefined,
      onSuccess: (params) => {
        assumeParameters<T>(tool, params)
        return { params }
      }
    })
  })
