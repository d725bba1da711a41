/**
 * Metrics and metadata, converted to JSON text as soon as the caller passes them. After that the client uses only the
 * text, so that getters, proxies and `toJSON` of the caller's objects can't run during a settlement.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Json from "@effect-cycles/protocol/Json"
import * as Limits from "@effect-cycles/protocol/Limits"
import type { Metrics } from "@effect-cycles/protocol/Metrics"
import * as Operations from "@effect-cycles/protocol/Operations"
import * as Result from "effect/Result"
import type { InvalidRequest, Operation } from "../../CyclesError.ts"
import type { Metadata } from "../../Reservation.ts"
import { invalidRequest } from "./invalid.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** JSON texts by their names in the protocol. */
export type Fields = Readonly<Record<string, string>>

/** Metrics and metadata as text. */
export interface Extras {
  readonly metrics: Fields
  readonly metadata: Fields
}

/** The value that a caller's object threw. */
export interface Thrown {
  readonly _tag: "Thrown"
  readonly defect: unknown
}

/**
 * JSON that is nested deeper than the server accepts. It is omitted with a warning, because the body has already run.
 */
export interface TooDeep {
  readonly _tag: "TooDeep"
}

/** No metrics and no metadata. */
export const none: Extras = { metrics: {}, metadata: {} }

// ---------------------------------------------------------------------------------------------------------------------
// encode and merge
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Validates metrics and metadata against the limits of the protocol and converts them to text. It never throws, even if
 * `read` or one of its objects does.
 */
export const encode = (
  operation: Operation,
  read: () => { readonly metrics?: Metrics | undefined; readonly metadata?: Metadata | undefined }
): Result.Result<Extras, InvalidRequest | TooDeep | Thrown> => {
  try {
    const { metadata, metrics } = read()
    if (metrics === undefined && metadata === undefined) return Result.succeed(none)
    const request = { idempotencyKey: "key", actual: nothing, metrics, metadata }
    const encoded = Operations.commit.encode(request)
    if (Result.isFailure(encoded)) {
      return Result.fail(
        isTooDeep([metrics, metadata]) ? { _tag: "TooDeep" } : invalidRequest(operation, encoded.failure, request)
      )
    }
    return Result.succeed({
      metrics: textsOf(encoded.success.metrics),
      metadata: textsOf(encoded.success.metadata)
    })
  } catch (defect) {
    return Result.fail({ _tag: "Thrown", defect })
  }
}

/** Merges the fields. Fields of `later` override fields of `earlier`. */
export const merge = (earlier: Extras, later: Extras): Extras =>
  later === none
    ? earlier
    : earlier === none
      ? later
      : {
          metrics: { ...earlier.metrics, ...later.metrics },
          metadata: { ...earlier.metadata, ...later.metadata }
        }

/** The JSON object with these fields; nothing if there are none. */
export const objectText = (fields: Fields): string | undefined => {
  let text = ""
  for (const name of Object.keys(fields)) {
    text += `${text === "" ? "{" : ","}${JSON.stringify(name)}:${fields[name]}`
  }
  return text === "" ? undefined : `${text}}`
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const nothing = Amount.tokens(0)

const textsOf = (encoded: object | undefined): Fields => {
  if (encoded === undefined) return none.metrics
  const entries: Array<readonly [string, string]> = []
  for (const [name, value] of Object.entries(encoded)) {
    const text: string | undefined = value === undefined ? undefined : Json.stringify(value)
    if (text !== undefined) entries.push([name, text])
  }
  return Object.fromEntries(entries)
}

/** Whether a value is nested deeper than the limit. It isn't recursive, and visits each object once. */
const isTooDeep = (root: unknown): boolean => {
  let level: ReadonlyArray<unknown> = [root]
  const seen = new Set<object>()
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > Limits.maxJsonDepth) return true
    const next: Array<unknown> = []
    for (const value of level) {
      if (typeof value !== "object" || value === null || seen.has(value)) continue
      seen.add(value)
      next.push(...Object.values(value))
    }
    level = next
  }
  return false
}
