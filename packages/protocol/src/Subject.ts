/**
 * Whose spend it is: a path through the budgets, from tenant to toolset, and free dimensions for reports.
 *
 * Source: Subject of the protocol.
 */
import * as Schema from "effect/Schema"
import * as Wire from "./internal/schema.ts"
import * as Limits from "./Limits.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The fields that name budgets, from the top down. */
export const fields = ["tenant", "workspace", "app", "workflow", "agent", "toolset"] as const

/** A field that names a budget. */
export type Field = (typeof fields)[number]

const value = Schema.optional(
  Wire.text(1, Limits.maxSubjectValue).check(
    Schema.isPattern(Limits.subjectPattern, { expected: "letters, digits, _ . or -" })
  )
)

/** A subject as it may be sent: at least one field besides `dimensions`. */
export const Subject = Schema.Struct({
  tenant: value,
  workspace: value,
  app: value,
  workflow: value,
  agent: value,
  toolset: value,
  dimensions: Schema.optional(
    Schema.Record(Schema.String, Wire.text(0, Limits.maxDimensionValue)).check(
      Schema.isMaxProperties(Limits.maxDimensions, { expected: `at most ${Limits.maxDimensions} entries` })
    )
  )
}).check(
  Schema.makeFilter((subject) =>
    fields.some((field) => subject[field] !== undefined) ? undefined : `Expected at least one of ${fields.join(", ")}`
  )
)

/** Whose spend it is. */
export interface Subject {
  /** 1 to 128 letters, digits, `_`, `.` or `-`. */
  readonly tenant?: string | undefined
  readonly workspace?: string | undefined
  readonly app?: string | undefined
  readonly workflow?: string | undefined
  readonly agent?: string | undefined
  readonly toolset?: string | undefined
  /** At most 16 texts of at most 256 characters each. */
  readonly dimensions?: { readonly [key: string]: string } | undefined
}

const open = Schema.optionalKey(Schema.String)

/** A subject as it is read. */
export const Read = Schema.Struct({
  tenant: open,
  workspace: open,
  app: open,
  workflow: open,
  agent: open,
  toolset: open,
  dimensions: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
})

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/** One subject from two, field by field; the inner one wins, also within `dimensions`. */
export const merge = (outer: Subject, inner: Subject): Subject => {
  const merged: { -readonly [K in keyof Subject]: Subject[K] } = {}
  for (const field of fields) {
    const name = inner[field] ?? outer[field]
    if (name !== undefined) merged[field] = name
  }
  const dimensions =
    outer.dimensions === undefined || inner.dimensions === undefined
      ? (inner.dimensions ?? outer.dimensions)
      : { ...outer.dimensions, ...inner.dimensions }
  if (dimensions !== undefined) merged.dimensions = dimensions
  return merged
}

/** The scopes that a subject names, from the top down, as the server writes them: each with the path above it. */
export const scopes = (self: Subject): ReadonlyArray<string> => {
  const result: Array<string> = []
  let path = ""
  for (const field of fields) {
    const name = self[field]
    if (name === undefined) continue
    path = `${path === "" ? "" : `${path}/`}${field}:${name.toLowerCase()}`
    result.push(path)
  }
  return result
}
