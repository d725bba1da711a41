/**
 * What the programs of this folder share: prompt cancellation, errors that say whether anything may have been billed, estimates
 * and output limits. Copy it with the program that you use.
 */
import { Usage } from "@effect-cycles/ai"
import { Effect, Schema, Stream } from "effect"
import type { Scope } from "effect"
import { Amount, Reservation } from "effect-cycles"

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A call of a provider that failed.
 *
 * `refused`, `rate-limited`, `overloaded`, `quota` and `context-length` have a status of 400 or more, and `unreachable` was never
 * sent: they cost nothing. With `lost` the provider may have generated a response, and may bill it.
 */
export class ProviderError extends Schema.TaggedError<ProviderError>()("ProviderError", {
  /** The provider's name, as in the action of the call. */
  provider: Schema.String,
  /** What happened. */
  reason: Schema.Literals(["refused", "rate-limited", "overloaded", "quota", "context-length", "unreachable", "lost"]),
  /** The message of the SDK. */
  message: Schema.String,
  /** The status of the response, if there was one. */
  status: Schema.optional(Schema.Number),
  /** The error of the SDK. */
  cause: Schema.Defect()
}) {
  /** Whether the provider may have billed the call. */
  get mayBeBilled(): boolean {
    return this.reason === "lost"
  }

  /** Whether a later attempt may succeed. Each attempt needs its own reservation: retry outside of the guard. */
  get isRetryable(): boolean {
    return ["rate-limited", "overloaded", "unreachable", "lost"].includes(this.reason)
  }
}

/** Makes the error of a call from the error of an SDK, its status, and the codes and messages in it. */
export const providerError = (
  provider: string,
  cause: unknown,
  status: number | undefined,
  ...details: ReadonlyArray<unknown>
): ProviderError => {
  const message = cause instanceof Error ? cause.message : String(cause)
  return new ProviderError({
    provider,
    reason: reasonOf(cause, status, [message, ...details].join(" ")),
    message,
    ...(status === undefined ? {} : { status }),
    cause
  })
}

const reasonOf = (cause: unknown, status: number | undefined, details: string): ProviderError["reason"] => {
  if (status === undefined || status < 400) return isUnreachable(cause) ? "unreachable" : "lost"
  if (/context_length_exceeded|prompt is too long/i.test(details)) return "context-length"
  if (status === 402 || /insufficient_quota|billing/i.test(details)) return "quota"
  if (status === 429) return "rate-limited"
  return status >= 500 ? "overloaded" : "refused"
}

/** Whether no connection was made, by the codes in the chain of causes. */
const isUnreachable = (cause: unknown): boolean => {
  for (let error = cause; error instanceof Error; error = error.cause) {
    if ("code" in error && /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN)$/.test(String(error.code))) return true
  }
  return false
}

// ---------------------------------------------------------------------------------------------------------------------
// estimates and limits
// ---------------------------------------------------------------------------------------------------------------------

/** Tokens of a text, counted high: one for every two bytes. */
export const textEstimate = (text: string): number => Math.ceil(Buffer.byteLength(text) / 2)

/** Tokens of a prompt: its text, and some for the format of a message. */
export const inputEstimate = (prompt: string): number => 8 + textEstimate(prompt)

/** The output limit of a guarded call: the smaller one of its own limit and the cap of its reservation. */
export const outputLimit = (maxOutputTokens: number): Effect.Effect<number, never, Reservation.Reservation> =>
  Effect.map(Reservation.caps, (caps) => Math.min(maxOutputTokens, caps?.maxTokens ?? maxOutputTokens))

/** Records the tokens so far, as an estimate. */
export const recordEstimate = (tokens: number): Effect.Effect<void, never, Reservation.Reservation> =>
  Effect.orDie(Reservation.record({ actual: Amount.tokens(tokens), isEstimated: true }))

/** Records the tokens of a response. Without usage it records the estimate. */
export const recordUsage = (
  usage: Usage.Usage | undefined,
  estimate: number
): Effect.Effect<void, never, Reservation.Reservation> =>
  usage === undefined
    ? recordEstimate(estimate)
    : Effect.orDie(Reservation.record({ actual: Amount.tokens(Usage.total(usage)) }))

/**
 * Counts the output of a stream until its usage is known: each call records the input and all text so far, as an estimate that is
 * never above the output limit.
 */
export const textMeter = (
  limit: number
): ((input: number, text: string) => Effect.Effect<void, never, Reservation.Reservation>) => {
  let output = 0
  return (input, text) => {
    output = Math.min(limit, output + textEstimate(text))
    return recordEstimate(input + output)
  }
}

/**
 * Charges a request whose response was lost, or that was cancelled: this many tokens, as an estimate. A request that was refused
 * costs nothing.
 */
export const chargeIfLost =
  (tokens: number) =>
  <A, R>(request: Effect.Effect<A, ProviderError, R>): Effect.Effect<A, ProviderError, R | Reservation.Reservation> =>
    request.pipe(
      Effect.tapError((error) => (error.mayBeBilled ? recordEstimate(tokens) : Effect.void)),
      Effect.onInterrupt(() => recordEstimate(tokens))
    )

// ---------------------------------------------------------------------------------------------------------------------
// cancellation
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Opens the stream of an SDK with a signal that is aborted when the scope closes. The provider sees the connection close when the
 * stream ends, fails, is cut short by `Stream.take`, or is interrupted.
 *
 * `hasBegun` is true for an error in the stream. The provider may bill it, even if the SDK's error has a status of 400 or more.
 *
 * The signal of `Effect.tryPromise` isn't enough: it isn't aborted once the SDK has returned its stream, and the provider goes on
 * generating.
 */
export const cancellable = <A, E>(
  open: (signal: AbortSignal) => PromiseLike<AsyncIterable<A>> | AsyncIterable<A>,
  onError: (cause: unknown, hasBegun: boolean) => E
): Effect.Effect<Stream.Stream<A, E>, E, Scope.Scope> =>
  Effect.gen(function* () {
    const controller = yield* Effect.acquireRelease(
      Effect.sync(() => new AbortController()),
      (controller) => Effect.sync(() => controller.abort())
    )
    const parts = yield* Effect.tryPromise({
      try: async () => open(controller.signal),
      catch: (cause) => onError(cause, false)
    })
    return Stream.fromAsyncIterable(parts, (cause) => onError(cause, true))
  })
