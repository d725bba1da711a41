/**
 * The file of `serve --seed`: its schema, and how it is read.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as InvalidInput from "@effect-cycles/protocol/InvalidInput"
import * as Json from "@effect-cycles/protocol/Json"
import * as Limits from "@effect-cycles/protocol/Limits"
import { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import { count, isInstant, notBlank, stringOfLength, tenantId, ttl } from "./admin/common.ts"
import type { SeedTenant } from "./seed.ts"

// ---------------------------------------------------------------------------------------------------------------------
// schema
// ---------------------------------------------------------------------------------------------------------------------

const isAmount = (value: unknown): value is number | bigint =>
  (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) ||
  (typeof value === "bigint" && value >= 0n && value <= Limits.maxInt64)

/** JSON Schema has no 64-bit integers, so that any whole number is described. */
const WholeNumber = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0), Schema.isMultipleOf(1))

/** `Json.parse` returns integers above 2^53-1 as bigints. */
const amount = (description: string) =>
  Schema.declare(isAmount, {
    expected: `an integer from 0 to ${Limits.maxInt64}`,
    toCodecJson: () =>
      Schema.link<number | bigint>()(WholeNumber.annotate({ description }), {
        decode: SchemaGetter.passthroughSupertype(),
        encode: SchemaGetter.transform(Number)
      })
  })

const described = <S extends Schema.Top>(schema: S, description: string) =>
  Schema.optionalKey(schema.annotate({ description }))

const instantIn = (description: string) => Schema.String.annotate({ description }).check(isInstant)

const Caps = Schema.Struct({
  max_tokens: described(count(0), "The maximum number of tokens of one call."),
  max_steps_remaining: described(count(0), "The maximum number of steps that an agent may still take."),
  tool_allowlist: described(Schema.Array(stringOfLength(0, 256)), "The only tools that a call may use."),
  tool_denylist: described(Schema.Array(stringOfLength(0, 256)), "Tools that a call must not use."),
  cooldown_ms: described(count(0), "The minimum delay before the next call, in milliseconds.")
})

/** The secret of an API key that the user chose. */
export const Secret = Schema.String.check(
  Schema.isPattern(/^[\x21-\x7e]{16,128}$/, { expected: "16 to 128 printable ASCII characters without spaces" })
)

const Key = Schema.Struct({
  name: notBlank(256).annotate({ description: "Identifies the key within its tenant." }),
  secret: described(Secret, "The secret that clients send. Default: a random one, which is printed once."),
  permissions: described(Schema.Array(Schema.String), "Default: all operations of the runtime plane."),
  scopeFilter: described(
    Schema.Array(Schema.String),
    "The only scopes of the key, such as `workspace:eng`. Default: all."
  ),
  expiresAt: Schema.optionalKey(
    instantIn("When the key expires: ISO 8601 with a zone. Default: 90 days after its creation.")
  )
})

const Budget = Schema.Struct({
  unit: Schema.Literals(Amount.knownUnits).annotate({ description: "The unit of the amounts." }),
  scope: described(
    Schema.String,
    "The scope below the tenant, such as `workspace:eng/agent:planner`. Default: the tenant."
  ),
  allocated: amount("The amount that the scope may spend."),
  overdraftLimit: Schema.optionalKey(amount("The maximum debt under ALLOW_WITH_OVERDRAFT. Default: 0.")),
  caps: described(Caps, "The caps of reservations on exactly this scope.")
})

