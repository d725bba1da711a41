/**
 * Compiles how messages are checked and renamed to code, which halves the cost of reading a response.
 *
 * Code is made from text when a message is used for the first time. Runtimes that don't allow that, such as browsers with a
 * content security policy and workers, read and write the same messages without it. The Node entry point of the client enables
 * it; nothing else does.
 */
import * as Schema from "effect/Schema"
import * as SchemaJITCompiler from "effect/schema/SchemaJITCompiler"
import { ErrorResponse } from "./ErrorResponse.ts"
import * as Renaming from "./internal/renaming.ts"
import * as Operations from "./Operations.ts"

let isEnabled = false

/** Compiles each message of the table of operations when it is first used from now on; once for the process. */
export const enable = (): void => {
  if (isEnabled) return
  isEnabled = true
  Renaming.compile()
  SchemaJITCompiler.enable(Schema.toEncoded(ErrorResponse).ast)
  for (const operation of Object.values(Operations.all)) {
    SchemaJITCompiler.enable(Schema.toEncoded(operation.response).ast)
    if ("request" in operation) SchemaJITCompiler.enable(Schema.toType(operation.request).ast)
  }
}
