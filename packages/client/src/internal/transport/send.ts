/**
 * One call of the protocol over any `HttpClient`: request text in, checked answer or typed error out.
 *
 * It knows nothing of lifecycles: no retry, no journal. It puts the keys on, bounds the call in time and number, opens
 * the span, and takes care that no error holds what was sent.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount } from "@effect-cycles/protocol/Amount"
import * as ErrorResponse from "@effect-cycles/protocol/ErrorResponse"
import * as ProtocolHeaders from "@effect-cycles/protocol/Headers"
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Headers from "effect/http/Headers"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as UrlParams from "effect/http/UrlParams"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { CyclesError, InvalidRequest, Operation } from "../../CyclesError.ts"
import { ApiError, BudgetExceeded, ProtocolError, TransportError } from "../../CyclesError.ts"
import * as Counts from "../runtime/metrics.ts"
import * as Exchange from "./transport.ts"
import * as Lanes from "./bulkhead.ts"
import * as Mask from "./redact.ts"
import { nowMs } from "../config/time.ts"
import type * as Transport from "./describe.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** What came with an answer besides its body. */
export interface AnswerMeta extends ProtocolHeaders.ResponseMeta {
  /** The round trip of the attempt that was answered, by the monotonic clock. */
  readonly rttMs: number
}

/** An answer with what came with it. */
export type WithMeta<A> = A & { readonly meta: AnswerMeta }

/** One call. */
export interface Call<A extends object> {
  readonly operation: Operation
  readonly method: "GET" | "POST"
  /** Path and query, encoded, from `/v1` on. */
  readonly path: string
  /** Why the call can't be sent at all, if it can't. */
  readonly invalid?: InvalidRequest | undefined
  /** The JSON text of the request. */
  readonly body?: string | undefined
  /** The one status that means success. */
  readonly status: 200 | 201
  /** Reads the text of a success; the failure says why it can't be read. */
  readonly read: (text: string) => Result.Result<A, string>
  readonly auth: "apiKey" | "adminKey" | "none"
  readonly lane: Lanes.Lane
  /** The time limit of the whole call; the configured one where it is absent. */
  readonly timeoutMs?: number | undefined
  /** What the call is about, for errors and spans. */
  readonly about?: About | undefined
  /** Is told how far the call has come. */
  readonly progress?: Progress | undefined
  /** Span attributes that are known from the answer. */
  readonly describe?: ((answer: A) => Readonly<Record<string, unknown>>) | undefined
}

/** How far a call has come. */
export interface Progress {
  /** Whether the request may be on its way, or may have been. */
  hasLeft: boolean
}

/** What a call is about. */
export interface About {
  readonly reservationId?: string | undefined
  readonly action?: Action | undefined
  readonly requested?: Amount | undefined
  readonly scopes?: ReadonlyArray<string> | undefined
}

/** Sends calls. */
export type Send = <A extends object>(call: Call<A>) => Effect.Effect<WithMeta<A>, CyclesError>

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Makes the sender for one server and one pair of keys. */
export const make = (options: {
  readonly baseUrl: string
  readonly apiKey: Redacted.Redacted | undefined
  readonly adminKey: Redacted.Redacted | undefined
  readonly timeoutMs: number
  readonly maxInFlight: number
  readonly aloneAfterMs: number
}): Effect.Effect<Send, never, HttpClient.HttpClient | Scope.Scope> =>
  Effect.gen(function* () {
    const exchange = yield* Exchange.make(yield* HttpClient.HttpClient)
    const lanes = Lanes.make(options)
    const headers = {
      apiKey: withKey(ProtocolHeaders.API_KEY, options.apiKey),
      adminKey: withKey(ProtocolHeaders.ADMIN_KEY, options.adminKey ?? options.apiKey),
      none: common
    }
    const mask = Mask.make([options.apiKey, options.adminKey])

    const attempt = <A extends object>(
      call: Call<A>,
      fiber: Fiber.Fiber<unknown, unknown>,
      span: Tracer.Span | undefined
    ): Effect.Effect<WithMeta<A>, CyclesError> =>
      Effect.suspend(() => {
        if (call.progress !== undefined) call.progress.hasLeft = true
        const clock = fiber.getRef(Clock.Clock)
        const sentAtMs = nowMs(clock)
        const limitMs = call.timeoutMs ?? options.timeoutMs
        return exchange.send<WithMeta<A>, CyclesError>(
          toRequest(options.baseUrl, headers[call.auth][call.method], call, span),
          {
            context: () => quieted(fiber.context),
            limitMs,
            conclude: (end) => {
              if (end === undefined) return Exit.fail(late(call, limitMs))
              return Exit.isSuccess(end)
                ? read(call, end.value, mask, nowMs(clock) - sentAtMs)
                : Exit.fail(new TransportError({ operation: call.operation, ...whatOf(end.cause) }))
            },
            onExit: (exit) => {
              lanes.answered(nowMs(clock))
              Counts.call(call.operation, exit, fiber.context)
              if (span !== undefined && Exit.isSuccess(exit)) describe(span, call, exit.value)
            }
          }
        )
      })

    return (call) =>
      Effect.withFiber((fiber) => {
        if (call.invalid !== undefined) return Effect.fail(call.invalid)
        const placed = (span: Tracer.Span | undefined) =>
          lanes.run(call.lane, nowMs(fiber.getRef(Clock.Clock)), attempt(call, fiber, span))
        if (!isTraced(fiber)) return placed(undefined)
        return Effect.useSpan(`Cycles.${call.operation}`, clientSpan, (span) => {
          announce(span, call)
          return placed(span)
        })
      })
  })

