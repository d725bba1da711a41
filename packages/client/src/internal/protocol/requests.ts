/**
 * The JSON texts of requests: validated against every limit of the protocol, and encoded once. The journal stores the
 * text that is sent.
 */
import type * as Amount from "@effect-cycles/protocol/Amount"
import * as Json from "@effect-cycles/protocol/Json"
import * as Limits from "@effect-cycles/protocol/Limits"
import type { OveragePolicy } from "@effect-cycles/protocol/Reservation"
import * as Operations from "@effect-cycles/protocol/Operations"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type { InvalidRequest, Operation } from "../../CyclesError.ts"
import type { Extras, Fields } from "./extras.ts"
import { none, objectText } from "./extras.ts"
import { invalidRequest } from "./invalid.ts"

// ---------------------------------------------------------------------------------------------------------------------
// requests of the caller
// ---------------------------------------------------------------------------------------------------------------------

/** An operation that encodes requests. */
interface Encoder<A extends object> {
  readonly name: Operation
  readonly encode: (input: unknown) => Result.Result<A, Schema.SchemaError>
}

/** The body of a request. */
export const bodyOf = (operation: Encoder<object>, request: unknown): Effect.Effect<string, InvalidRequest> =>
  Effect.map(encoded(operation, request), Json.stringify)

/** The query of a request, with the question mark. */
export const queryOf = (operation: Encoder<object>, request: unknown): Effect.Effect<string, InvalidRequest> =>
  Effect.map(encoded(operation, request), (fields) => {
    const params = new URLSearchParams()
    for (const [name, value] of Object.entries(fields)) {
      if (Array.isArray(value)) params.set(name, value.join(","))
      else if (value !== undefined) params.set(name, String(value))
    }
    const text = params.toString()
    return text === "" ? "" : `?${text}`
  })

/** The body of a reserve, and its parts that a later event repeats. */
export interface ReserveText {
  readonly body: string
  readonly subject: string
  readonly action: string
}

/** The body of a reserve, or the fields that are invalid. */
export const reserveText = (request: unknown): Result.Result<ReserveText, InvalidRequest> =>
  Result.map(written(Operations.reserve, request), (wire) => {
    const subject = shared(Json.stringify(wire.subject))
    const action = shared(Json.stringify(wire.action))
    const { action: _action, subject: _subject, ...rest } = wire
    const restText = Json.stringify(rest)
    return {
      body: `${restText.slice(0, -1)},"${names.subject}":${subject},"${names.action}":${action}}`,
      subject,
      action
    }
  })

/** Returns one copy of a text. Most calls share their subjects and actions, and each reservation keeps both. */
const shared = (text: string): string => {
  const known = texts.get(text)
  if (known !== undefined) return known
  if (texts.size === 256) texts.clear()
  texts.set(text, text)
  return text
}

const texts = new Map<string, string>()

// ---------------------------------------------------------------------------------------------------------------------
// requests of the client
// ---------------------------------------------------------------------------------------------------------------------

/** The body of an extend that the heartbeat sends. */
export const extendText = (key: string, extendByMs: number): string =>
  `{"${names.idempotencyKey}":${JSON.stringify(key)},"${names.extendByMs}":${extendByMs}}`

/** The body of a release. */
export const releaseText = (key: string, reason: string): string =>
  `{"${names.idempotencyKey}":${JSON.stringify(key)},"${names.reason}":${JSON.stringify(reason)}}`

/** The spend in a commit or an event. */
export interface Spend {
  readonly key: string
  readonly actual: Amount.Amount
  readonly isEstimated: boolean
  readonly extras: Extras
  /** Milliseconds since the body started; absent if unknown. */
  readonly latencyMs: number | undefined
}

/** The body of a commit. */
export const commitText = (spend: Spend): string => `{${spendText(spend, metadataOf(spend))}}`

