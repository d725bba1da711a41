/** The flags that several commands share. */
import * as Limits from "@effect-cycles/protocol/Limits"
import * as ProtocolSubject from "@effect-cycles/protocol/Subject"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Subject from "../../../Subject.ts"

/** Whether to print JSON. */
export const json = Flag.Boolean("json").pipe(
  Flag.withDescription("Print JSON instead of text"),
  Flag.withDefault(false)
)

const baseUrl = Flag.String("base-url").pipe(
  Flag.withDescription("The server. Default: CYCLES_BASE_URL"),
  Flag.withMetavar("URL"),
  Flag.optional
)

const SubjectValue = Schema.String.check(
  Schema.makeFilter((value: string) =>
    value.length <= Limits.maxSubjectValue && Limits.subjectPattern.test(value)
      ? undefined
      : `Expected 1 to ${Limits.maxSubjectValue} letters, digits, _ . -`
  )
)

const field = (name: string, what: string) =>
  Flag.String(name).pipe(
    Flag.withDescription(`${what}. Default: CYCLES_${name.toUpperCase()}`),
    Flag.withMetavar("ID"),
    Flag.withSchema(SubjectValue),
    Flag.optional
  )

/** The server and the subject. */
export const target = {
  baseUrl,
  tenant: field("tenant", "The tenant of the subject"),
  workspace: field("workspace", "The workspace of the subject"),
  app: field("app", "The application of the subject"),
  workflow: field("workflow", "The workflow of the subject"),
  agent: field("agent", "The agent of the subject"),
  toolset: field("toolset", "The toolset of the subject")
}

/** The values of the flags of a subject. */
export type SubjectFlags = { readonly [Field in ProtocolSubject.Field]: Option.Option<string> }

/** The subject of the flags, with the fields that were passed. */
export const subjectOf = (flags: SubjectFlags): Subject.Subject =>
  Object.fromEntries(ProtocolSubject.fields.map((field) => [field, Option.getOrUndefined(flags[field])]))

/** The path of a journal. */
export const journal = Flag.String("journal").pipe(
  Flag.withDescription(
    "A SQLite file, or the folder of a files journal. Default: CYCLES_JOURNAL_DIR, or ~/.effect-cycles/journal.sqlite"
  ),
  Flag.withMetavar("PATH"),
  Flag.optional
)

/** The maximum number of rows. */
export const limit = (what: string, defaultValue: number) =>
  Flag.Int("limit").pipe(
    Flag.withDescription(`The maximum number of ${what}, 1 to 100000. Default ${defaultValue}`),
    Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100_000 }))),
    Flag.withDefault(defaultValue)
  )