/** The header names whose values must never be shown, in addition to Effect's own. */
export const redactedHeaders: ReadonlyArray<string> = [ProtocolHeaders.API_KEY, ProtocolHeaders.ADMIN_KEY]

// ---------------------------------------------------------------------------------------------------------------------
// the request
// ---------------------------------------------------------------------------------------------------------------------

/** What became of an exchange. A client that dies or interrupts itself leaves as much in doubt as a broken connection. */
const whatOf = (cause: Cause.Cause<Transport.Description>): Transport.Description => {
  for (const reason of cause.reasons) if (reason._tag === "Fail") return reason.error
  return { kind: "unknown", mayHaveArrived: true, problem: "the HTTP client broke off" }
}

const contentType = "application/json"

/** What every request of a method carries. Not every HttpClient takes the type of a body from the body. */
const common = {
  GET: Headers.fromRecordUnsafe({ accept: contentType }),
  POST: Headers.fromRecordUnsafe({ accept: contentType, "content-type": contentType })
}

const withKey = (name: string, key: Redacted.Redacted | undefined): typeof common =>
  key === undefined
    ? common
    : {
        GET: Headers.set(common.GET, name, Redacted.value(key)),
        POST: Headers.set(common.POST, name, Redacted.value(key))
      }

/**
 * Effect's own span for each request, and the `b3` header that goes with it, are off: ours take their place. The names of
 * the key headers go with the request, since the layer's own context is not that of every caller. `fetch` would follow a
 * redirect, and carry the key to wherever it leads.
 */
const quieted = (context: Context.Context<never>): Context.Context<never> =>
  Context.add(context, HttpClient.TracerDisabledWhen, always).pipe(
    Context.add(Headers.CurrentRedactedNames, withKeyNames(Context.get(context, Headers.CurrentRedactedNames))),
    Context.add(FetchHttpClient.RequestInit, {
      ...Context.getOrUndefined(context, FetchHttpClient.RequestInit),
      redirect: "manual"
    })
  )

const withKeyNames = (names: ReadonlyArray<string | RegExp>): ReadonlyArray<string | RegExp> =>
  names.includes(ProtocolHeaders.API_KEY) ? names : [...names, ...redactedHeaders]

const always = (): boolean => true

