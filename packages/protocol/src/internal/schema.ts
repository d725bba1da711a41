/**
 * The building blocks of the wire's schemas: objects, texts, integers and the user's own JSON.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Json from "../Json.ts"
import * as Limits from "../Limits.ts"

// ---------------------------------------------------------------------------------------------------------------------
// objects
// ---------------------------------------------------------------------------------------------------------------------

/** `scopePath` as `scope_path`. */
type Snake<Name extends string> = Name extends `${infer Head}${infer Tail}`
  ? `${Head extends Lowercase<Head> ? Head : `_${Lowercase<Head>}`}${Snake<Tail>}`
  : ""

/** The names of the wire, and an explicit `null` where a field may be absent. */
type OnTheWire<Encoded> = {
  readonly [Key in keyof Encoded as Key extends string ? Snake<Key> : never]: {} extends Pick<Encoded, Key>
    ? Encoded[Key] | null
    : Encoded[Key]
}

/** A struct in camelCase whose wire form is in snake_case. */
export interface wire<Fields extends Schema.Struct.Fields> extends Schema.decodeTo<
  Schema.Struct<Fields>,
  Schema.Codec<OnTheWire<Schema.Struct.Encoded<Fields>>>
> {}

/**
 * The wire form of a struct: names in snake_case, absent fields left out, an explicit `null` read as absent.
 *
 * Unknown keys are dropped, or refused where `onExcessProperty: "error"` is asked for. The object is renamed first and
 * checked once, in the names of the types: `Schema.encodeKeys` checks every level of nesting again and takes twice as
 * long.
 */
export const wire = <Fields extends Schema.Struct.Fields>(struct: Schema.Struct<Fields>): wire<Fields> => {
  type Encoded = Schema.Struct.Encoded<Fields>
  const names = Object.keys(struct.fields).map((name) => [name, Json.snakeCase(name)] as const)
  const known = new Set(names.map(([, key]) => key))
  const object = Schema.declare((input): input is OnTheWire<Encoded> => Json.isObject(input), {
    expected: "an object",
    toCodecJson: () =>
      Schema.link<OnTheWire<Encoded>>()(described(struct, names), {
        decode: SchemaGetter.passthrough({ strict: false }),
        encode: SchemaGetter.passthrough({ strict: false })
      })
  })
  return object.pipe(
    Schema.decodeTo(struct, {
      decode: SchemaGetter.transformEffect((input, options) => {
        if (options.onExcessProperty === "error") {
          for (const key of Object.keys(input))
            if (!known.has(key)) return Effect.fail(unexpected(object.ast, key, options))
        }
        return Effect.succeed(fromWire<Encoded>(names, input))
      }),
      encode: SchemaGetter.transform((input) => toWire<OnTheWire<Encoded>>(names, input))
    })
  )
}

type Names = ReadonlyArray<readonly [name: string, key: string]>

// The mapping of names is the same in `OnTheWire` and here; the compiler can't follow it, so both directions are stated.
function fromWire<A>(names: Names, input: object): A
function fromWire(names: Names, input: Readonly<Record<string, unknown>>): object {
  const result: Record<string, unknown> = {}
  for (const [name, key] of names) {
    const value = input[key]
    if (value !== undefined && value !== null) result[name] = value
  }
  return result
}

function toWire<A>(names: Names, input: object): A
function toWire(names: Names, input: Readonly<Record<string, unknown>>): object {
  const result: Record<string, unknown> = {}
  for (const [name, key] of names) {
    const value = input[name]
    if (value !== undefined) result[key] = value
  }
  return result
}

const unexpected = (ast: SchemaAST.AST, key: string, options: SchemaAST.ParseOptions): SchemaIssue.Issue =>
  new SchemaIssue.Pointer([key], new SchemaIssue.UnexpectedKey(ast, undefined, options))

/** The wire form as a plain struct: what JSON schemas are drawn from. */
const described = (struct: Schema.Struct<Schema.Struct.Fields>, names: Names) => {
  const fields: Record<string, Schema.Constraint> = {}
  for (const [name, key] of names) {
    const field = struct.fields[name]
    if (field === undefined) continue
    const encoded = Schema.toEncoded(field)
    fields[key] = SchemaAST.isOptional(encoded.ast) ? Schema.optionalKey(present(encoded)) : encoded
  }
  return Schema.Struct(fields)
}

/** Without `undefined`, which JSON doesn't have. */
const present = (schema: Schema.Constraint): Schema.Constraint => {
  const { ast } = schema
  const [first] = ast._tag === "Union" ? ast.types.filter((member) => member._tag !== "Undefined") : [ast]
  return first === undefined || ast._tag !== "Union" || !ast.types.some((member) => member._tag === "Undefined")
    ? schema
    : Schema.make(first)
}

// ---------------------------------------------------------------------------------------------------------------------
// texts and integers
// ---------------------------------------------------------------------------------------------------------------------

/** A text of limited length, in UTF-16 units as the reference server counts. */
export const text = (minimum: number, maximum: number) =>
  Schema.String.check(Schema.isBetweenLength(minimum, maximum, { expected: `${minimum} to ${maximum} characters` }))

/** An integer of limited size. */
export const integer = (minimum: number, maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum }, { expected: `an integer from ${minimum} to ${maximum}` }))

/** A count, or an instant or a span of time in milliseconds. */
export const natural = integer(0, Number.MAX_SAFE_INTEGER)