/** The body of an event that charges spend after the reservation has ended, or without one. */
export const eventText = (
  spend: Spend,
  reserve: { readonly subject: string; readonly action: string; readonly overagePolicy?: OveragePolicy | undefined },
  recovered: { readonly reservationId: string | undefined; readonly reason: RecoveryReason }
): string =>
  `{${spendText(spend, {
    ...metadataOf(spend),
    ...(recovered.reservationId === undefined
      ? undefined
      : {
          [recovered.reason === "joined_after_settlement" ? "joined_reservation_id" : "recovered_reservation_id"]:
            JSON.stringify(recovered.reservationId)
        }),
    recovery_reason: JSON.stringify(recovered.reason)
  })}${
    reserve.overagePolicy === undefined ? "" : `,"${names.overagePolicy}":${JSON.stringify(reserve.overagePolicy)}`
  },"${names.subject}":${reserve.subject},"${names.action}":${reserve.action}}`

/** Why spend is charged by an event. All Cycles clients use the first reason. */
export type RecoveryReason =
  | "commit_after_reservation_expired"
  | "recorded_after_settlement"
  | "reserve_unreachable"
  | "joined_after_settlement"

/** The body without the caller's metrics and metadata; nothing if it has none. */
export const textWithoutExtras = (body: string): string | undefined => {
  const parsed = parseObject(body)
  if (parsed === undefined) return undefined
  const { metadata, metrics, ...rest } = parsed
  const ownEntries = Object.entries(objectOf(metadata)).filter(([name]) => ownMetadata.has(name))
  const hasOthers =
    Object.keys(objectOf(metadata)).length > ownEntries.length ||
    Object.keys(objectOf(metrics)).some((name) => name !== names.latencyMs)
  if (!hasOthers) return undefined
  return Json.stringify(ownEntries.length === 0 ? rest : { ...rest, metadata: Object.fromEntries(ownEntries) })
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

/** The names in the protocol of the fields that this module encodes as text. */
const names = {
  idempotencyKey: Operations.wireName("idempotencyKey"),
  actual: Operations.wireName("actual"),
  unit: Operations.wireName("unit"),
  amount: Operations.wireName("amount"),
  metrics: Operations.wireName("metrics"),
  metadata: Operations.wireName("metadata"),
  latencyMs: Operations.wireName("latencyMs"),
  subject: Operations.wireName("subject"),
  action: Operations.wireName("action"),
  overagePolicy: Operations.wireName("overagePolicy"),
  reason: Operations.wireName("reason"),
  extendByMs: Operations.wireName("extendByMs")
} as const

/** The metadata fields that the client itself adds. */
const ownMetadata: ReadonlySet<string> = new Set([
  "actual_source",
  "recovered_reservation_id",
  "joined_reservation_id",
  "recovery_reason"
])

const metadataOf = ({ extras, isEstimated }: Spend): Fields =>
  isEstimated ? { ...extras.metadata, actual_source: '"estimate"' } : extras.metadata

const spendText = ({ actual, extras, key, latencyMs }: Spend, metadata: Fields): string => {
  const metrics = metricsText(extras.metrics, latencyMs)
  const metadataText = objectText(metadata)
  return (
    `"${names.idempotencyKey}":${JSON.stringify(key)},` +
    `"${names.actual}":{"${names.unit}":${JSON.stringify(actual.unit)},"${names.amount}":${actual.amount}}` +
    (metrics === undefined ? "" : `,"${names.metrics}":${metrics}`) +
    (metadataText === undefined ? "" : `,"${names.metadata}":${metadataText}`)
  )
}

const metricsText = (metrics: Fields, latencyMs: number | undefined): string | undefined => {
  if (latencyMs === undefined) return objectText(metrics)
  const latency = String(Math.min(Limits.maxMetric, Math.max(0, Math.floor(latencyMs))))
  return metrics === none.metrics
    ? `{"${names.latencyMs}":${latency}}`
    : objectText({ [names.latencyMs]: latency, ...metrics })
}

const objectOf = (value: unknown): object => (typeof value === "object" && value !== null ? value : {})

const parseObject = (text: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const value = Json.parse(text)
    return typeof value === "object" && value !== null ? { ...value } : undefined
  } catch {
    return undefined
  }
}

const written = <A extends object>({ encode, name }: Encoder<A>, input: unknown): Result.Result<A, InvalidRequest> =>
  Result.mapError(encode(input), (error) => invalidRequest(name, error, input))

const encoded = <A extends object>(operation: Encoder<A>, input: unknown): Effect.Effect<A, InvalidRequest> =>
  Effect.suspend(() => Effect.fromResult(written(operation, input)))
