/**
 * Converts the end of an exchange to the result of a call: a validated response, or a typed and redacted error.
 *
 * The input isn't trusted: it comes from a custom transport, a server, or a proxy. The result is always a response or a
 * `CyclesError`, never a defect.
 */
import type { TransportFailure, TransportResponse } from "@effect-cycles/protocol/CyclesTransport"
import * as ErrorResponse from "@effect-cycles/protocol/ErrorResponse"
import * as ProtocolHeaders from "@effect-cycles/protocol/Headers"
import * as Json from "@effect-cycles/protocol/Json"
import * as Duration from "effect/Duration"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type { CyclesError } from "../../CyclesError.ts"
import { ApiError, BudgetExceeded, ProtocolError, TransportError } from "../../CyclesError.ts"
import { ruleOf } from "../models/errorCodes.ts"
import * as Hints from "./hints.ts"
import type { Call, Meta, WithMeta } from "./call.ts"
import type { Redactor } from "./redact.ts"
import type { End } from "./transport.ts"

/** The context of a response. */
export interface Origin {
  /** The URL of the request, without its query. */
  readonly url: () => string
  readonly redactor: Redactor
  readonly limitMs: number
  /** The wall clock. */
  readonly nowMs: () => number
}

/** Returns the result of a call. */
export const resultOf = <A extends object>(
  call: Call<A>,
  end: End,
  origin: Origin
): Exit.Exit<WithMeta<A>, CyclesError> => {
  try {
    switch (end._tag) {
      case "Abandoned":
        return Exit.interrupt()
      case "TimedOut":
        return Exit.fail(timedOut(call, origin, end.wasSent))
      case "Threw":
        return Exit.fail(
          failed(call, origin, {
            kind: "unknown",
            mayHaveArrived: end.wasSent,
            problem: "the transport threw",
            cause: end.defect
          })
        )
      case "Done":
        return Exit.isExit(end.exit)
          ? Exit.isSuccess(end.exit)
            ? read(call, end.exit.value, end.rttMs, origin)
            : Exit.fail(failed(call, origin, failureOf(end.exit)))
          : Exit.fail(broken(call, origin, "the transport called back without an Exit", undefined))
    }
  } catch (defect) {
    return Exit.fail(broken(call, origin, "the end of the exchange can't be read", defect))
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// responses
// ---------------------------------------------------------------------------------------------------------------------

const read = <A extends object>(
  call: Call<A>,
  response: TransportResponse,
  rttMs: number,
  origin: Origin
): Exit.Exit<WithMeta<A>, CyclesError> => {
  const unusable = problemOf(response)
  if (unusable !== undefined) return Exit.fail(broken(call, origin, unusable, undefined))
  const { attempts, body, headers, status } = response
  const text = origin.redactor.json(body)
  const meta = metaOf(headers, origin, rttMs)
  const error =
    status === call.status
      ? undefined
      : status >= 400
        ? refusal(call, status, meta, text, origin)
        : protocolError(call, status, meta, origin, otherStatus(call, status))
  if (error !== undefined) {
    return Exit.fail(attempts <= 1 || countsAfterRepeat(error) ? error : afterRepeat(call, origin, error))
  }
  const parsed = parse(call, text)
  if (Result.isSuccess(parsed)) return Exit.succeed(Object.assign(parsed.success, { meta }))
  const { cause, problem } = parsed.failure
  const hint = Hints.isPage(text) ? Hints.ofPage(text, origin.redactor.text(origin.url())) : undefined
  return Exit.fail(protocolError(call, status, meta, origin, problem, cause, hint))
}

/** Returns how a response violates its type; nothing if it is valid. */
const problemOf = (response: unknown): string | undefined => {
  if (typeof response !== "object" || response === null) return "the transport returned no response"
  const { body, headers, status }: { body?: unknown; headers?: unknown; status?: unknown } = response
  if (typeof status !== "number" || !Number.isInteger(status)) return "the transport returned no status"
  if (typeof body !== "string") return "the transport returned a body that isn't a string"
  if (typeof headers !== "object" || headers === null) return "the transport returned no headers"
  return undefined
}

const parse = <A extends object>(
  call: Call<A>,
  text: string
): Result.Result<A, { readonly problem: string; readonly cause?: unknown }> => {
  try {
    return Result.mapError(call.read(text), (problem) => ({ problem }))
  } catch (cause) {
    return Result.fail({ problem: "the body can't be read", cause })
  }
}

const metaOf = (headers: TransportResponse["headers"], { nowMs, redactor }: Origin, rttMs: number): Meta => {
  const meta = ProtocolHeaders.fromHeaders(headers, nowMs)
  return {
    ...meta,
    requestId: redactor.text(meta.requestId),
    traceId: redactor.text(meta.traceId),
    tenant: redactor.text(meta.tenant),
    rttMs
  }
}

const otherStatus = <A extends object>(call: Call<A>, status: number): string =>
  status >= 300 && status < 400
    ? "a redirect, which is never followed, because it could send the key to another server"
    : `expected status ${call.status}`

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

const protocolError = <A extends object>(
  call: Call<A>,
  status: number,
  meta: ProtocolHeaders.ResponseMeta,
  { redactor, url }: Origin,
  problem: string,
  cause?: unknown,
  hint?: string
): ProtocolError =>
  new ProtocolError({
    operation: call.operation,
    status,
    problem: redactor.text(problem),
    requestId: meta.requestId,
    url: redactor.text(url()),
    cause: redactor.cause(cause),
    hint
  })

const refusal = <A extends object>(
  call: Call<A>,
  status: number,
  meta: ProtocolHeaders.ResponseMeta,
  text: string,
  { redactor, url }: Origin
): ApiError | BudgetExceeded => {
  const body = Result.getOrUndefined(ErrorResponse.read(text))
  const retryAfter = body?.retryAfterMs !== undefined ? Duration.millis(body.retryAfterMs) : meta.retryAfter
  const common = {
    operation: call.operation,
    serverMessage: body?.message,
    retryAfter,
    requestId: body?.requestId ?? meta.requestId,
    traceId: body?.traceId ?? meta.traceId
  }
  const rule = ruleOf(call.operation, status, body?.error)
  // A 410 is about the reservation, regardless of its code.
  if (body !== undefined && status !== 410 && rule.class === "denied") {
    return new BudgetExceeded({
      ...common,
      code: body.error,
      action: call.about?.action,
      requested: call.about?.requested,
      scopes: call.about?.scopes ?? []
    })
  }
  const from = redactor.text(url())
  return new ApiError({
    ...common,
    status,
    code: body?.error,
    // An error can be encoded as JSON, which can't represent a bigint.
    details: body?.details && JSON.parse(Json.stringify(body.details)),
    url: from,
    hint:
      body !== undefined
        ? Hints.ofRefusal(call, status, body.error, meta)
        : rule.reason === "NotCycles"
          ? Hints.ofPage(text, from)
          : undefined
  })
}

/**
 * Whether the response to a repeated request also counts for the first one. The server checks the key and the rate
 * limit before it looks up the idempotency key, and the error page of a proxy has no code. Neither proves that the
 * first request had no effect.
 */
const countsAfterRepeat = (error: ApiError | BudgetExceeded | ProtocolError): boolean =>
  error._tag === "BudgetExceeded" ||
  (error._tag === "ProtocolError" && error.status < 300) ||
  (error._tag === "ApiError" && error.code !== undefined && error.status < 500 && !beforeLookup.has(error.status))

const beforeLookup: ReadonlySet<number> = new Set([401, 403, 429])

const afterRepeat = <A extends object>(
  call: Call<A>,
  origin: Origin,
  later: ApiError | BudgetExceeded | ProtocolError
): TransportError =>
  failed(call, origin, {
    kind: "interrupted",
    mayHaveArrived: true,
    problem: `the first request got no response, and the response to its repetition proves nothing about it: ${later.message}`,
    cause: undefined
  })

const timedOut = <A extends object>(call: Call<A>, origin: Origin, wasSent: boolean): TransportError => {
  const limit = Duration.format(Duration.millis(origin.limitMs))
  return new TransportError({
    operation: call.operation,
    kind: "timeout",
    mayHaveArrived: wasSent,
    problem: wasSent ? `no response within ${limit}` : `too many other calls were in flight for ${limit}`,
    url: origin.redactor.text(origin.url()),
    // A timeout of the call itself is the rest of an attempt or of a lease.
    hint: wasSent && call.timeoutMs === undefined ? Hints.ofTimeout(origin.limitMs) : undefined
  })
}

const failed = <A extends object>(
  call: Call<A>,
  { redactor, url }: Origin,
  failure: TransportFailure
): TransportError => {
  const problem = typeof failure.problem === "string" ? redactor.text(failure.problem) : "the exchange broke off"
  const cause = redactor.cause(failure.cause)
  const from = redactor.text(url())
  return new TransportError({
    operation: call.operation,
    kind: kinds.has(failure.kind) ? failure.kind : "unknown",
    mayHaveArrived: failure.mayHaveArrived !== false,
    problem,
    url: from,
    cause,
    hint: Hints.ofFailure(problem, cause, from)
  })
}

const kinds: ReadonlySet<string> = new Set(["refused", "interrupted", "tooLarge", "unknown"])

const broken = <A extends object>(call: Call<A>, origin: Origin, problem: string, cause: unknown): TransportError =>
  failed(call, origin, { kind: "unknown", mayHaveArrived: true, problem, cause })

/**
 * The failure of an exchange. If the transport dies or is interrupted, the outcome is as uncertain as after a lost
 * connection.
 */
const failureOf = (exit: Exit.Failure<unknown, TransportFailure>): TransportFailure => {
  let defect: unknown
  for (const reason of exit.cause.reasons) {
    if (reason._tag === "Fail" && typeof reason.error === "object" && reason.error !== null) return reason.error
    if (reason._tag === "Fail") defect = reason.error
    if (reason._tag === "Die") defect = reason.defect
  }
  return { kind: "unknown", mayHaveArrived: true, problem: "the transport broke off", cause: defect }
}
