/**
 * What is done: a kind such as `llm.completion`, and a name such as `openai:gpt-5`.
 *
 * Source: Action of the protocol.
 */
import * as Schema from "effect/Schema"
import * as Wire from "./internal/schema.ts"
import * as Limits from "./Limits.ts"

const notBlank = Schema.isPattern(/\S/, { expected: "a text that is not blank" })

/** An action as it may be sent: kind at most 64 characters, name at most 256, at most 10 tags of at most 64. */
export const Action = Schema.Struct({
  kind: Wire.text(0, Limits.maxActionKind).check(notBlank),
  name: Wire.text(0, Limits.maxActionName).check(notBlank),
  tags: Schema.optional(
    Schema.Array(Wire.text(0, Limits.maxTag)).check(
      Schema.isMaxLength(Limits.maxTags, { expected: `at most ${Limits.maxTags} tags` })
    )
  )
})

/** What is done. */
export interface Action {
  /** 1 to 64 characters, recommended as `category.operation`. */
  readonly kind: string
  /** 1 to 256 characters: provider, model or tool. */
  readonly name: string
  /** At most 10 of at most 64 characters. */
  readonly tags?: ReadonlyArray<string> | undefined
}

/** An action as it is read. */
export const Read = Schema.Struct({
  kind: Schema.String,
  name: Schema.String,
  tags: Schema.optionalKey(Schema.Array(Schema.String))
})
