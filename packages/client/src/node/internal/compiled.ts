/**
 * The checks of the messages of every lifecycle, compiled to code: on Node that is at hand, and a guarded call costs a tenth
 * less. Elsewhere, and where code may not be made from text, the same schemas are interpreted.
 */
import * as Reservation from "@effect-cycles/protocol/Reservation"
import * as Schema from "effect/Schema"
import * as SchemaJITCompiler from "effect/schema/SchemaJITCompiler"

let isCompiled = false

/** Has these checks compiled when they are first used; once for the process. */
export const compile = (): void => {
  if (isCompiled) return
  isCompiled = true
  for (const schema of [Reservation.ReservationCreateResponse, Reservation.CommitResponse]) {
    SchemaJITCompiler.enable(Schema.toEncoded(schema).ast)
  }
  for (const schema of [Reservation.ReservationCreateRequest, Reservation.CommitRequest]) {
    SchemaJITCompiler.enable(Schema.toType(schema).ast)
  }
}
