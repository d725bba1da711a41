/**
 * Whose spend it is: a path through the budgets, from tenant to toolset.
 *
 * It is ambient: set around a part of the program, it holds for every guard inside and for the fibers forked there. Where
 * several say something, the nearest wins, field by field: the call's own, then the ambient one, then the client's.
 *
 * Source: Subject of the protocol.
 */
import * as Protocol from "@effect-cycles/protocol/Subject"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * `tenant`, `workspace`, `app`, `workflow`, `agent`, `toolset`: each 1 to 128 letters, digits, `_`, `.` or `-`, at least
 * one of them; `dimensions`: at most 16 texts of at most 256 characters, for reports.
 */
export type Subject = Protocol.Subject

/** The ambient subject; empty where nothing has been said. */
export const CurrentSubject = Context.Reference<Subject>("effect-cycles/Subject/CurrentSubject", {
  defaultValue: () => none
})

/** Nothing said. */
export const none: Subject = {}

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/** One subject from two, field by field, the inner one winning. */
export const merge: (outer: Subject, inner: Subject) => Subject = Protocol.merge

/**
 * Says whose spend everything inside is. Streams are guarded by the subject under which they are run.
 *
 * @example
 * program.pipe(Cycles.withSubject({ agent: "planner" }))
 */
export const withSubject: {
  (subject: Subject): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, subject: Subject): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, subject: Subject): Effect.Effect<A, E, R> =>
  Effect.updateService(self, CurrentSubject, (outer) => merge(outer, subject))
)
