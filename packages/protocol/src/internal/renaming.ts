/**
 * Functions that rename the fields of a message from the wire to the program and back, derived from its schema.
 *
 * They don't validate: `reader` and `writer` first check a message with one side of its schema. A schema that renames while it
 * decodes costs five times as much as a check followed by a rename.
 *
 * By default the functions interpret a plan. After `compile` they are generated as code, which is as fast as functions written
 * by hand. If code generation isn't allowed, the plan is interpreted.
 */
import * as SchemaAST from "effect/SchemaAST"
import * as Schema from "effect/Schema"
import { snakeCase } from "./fieldNames.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** From the wire to the program, or back. */
export type Direction = "read" | "write"

/** How a value that differs on the wire is converted. */
interface Conversion {
  readonly read: (wire: never) => unknown
  readonly write: (value: never) => unknown
}

/** How a value is converted. */
type Plan =
  | { readonly _tag: "Keep" }
  | { readonly _tag: "Convert"; readonly convert: (value: never) => unknown }
  | { readonly _tag: "Rename"; readonly fields: ReadonlyArray<Field> }
  | { readonly _tag: "Each"; readonly item: Plan }

interface Field {
  readonly from: string
  readonly to: string
  readonly isOptional: boolean
  readonly plan: Plan
}

// ---------------------------------------------------------------------------------------------------------------------
// conversions
// ---------------------------------------------------------------------------------------------------------------------

const conversions = new WeakMap<object, Conversion & { readonly checks: number }>()

/** Registers how the values of a codec are converted, so that messages with such values have a fast path. */
export const register = <A, I>(
  { ast }: Schema.Codec<A, I>,
  conversion: { readonly read: (wire: I) => A; readonly write: (value: A) => I }
): void => {
  const transformation = ast.encoding?.[0].transformation
  if (transformation !== undefined) conversions.set(transformation, { ...conversion, checks: ast.checks?.length ?? 0 })
}

// ---------------------------------------------------------------------------------------------------------------------
// renaming
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Returns a function that renames values that the encoded side of a schema accepts, or `undefined` if a plan can't express the
 * schema. The function returns `undefined` for a value that fails a check which only the type side has.
 */
export function reading<A, I>(schema: Schema.Codec<A, I>): ((wire: I) => A | undefined) | undefined
export function reading({ ast }: Schema.Top): ((wire: never) => unknown) | undefined {
  const rename = lazily(ast, "read")
  if (rename === undefined) return undefined
  return (wire) => {
    try {
      return rename(wire)
    } catch (thrown) {
      if (thrown === failedCheck) return undefined
      throw thrown
    }
  }
}

/**
 * Returns a function that renames values that the type side of a schema accepts, or `undefined` if a plan can't express the
 * schema.
 */
export function writing<A, I>(schema: Schema.Codec<A, I>): ((value: A) => I) | undefined
export function writing({ ast }: Schema.Top): ((value: never) => unknown) | undefined {
  return lazily(ast, "write")
}

/** The code generator. A bundle contains it only if the program calls `compile`. */
let generate: typeof generated | undefined

/** Generates code for every function that is first used after this call. */
export const compile = (): void => {
  generate = generated
}

/** A process uses few of the messages, so each function is made on its first use. */
const lazily = (ast: SchemaAST.AST, direction: Direction): ((value: never) => unknown) | undefined => {
  const plan = planOf(ast, direction)
  if (plan === undefined) return undefined
  let rename = (value: never): unknown => {
    rename = generate?.(plan, direction) ?? interpreted(plan)
    return rename(value)
  }
  return (value) => rename(value)
}

// ---------------------------------------------------------------------------------------------------------------------
// plans
// ---------------------------------------------------------------------------------------------------------------------

const keep: Plan = { _tag: "Keep" }

const leaves: ReadonlySet<SchemaAST.AST["_tag"]> = new Set([
  "Declaration",
  "Null",
  "Undefined",
  "Unknown",
  "String",
  "Number",
  "Boolean",
  "BigInt",
  "Literal"
])

/**
 * Returns the plan of a schema, or `undefined` if it has an unregistered transformation. An optional field is converted only if
 * it is present.
 */
const planOf = (ast: SchemaAST.AST, direction: Direction): Plan | undefined => {
  if (ast.encoding !== undefined && !SchemaAST.isObjects(ast)) return converted(ast, ast.encoding, direction)
  if (SchemaAST.isObjects(ast)) {
    // A free-form map, or a struct with one, keeps its names.
    if (ast.indexSignatures.length > 0) return ast.encoding === undefined ? keep : undefined
    if (!isRenamed(ast) || (direction === "read" && ast.encoding !== undefined && ast.checks !== undefined))
      return undefined
    const fields = ast.propertySignatures.map((field) => fieldOf(field, direction))
    return fields.every((field) => field !== undefined) ? { _tag: "Rename", fields } : undefined
  }
  if (SchemaAST.isArrays(ast)) {
    const [item, ...others] = ast.rest
    const plan =
      item === undefined || others.length > 0 || ast.elements.length > 0 ? undefined : planOf(item, direction)
    return plan === undefined ? undefined : plan._tag === "Keep" ? keep : { _tag: "Each", item: plan }
  }
  if (SchemaAST.isUnion(ast)) {
    const plans = ast.types.filter((type) => !SchemaAST.isUndefined(type)).map((type) => planOf(type, direction))
    if (plans.every((plan) => plan?._tag === "Keep")) return keep
    const isSafe = plans.length === ast.types.length || ast.context?.isOptional === true
    return plans.length === 1 && isSafe ? plans[0] : undefined
  }
  return leaves.has(ast._tag) ? keep : undefined
}

