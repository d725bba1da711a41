/**
 * The subject: the entity that spends, as a path from tenant to toolset. Budgets belong to scopes of this path.
 *
 * **Details**
 *
 * The subject is ambient: `withSubject` sets it for every guard inside an effect, and forked fibers inherit it. If a
 * field is set several times, the subject of the call overrides the ambient one, which overrides the configured one.
 *
 * @see Subject of the protocol
 * @since 0.1.0
 */
import * as Protocol from "@effect-cycles/protocol/Subject"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * `tenant`, `workspace`, `app`, `workflow`, `agent` and `toolset`, at least one of them, each 1 to 128 letters, digits,
 * `_`, `.` or `-`. `dimensions` has at most 16 entries of at most 256 characters, for reports.
 *
 * @category models
 * @since 0.1.0
 */
export type Subject = Protocol.Subject

/**
 * The ambient subject. Default: empty.
 *
 * @category references
 * @since 0.1.0
 */
export const CurrentSubject = Context.Reference<Subject>("effect-cycles/Subject/CurrentSubject", {
  defaultValue: () => none
})

/**
 * The empty subject.
 *
 * @category constructors
 * @since 0.1.0
 */
export const none: Subject = {}

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Merges two subjects field by field. Fields of `inner` override fields of `outer`.
 *
 * @category combining
 * @since 0.1.0
 */
export const merge: (outer: Subject, inner: Subject) => Subject = Protocol.merge

/**
 * Sets the subject of an effect, merged into the ambient subject field by field.
 *
 * **Gotchas**
 *
 * A guarded stream uses the subject of the fiber that runs it, not of the code that builds it.
 *
 * **Example** (Charging a step to an agent)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Amount, Cycles } from "effect-cycles"
 *
 * const step = Effect.succeed("done").pipe(
 *   Cycles.withCycles({
 *     action: { kind: "agent.step", name: "plan" },
 *     estimate: Amount.credits(1)
 *   })
 * )
 *
 * export const program = step.pipe(Cycles.withSubject({ agent: "planner" }))
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withSubject: {
  (subject: Subject): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, subject: Subject): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, subject: Subject): Effect.Effect<A, E, R> =>
  Effect.updateService(self, CurrentSubject, (outer) => merge(outer, subject))
)
