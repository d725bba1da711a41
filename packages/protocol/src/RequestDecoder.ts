/**
 * Decodes the bodies of requests, for servers.
 *
 * **Details**
 *
 * A decoder returns the same values as the schema. After `Compiler.enable` it takes about a fifth of the time for the requests
 * of the table of operations.
 *
 * @since 0.1.0
 */
import type * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Wire from "./internal/schema.ts"

/**
 * Creates the decoder of a schema. The decoder takes parsed JSON, in which integers above 2^53-1 are bigints, ignores unknown
 * fields, and doesn't throw.
 *
 * @example
 * ```ts
 * import { Json, Operations, RequestDecoder } from "@effect-cycles/protocol"
 * import { Result } from "effect"
 *
 * const decode = RequestDecoder.make(Operations.extend.request)
 *
 * console.log(Result.getOrThrow(decode(Json.parse('{"idempotency_key":"k","extend_by_ms":1000}'))))
 * // { idempotencyKey: "k", extendByMs: 1000 }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: <A, I>(schema: Schema.Codec<A, I>) => (json: unknown) => Result.Result<A, Schema.SchemaError> =
  Wire.decoder