/** A codec may have more checks than were registered. The encoded side lacks them, so a read value is checked. */
const converted = (ast: SchemaAST.AST, [link]: SchemaAST.Encoding, direction: Direction): Plan | undefined => {
  const known = conversions.get(link.transformation)
  if (known === undefined) return undefined
  const convert = known[direction]
  if (direction === "write" || (ast.checks?.length ?? 0) === known.checks) return { _tag: "Convert", convert }
  const isValid = Schema.is(Schema.make(SchemaAST.toType(ast)))
  return {
    _tag: "Convert",
    convert: (wire) => {
      const value = convert(wire)
      if (!isValid(value)) throw failedCheck
      return value
    }
  }
}

/** Thrown within a function of `reading`. */
const failedCheck = new Error("a check of the type side failed")

/** Returns whether the names on the wire are exactly the derived ones. */
const isRenamed = (ast: SchemaAST.Objects): boolean => {
  const [link, ...others] = ast.encoding ?? []
  if (others.length > 0) return false
  const names = ast.propertySignatures.map(({ name }) => snakeCase(String(name)))
  const wire = link === undefined ? ast : link.to
  return (
    SchemaAST.isObjects(wire) &&
    wire.encoding === undefined &&
    wire.propertySignatures.every(({ name }, i) => name === names[i]) &&
    wire.propertySignatures.length === names.length
  )
}

const fieldOf = ({ name, type }: SchemaAST.PropertySignature, direction: Direction): Field | undefined => {
  const plan = planOf(type, direction)
  if (plan === undefined || typeof name !== "string" || !/^[a-z]\w*$/i.test(name)) return undefined
  const wire = snakeCase(name)
  return {
    from: direction === "read" ? wire : name,
    to: direction === "read" ? name : wire,
    isOptional: type.context?.isOptional === true,
    plan
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// interpreted
// ---------------------------------------------------------------------------------------------------------------------

const interpreted = (plan: Plan): ((value: never) => unknown) => {
  switch (plan._tag) {
    case "Keep":
      return (value) => value
    case "Convert":
      return plan.convert
    case "Each": {
      const item = interpreted(plan.item)
      return (values: ReadonlyArray<never>) => values.map((value) => item(value))
    }
    case "Rename": {
      const fields = plan.fields.map(({ from, plan, to }) => ({
        from,
        to,
        convert: plan._tag === "Keep" ? undefined : interpreted(plan)
      }))
      return (value: { readonly [name: string]: never }) => {
        const renamed: { [name: string]: unknown } = {}
        for (const { convert, from, to } of fields) {
          const inner = value[from]
          if (inner !== undefined) renamed[to] = convert === undefined ? inner : convert(inner)
        }
        return renamed
      }
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// generated
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Returns the plan as code, or `undefined` if code generation isn't allowed. Field names were checked to be identifiers.
 */
const generated = (plan: Plan, direction: Direction): ((value: never) => unknown) | undefined => {
  const converts: Array<(value: never) => unknown> = []
  const functions: Array<string> = []
  let names = 0
  const expression = (plan: Plan, value: string): string => {
    switch (plan._tag) {
      case "Keep":
        return value
      case "Convert": {
        if (!converts.includes(plan.convert)) converts.push(plan.convert)
        return `c[${converts.indexOf(plan.convert)}](${value})`
      }
      case "Each":
        return `${value}.map((item) => ${expression(plan.item, "item")})`
      case "Rename": {
        const name = `rename${(names += 1)}`
        functions.push(`const ${name} = (value) => {${body(plan.fields)}}`)
        return `${name}(${value})`
      }
    }
  }
  /** Every field of a request is written, so that all have one shape; an absent field of a response stays absent. */
  const body = (fields: ReadonlyArray<Field>): string => {
    const all = fields.map(({ from, isOptional, plan, to }) => {
      const value = expression(plan, `value.${from}`)
      const isAbsent = `value.${from} === undefined`
      const isGuarded = isOptional && plan._tag !== "Keep" && direction === "write"
      return {
        isLate: isOptional && direction === "read",
        early: `${to}: ${isGuarded ? `${isAbsent} ? undefined : ${value}` : value}`,
        late: `if (!(${isAbsent})) renamed.${to} = ${value}`
      }
    })
    const early = all.flatMap(({ early, isLate }) => (isLate ? [] : [early]))
    const late = all.flatMap(({ isLate, late }) => (isLate ? [late] : []))
    return [`const renamed = {${early.join(", ")}}`, ...late, "return renamed"].join("\n")
  }
  try {
    const result = expression(plan, "value")
    const make = globalThis.Function("c", `${functions.join("\n")}\nreturn (value) => ${result}`)
    return make(converts)
  } catch {
    return undefined
  }
}