/** Whether a span would be seen by anybody: a tracer was provided, or the call is part of something that has a span. */
const isTraced = (fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  fiber.getRef(References.TracerEnabled) &&
  (fiber.getRef(Tracer.Tracer) !== Tracer.nativeTracer ||
    Context.getOrUndefined(fiber.context, Tracer.ParentSpan) !== undefined)

const toRequest = <A extends object>(
  baseUrl: string,
  headers: Headers.Headers,
  call: Call<A>,
  span: Tracer.Span | undefined
): HttpClientRequest.HttpClientRequest =>
  HttpClientRequest.makeWith(
    call.method,
    baseUrl + call.path,
    UrlParams.empty,
    Option.none(),
    span === undefined ? headers : Headers.set(headers, ProtocolHeaders.TRACEPARENT, traceparent(span)),
    call.body === undefined ? HttpBody.empty : HttpBody.text(call.body, contentType)
  )

/** The trace of the W3C, version 00. */
const traceparent = ({ sampled, spanId, traceId }: Tracer.Span): string =>
  `00-${traceId.padStart(32, "0")}-${spanId}-${sampled ? "01" : "00"}`

const clientSpan = { kind: "client" } as const

/** What is known of a call before it is answered. */
const announce = <A extends object>(span: Tracer.Span, { about, method }: Call<A>): void => {
  span.attribute("http.request.method", method)
  if (about?.reservationId !== undefined) span.attribute("cycles.reservation_id", about.reservationId)
  if (about?.action !== undefined) {
    span.attribute("cycles.action.kind", about.action.kind)
    span.attribute("cycles.action.name", about.action.name)
  }
  if (about?.requested !== undefined) {
    span.attribute("cycles.unit", about.requested.unit)
    span.attribute("cycles.amount", about.requested.amount.toString())
  }
}

/** What is known of it afterwards. */
const describe = <A extends object>(span: Tracer.Span, call: Call<A>, answer: WithMeta<A>): void => {
  span.attribute("http.response.status_code", call.status)
  if (answer.meta.requestId !== undefined) span.attribute("cycles.request_id", answer.meta.requestId)
  if (call.describe === undefined) return
  const attributes = call.describe(answer)
  for (const name in attributes) {
    if (attributes[name] !== undefined) span.attribute(name, attributes[name])
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// the answer
// ---------------------------------------------------------------------------------------------------------------------

const read = <A extends object>(
  call: Call<A>,
  { headers, status, text: received }: Exchange.Reply,
  mask: Mask.Mask,
  rttMs: number
): Exit.Exit<WithMeta<A>, CyclesError> => {
  const text = mask.json(received)
  const meta = metaOf(headers, mask, rttMs)
  if (status === call.status) {
    const answer = call.read(text)
    return Result.isFailure(answer)
      ? Exit.fail(protocolError(call, status, meta, answer.failure))
      : Exit.succeed(Object.assign(answer.success, { meta }))
  }
  if (status >= 400) return Exit.fail(refusal(call, status, meta, text))
  return Exit.fail(
    protocolError(
      call,
      status,
      meta,
      status >= 300
        ? "a redirect, which is never followed, since it would carry the key to another place"
        : `success is ${call.status} here`
    )
  )
}

const metaOf = (headers: Exchange.Reply["headers"], mask: Mask.Mask, rttMs: number): AnswerMeta => {
  const meta = ProtocolHeaders.fromHeaders(headers)
  return {
    ...meta,
    requestId: mask.text(meta.requestId),
    traceId: mask.text(meta.traceId),
    tenant: mask.text(meta.tenant),
    rttMs
  }
}

const protocolError = <A extends object>(
  call: Call<A>,
  status: number,
  meta: ProtocolHeaders.ResponseMeta,
  problem: string
): ProtocolError => new ProtocolError({ operation: call.operation, status, problem, requestId: meta.requestId })

const refusal = <A extends object>(
  call: Call<A>,
  status: number,
  meta: ProtocolHeaders.ResponseMeta,
  text: string
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
  if (body !== undefined && budgetCodes.has(body.error) && !isDecidedByStatus(status)) {
    return new BudgetExceeded({
      ...common,
      code: body.error,
      action: call.about?.action,
      requested: call.about?.requested,
      scopes: call.about?.scopes ?? []
    })
  }
  return new ApiError({ ...common, status, code: body?.error, details: body?.details })
}

/**
 * Whether a status says enough, whatever code comes with it: who asks is not known, is throttled, the reservation is gone,
 * or the server has a fault and may have acted. None of these is the budget's refusal of the request.
 */
const isDecidedByStatus = (status: number): boolean =>
  status === 401 || status === 403 || status === 410 || status === 429 || status >= 500

const budgetCodes: ReadonlySet<string> = new Set([
  "BUDGET_EXCEEDED",
  "BUDGET_FROZEN",
  "BUDGET_CLOSED",
  "OVERDRAFT_LIMIT_EXCEEDED",
  "DEBT_OUTSTANDING"
])

const late = <A extends object>(call: Call<A>, limitMs: number): TransportError =>
  new TransportError({
    operation: call.operation,
    kind: "timeout",
    mayHaveArrived: true,
    problem: `no answer within ${Duration.format(Duration.millis(limitMs))}`
  })
