/**
 * The action that a reservation, a decision or an event is about: a kind such as `llm.completion`, and a name such as
 * `openai:gpt-5`.
 *
 * @see schema `Action` of the Cycles protocol
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as Wire from "./internal/schema.ts"
import * as Limits from "./Limits.ts"

const notBlank = Schema.isPattern(/\S/, { expected: "a text that is not blank" })

/**
 * Schema of an action in a request.
 *
 * **Details**
 *
 * `kind` has at most 64 characters and `name` at most 256; neither may be blank. There are at most 10 tags of at most 64
 * characters each.
 *
 * @see schema `Action` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const Action = Schema.Struct({
  /** The kind of work, recommended as `category.operation`. */
  kind: Wire.text(0, Limits.maxActionKind).check(notBlank),
  /** The provider, model or tool. */
  name: Wire.text(0, Limits.maxActionName).check(notBlank),
  /** Tags for policies. */
  tags: Schema.optional(
    Schema.Array(Wire.text(0, Limits.maxTag)).check(
      Schema.isMaxLength(Limits.maxTags, { expected: `at most ${Limits.maxTags} tags` })
    )
  )
})

/**
 * An action: the kind of work, and the provider, model or tool that does it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Action {
  /** 1 to 64 characters. The protocol recommends `category.operation`, as in `llm.completion`. */
  readonly kind: string
  /** 1 to 256 characters: the provider, model or tool, as in `openai:gpt-5`. */
  readonly name: string
  /** At most 10 tags of at most 64 characters each. */
  readonly tags?: ReadonlyArray<string> | undefined
}

/**
 * Schema of an action in a response. It doesn't check the limits that a request must keep.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Read = Schema.Struct({
  /** The kind of work. */
  kind: Schema.String,
  /** The provider, model or tool. */
  name: Schema.String,
  /** The tags of the request. */
  tags: Schema.optionalKey(Schema.Array(Schema.String))
})
