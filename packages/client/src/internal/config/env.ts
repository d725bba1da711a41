/**
 * The `CYCLES_*` variables. An invalid value fails with an error that contains the variable, the allowed values, and
 * the value unless it is secret.
 */
import * as Limits from "@effect-cycles/protocol/Limits"
import * as Subject from "@effect-cycles/protocol/Subject"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { isKey, keyRule } from "./apiKey.ts"
import { problemOf, shown } from "./baseUrl.ts"
import { suspiciousTimeoutMs } from "./time.ts"

/** The value of a variable that is set. An empty value counts as not set. */
const set = (name: string, allowed: string) =>
  Schema.String.annotate({ message: `${name} is not set: it must be ${allowed}` })

/** A text that passes a check. `problem` returns the rule that a value violates, or nothing. */
const text = (
  name: string,
  problem: (value: string) => string | undefined,
  show: (value: string) => string = String
): Config.Config<string> =>
  Config.schema(
    set(name, problem("") ?? "a text").check(
      Schema.makeFilter((value: string) => {
        const allowed = problem(value.trim())
        return allowed === undefined ? undefined : `${name} must be ${allowed}, got ${JSON.stringify(show(value))}`
      })
    ),
    name
  )

/** The base URL of the server. */
export const baseUrl: Config.Config<string> = text("CYCLES_BASE_URL", problemOf, shown)

/** An API key. Errors don't contain its value. */
export const secret = (name: string): Config.Config<Redacted.Redacted> =>
  Config.schema(
    Schema.Redacted(
      set(name, keyRule).check(
        Schema.makeFilter((value: string) => (isKey(value) ? undefined : `${name} must be ${keyRule}`))
      )
    ),
    name
  )

/** A duration: milliseconds, or a number with a unit. */
export const duration = (
  name: string,
  range: { readonly minimum: Duration.Input; readonly maximum: Duration.Input }
): Config.Config<Duration.Duration> => {
  const minimum = Duration.fromInputUnsafe(range.minimum)
  const maximum = Duration.fromInputUnsafe(range.maximum)
  return Config.map(
    text(name, (value) => {
      const parsed = parseDuration(value)
      return Option.isSome(parsed) && Duration.between(parsed.value, { minimum, maximum })
        ? undefined
        : `milliseconds or a duration such as "5 seconds", from ${Duration.format(minimum)} to ${Duration.format(maximum)}`
    }),
    (value) => Option.getOrElse(parseDuration(value.trim()), () => minimum)
  )
}

/** An integer in a range. */
export const integer = (
  name: string,
  range: { readonly minimum: number; readonly maximum: number }
): Config.Config<number> => number(name, /^\d+$/, `an integer from ${range.minimum} to ${range.maximum}`, range)

/** A number in a range. */
export const decimal = (
  name: string,
  range: { readonly minimum: number; readonly maximum: number }
): Config.Config<number> => number(name, /^\d+(\.\d+)?$/, `a number from ${range.minimum} to ${range.maximum}`, range)

/** A boolean: true, 1, yes or on; false, 0, no or off. */
export const flag = (name: string): Config.Config<boolean> =>
  Config.map(
    text(name, (value) =>
      on.has(value.toLowerCase()) || off.has(value.toLowerCase()) ? undefined : "true, 1, yes, on, false, 0, no or off"
    ),
    (value) => on.has(value.trim().toLowerCase())
  )

/** One of several words. */
const word = <const A extends string>(name: string, words: readonly [A, ...ReadonlyArray<A>]): Config.Config<A> =>
  Config.map(
    text(name, (value) =>
      words.some((one) => one === value.toLowerCase()) ? undefined : `one of ${words.join(", ")}`
    ),
    (value) => words.find((one) => one === value.trim().toLowerCase()) ?? words[0]
  )

/** The mode of the client. */
export const mode = word("CYCLES_MODE", ["enforce", "shadow"])

/** What guards do if the server can't be reached. */
export const onUnreachable = word("CYCLES_ON_UNREACHABLE", ["fail", "allow"])

/** The subject, with one variable for each field. An empty variable counts as not set. */
export const subject: Config.Config<Subject.Subject> = Config.map(
  Config.all(
    Subject.fields.map((field) => {
      const name = `CYCLES_${field.toUpperCase()}`
      return Config.map(
        Config.option(
          text(name, (value) =>
            value === "" || (value.length <= Limits.maxSubjectValue && Limits.subjectPattern.test(value))
              ? undefined
              : `1 to ${Limits.maxSubjectValue} letters, digits, _ . -`
          )
        ),
        (value) => [field, Option.getOrElse(value, () => "").trim()] as const
      )
    })
  ),
  (values) => Object.fromEntries(values.filter(([, value]) => value !== ""))
)

/**
 * Warns of a timeout that is so short that it is probably meant in seconds: other clients of the protocol read the same
 * variables in seconds.
 */
export const warnIfShort = (variable: string, timeout: Duration.Input | undefined): Effect.Effect<void> => {
  const ms = timeout === undefined ? Infinity : Duration.toMillis(timeout)
  return ms < suspiciousTimeoutMs
    ? Effect.logWarning(`${variable} is ${ms} ms. Numbers without a unit are milliseconds; for seconds write "${ms} s"`)
    : Effect.void
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const on: ReadonlySet<string> = new Set(["true", "1", "yes", "on"])

const off: ReadonlySet<string> = new Set(["false", "0", "no", "off"])

const parseDuration = (value: string): Option.Option<Duration.Duration> => {
  if (/^\d+$/.test(value)) return Option.some(Duration.millis(Number(value)))
  const match = /^(\d+(?:\.\d+)?) ?([a-z]+)$/i.exec(value)
  const unit = match?.[2] === undefined ? undefined : units[match[2].toLowerCase()]
  return match?.[1] === undefined || unit === undefined
    ? Option.none()
    : Option.some(Duration.millis(Number(match[1]) * unit))
}

const units: Readonly<Partial<Record<string, number>>> = {
  ms: 1,
  milli: 1,
  millis: 1,
  millisecond: 1,
  milliseconds: 1,
  s: 1_000,
  second: 1_000,
  seconds: 1_000,
  m: 60_000,
  minute: 60_000,
  minutes: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  hours: 3_600_000
}

const number = (
  name: string,
  pattern: RegExp,
  allowed: string,
  range: { readonly minimum: number; readonly maximum: number }
): Config.Config<number> =>
  Config.map(
    text(name, (value) =>
      pattern.test(value) && Number(value) >= range.minimum && Number(value) <= range.maximum ? undefined : allowed
    ),
    (value) => Number(value.trim())
  )