const Policy = Schema.Struct({
  name: notBlank(256).annotate({ description: "Identifies the policy within its tenant." }),
  scopePattern: described(
    Schema.String,
    "The scopes below the tenant: `workspace:eng`, `agent:*` or `*` for all of them. Default: the tenant itself."
  ),
  description: described(stringOfLength(0, 1_024), "A text for people."),
  priority: described(count(0), "The policy with the highest priority wins. Default: 0."),
  caps: described(Caps, "The caps of matching reservations."),
  commitOveragePolicy: described(OveragePolicy, "What a commit above the reserved amount does."),
  reservationTtl: described(
    Schema.Struct({
      defaultTtlMs: described(ttl, "The lifetime of a reservation without `ttl_ms`, in milliseconds."),
      maxTtlMs: described(ttl, "The longest lifetime, in milliseconds."),
      maxExtensions: described(count(0), "How often a reservation can be extended.")
    }),
    "The lifetime of matching reservations."
  ),
  rateLimits: described(
    Schema.Struct({
      maxReservationsPerMinute: described(count(1), "The number of reservations in a minute."),
      maxCommitsPerMinute: described(count(1), "The number of commits in a minute.")
    }),
    "Rate limits of matching calls."
  ),
  effectiveFrom: Schema.optionalKey(instantIn("When the policy begins: ISO 8601 with a zone. Default: at once.")),
  effectiveUntil: Schema.optionalKey(instantIn("When the policy ends: ISO 8601 with a zone. Default: never."))
})

const tenantFields = {
  tenant: tenantId.annotate({ description: "The id of the tenant: 3 to 64 characters of `a-z`, `0-9` and `-`." }),
  name: described(notBlank(256), "The display name of the tenant. Default: its id."),
  keys: described(Schema.Array(Key), "API keys. A key whose name exists is left unchanged."),
  budgets: described(Schema.Array(Budget), "Budgets. A budget whose scope and unit exist is left unchanged."),
  policies: described(Schema.Array(Policy), "Policies. A policy whose name exists is left unchanged.")
}

const Tenant = Schema.Struct(tenantFields)

const schemaField = {
  $schema: described(Schema.String, "The path or URL of this schema, for editors.")
}

const OneTenant = Schema.Struct({ ...schemaField, ...tenantFields })

const ManyTenants = Schema.Struct({ ...schemaField, tenants: Schema.Array(Tenant) })

/** One tenant in the shape of the options of `CyclesServer.layerMemory`, with keys and policies; or a list of tenants. */
export const SeedFile = Schema.Union([OneTenant, ManyTenants])

/** The JSON Schema of the file, as `seed.schema.json` publishes it. */
export const jsonSchema = (): object => {
  const { definitions, schema } = Schema.toJsonSchemaDocument(SeedFile)
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Seed of the embedded Cycles server",
    ...Object(withoutOtherFields(schema)),
    ...(Object.keys(definitions).length === 0 ? undefined : { $defs: withoutOtherFields(definitions) })
  }
}

/** Rejects unknown fields, as `parse` does. */
const withoutOtherFields = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutOtherFields)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      key === "additionalProperties" && inner === true ? false : withoutOtherFields(inner)
    ])
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// parse
// ---------------------------------------------------------------------------------------------------------------------

/** Parses the text of a seed file. Throws a `RangeError` that describes the problem. */
export const parse = (text: string): ReadonlyArray<SeedTenant> => {
  const value = parseJson(text)
  const isList = typeof value === "object" && value !== null && Object.hasOwn(value, "tenants")
  // Each member of the union is decoded by itself, because its error names the fields that are wrong.
  return isList ? decode(ManyTenants, value).tenants : [decode(OneTenant, value)]
}

const parseJson = (text: string): unknown => {
  try {
    return Json.parse(text)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    // The message of a JSON parser quotes the text around the error, which may be a secret.
    throw new RangeError(`it isn't JSON: ${message.replace(/, (\.\.\.)?"[^]*$/, "")}`)
  }
}

const decode = <A, I>(schema: Schema.Codec<A, I>, value: unknown): A => {
  const result = Schema.decodeUnknownResult(schema, { onExcessProperty: "error", errors: "all" })(value)
  if (Result.isSuccess(result)) return result.success
  const problems = InvalidInput.fromIssue(result.failure.issue, value).map((problem) => {
    const field = problem.field === "request" ? "the file" : problem.field
    if (problem.expected === InvalidInput.unknownField) return `there is no field ${field}`
    if (mayBeSecret(field, problem.actual)) return `${field} must be ${problem.expected}`
    return InvalidInput.message([{ ...problem, field }])
  })
  throw new RangeError(problems.join("; "))
}

/** Whether a value may contain a secret: anything of a key, and lists and objects, which may contain keys. */
const mayBeSecret = (field: string, actual: string): boolean => /(^|\.)keys(\.|$)/.test(field) || /^[[{]/.test(actual)
