/**
 * The failures of the budget tools of an MCP server. A failure names a remedy. It contains no
 * URL, no message of the server, and nothing of the configuration.
 */
import type { ApiError, CyclesError } from "effect-cycles/CyclesError"
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"

/**
 * The schema of a failure of a budget tool.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Failure = Schema.Struct({
  /** The kind of the failure. */
  error: Schema.Literals([
    "UnknownUnit",
    "FixedSubject",
    "InvalidRequest",
    "BudgetExceeded",
    "NoBudget",
    "NoBudgetInUnit",
    "Unauthorized",
    "Forbidden",
    "RateLimited",
    "Unavailable",
    "Refused",
    "NoRun"
  ]),
  /** The failure, and a remedy if there is one. */
  message: Schema.String,
  /** The error code of the protocol, if the server sent one. */
  code: Schema.optionalKey(Schema.String),
  /** The delay that the server suggests, in milliseconds. */
  retry_after_ms: Schema.optionalKey(Schema.Int)
})

/**
 * A failure of a budget tool.
 *
 * @category models
 * @since 0.1.0
 */
export type Failure = typeof Failure.Type

/** The failure for an error of the client. */
export const of = (error: CyclesError): Failure => {
  switch (error._tag) {
    case "InvalidRequest":
      return {
        error: "InvalidRequest",
        message: error.fields
          .map(({ actual, expected, field }) => `${field} must be ${expected}, got ${actual}`)
          .join("; ")
      }
    case "BudgetExceeded":
      return {
        error: "BudgetExceeded",
        message: "The budget refuses this amount.",
        code: error.code,
        ...waitOf(error.retryAfter)
      }
    case "TransportError":
    case "ProtocolError":
      return unavailable
    case "ApiError":
      return ofResponse(error)
  }
}

const unavailable: Failure = { error: "Unavailable", message: "The budget service is unavailable. Try again later." }

const ofResponse = (error: ApiError): Failure => {
  const details = { ...(error.code === undefined ? undefined : { code: error.code }), ...waitOf(error.retryAfter) }
  switch (error.reason._tag) {
    case "NoBudget":
      return { error: "NoBudget", message: "No scope of this subject has a budget.", ...details }
    case "NoBudgetInUnit":
      return { error: "NoBudgetInUnit", message: "This subject has budgets, but none in this unit.", ...details }
    case "Unauthorized":
      return { error: "Unauthorized", message: "The budget service doesn't accept the key of this server.", ...details }
    case "Forbidden":
      return { error: "Forbidden", message: "The key of this server isn't allowed to read this subject.", ...details }
    case "RateLimited":
      return { error: "RateLimited", message: "The budget service limits requests. Try again later.", ...details }
    case "ServerFault":
    case "Unavailable":
    case "NotCycles":
      return { ...unavailable, ...details }
    default:
      return { error: "Refused", message: "The budget service refused the request.", ...details }
  }
}

const waitOf = (wait: Duration.Duration | undefined) =>
  wait === undefined ? undefined : { retry_after_ms: Math.ceil(Duration.toMillis(wait)) }
