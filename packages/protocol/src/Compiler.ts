/**
 * Compiles the validation and renaming of messages to JavaScript, which halves the cost of reading a message.
 *
 * **Details**
 *
 * Without `enable` the same messages are read and written by interpreted schemas. `NodeCycles` of the client and
 * `NodeCyclesServer` call `enable`; no other module does.
 *
 * **Gotchas**
 *
 * The code is generated with `new Function`. If that isn't allowed, as in workers or under a content security policy, messages
 * are interpreted as without `enable`.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as SchemaJITCompiler from "effect/schema/SchemaJITCompiler"
import { ErrorResponse } from "./ErrorResponse.ts"
import * as Renaming from "./internal/renaming.ts"
import * as Operations from "./Operations.ts"

let isEnabled = false

/**
 * Compiles each request and response of the table of operations when it is first used. It affects the whole process and can't
 * be undone; further calls do nothing.
 *
 * @category compiler
 * @since 0.1.0
 */
export const enable = (): void => {
  if (isEnabled) return
  isEnabled = true
  Renaming.compile()
  SchemaJITCompiler.enable(Schema.toEncoded(ErrorResponse).ast)
  for (const operation of Object.values(Operations.all)) {
    SchemaJITCompiler.enable(Schema.toEncoded(operation.response).ast)
    if (!("request" in operation)) continue
    SchemaJITCompiler.enable(Schema.toType(operation.request).ast)
    SchemaJITCompiler.enable(Schema.toEncoded(operation.request).ast)
  }
}
