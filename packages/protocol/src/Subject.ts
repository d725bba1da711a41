/**
 * The subject of spend: the budgets that are charged, from the tenant down to the toolset, and free-form dimensions for
 * reports.
 *
 * @see schema `Subject` of the Cycles protocol
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as Wire from "./internal/schema.ts"
import * as Limits from "./Limits.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The fields that name budgets, from the top down.
 *
 * @category models
 * @since 0.1.0
 */
export const fields = ["tenant", "workspace", "app", "workflow", "agent", "toolset"] as const

/**
 * A field that names a budget.
 *
 * @category models
 * @since 0.1.0
 */
export type Field = (typeof fields)[number]

const value = Schema.optional(
  Wire.text(1, Limits.maxSubjectValue).check(
    Schema.isPattern(Limits.subjectPattern, { expected: "letters, digits, _ . or -" })
  )
)

/**
 * Schema of a subject in a request.
 *
 * **Details**
 *
 * At least one field besides `dimensions` is required. Each has 1 to 128 letters, digits, `_`, `.` or `-`.
 *
 * @see schema `Subject` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const Subject = Schema.Struct({
  /** The tenant that owns the budgets. */
  tenant: value,
  /** A workspace of the tenant. */
  workspace: value,
  /** An application. */
  app: value,
  /** A workflow, for example a single run. */
  workflow: value,
  /** An agent. */
  agent: value,
  /** A set of tools. */
  toolset: value,
  /** At most 16 strings of at most 256 characters each, for reports. */
  dimensions: Schema.optional(
    Schema.Record(Schema.String, Wire.text(0, Limits.maxDimensionValue)).check(
      Schema.isMaxProperties(Limits.maxDimensions, { expected: `at most ${Limits.maxDimensions} entries` })
    )
  )
}).check(Wire.atLeastOne(fields))

/**
 * The subject of spend. Each field has 1 to 128 letters, digits, `_`, `.` or `-`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Subject {
  /** The tenant that owns the budgets. */
  readonly tenant?: string | undefined
  /** A workspace of the tenant, for example an environment. */
  readonly workspace?: string | undefined
  /** An application. */
  readonly app?: string | undefined
  /** A workflow, for example a single run. */
  readonly workflow?: string | undefined
  /** An agent. */
  readonly agent?: string | undefined
  /** A set of tools. */
  readonly toolset?: string | undefined
  /** At most 16 strings of at most 256 characters each, for reports. Servers may ignore them in budget decisions. */
  readonly dimensions?: { readonly [key: string]: string } | undefined
}

const open = Schema.optionalKey(Schema.String)

/**
 * Schema of a subject in a response. It doesn't check the limits that a request must keep.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Read = Schema.Struct({
  /** The tenant that owns the budgets. */
  tenant: open,
  /** A workspace of the tenant. */
  workspace: open,
  /** An application. */
  app: open,
  /** A workflow. */
  workflow: open,
  /** An agent. */
  agent: open,
  /** A set of tools. */
  toolset: open,
  /** Free-form values for reports. */
  dimensions: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
})

// ---------------------------------------------------------------------------------------------------------------------
// combinators
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Merges two subjects field by field, also within `dimensions`. The inner subject has precedence.
 *
 * @example
 * ```ts
 * import { Subject } from "@effect-cycles/protocol"
 *
 * console.log(Subject.merge({ tenant: "acme", app: "web" }, { app: "jobs", agent: "a" }))
 * // { tenant: "acme", app: "jobs", agent: "a" }
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
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

/**
 * Returns the scopes that a subject names, from the top down, as the server writes them: each with the path above it, in lower
 * case.
 *
 * @example
 * ```ts
 * import { Subject } from "@effect-cycles/protocol"
 *
 * console.log(Subject.scopes({ tenant: "Acme", agent: "a" })) // [ "tenant:acme", "tenant:acme/agent:a" ]
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
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
