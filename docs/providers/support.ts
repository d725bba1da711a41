/**
 * Shared by the programs of this folder: the guards of a call and of a stream, errors that show whether anything may
 * have been billed, estimates, output limits and prompt cancellation. Copy it with the program that you use.
 */
import { Usage } from "@effect-cycles/ai"
import { Console, Effect, Schema, Stream } from "effect"
import type { Scope } from "effect"
import { Amount, Cycles, Reservation } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"

// ---------------------------------------------------------------------------------------------------------------------
// guards
// ---------------------------------------------------------------------------------------------------------------------

/** A call of a model, as its guard needs it. */
export interface Call {
  /** The name of the action, `provider:model`. */
  readonly name: string
  /** The estimated tokens of the input. */
  readonly input: number
  /** The most tokens that the model may generate. A cap of the budget lowers it. */
  readonly maxOutputTokens: number
  /** Makes the error of the call. `hasBegun` is true for an error after the response began. */
  readonly errorOf: (cause: unknown, hasBegun: boolean) => ProviderError
}

const guardOf = ({ input, maxOutputTokens, name }: Call) => ({
  action: { kind: "llm.completion", name },
  estimate: Amount.tokens(input + maxOutputTokens)
})

/** Guards a call that returns its whole response. It sends the output limit, and charges the reported usage. */
export const guardCall = <A>(
  call: Call & {
    /** Sends the request, without retries: a retry would be a second call under the same reservation. */
    readonly send: (limit: number, signal: AbortSignal) => PromiseLike<A>
    readonly usageOf: (response: A) => Usage.Usage | undefined
  }
) =>
  Effect.gen(function* () {
    const limit = yield* outputLimit(call.maxOutputTokens)
    const most = call.input + limit
    const response = yield* Effect.tryPromise({
      try: async (signal) => call.send(limit, signal),
      catch: (cause) => call.errorOf(cause, false)
    }).pipe(chargeIfLost(most))
    const usage = call.usageOf(response)
    yield* usage === undefined ? recordEstimate(most) : recordUsage(usage)
    return response
  }).pipe(Cycles.withCycles(guardOf(call)))

/** Counts the output of a stream until its usage is known: records the input and all text so far, as an estimate. */
export type Meter = (input: number, text: string) => Effect.Effect<void, never, Reservation.Reservation>

/**
 * Guards a stream. It sends the output limit, and charges what `read` has recorded when the stream ends for any reason.
 */
export const guardStream = <A, B>(
  call: Call & {
    /** Opens the stream, without retries. */
    readonly open: (limit: number, signal: AbortSignal) => PromiseLike<AsyncIterable<A>>
    /**
     * Makes the function that handles each part: it records the text or the usage of the part, and returns an element.
     */
    readonly read: (meter: Meter) => (part: A) => Effect.Effect<B, ProviderError, Reservation.Reservation>
  }
) =>
  Stream.unwrap(
    Effect.gen(function* () {
      const limit = yield* outputLimit(call.maxOutputTokens)
      const parts = yield* cancellable((signal) => call.open(limit, signal), call.errorOf).pipe(
        chargeIfLost(call.input)
      )
      yield* recordEstimate(call.input)
      return Stream.mapEffect(parts, call.read(textMeter(limit)))
    })
  ).pipe(Cycles.withCyclesStream(guardOf(call)))

/**
 * Runs a program with the model and the prompt of the command line and the client of the environment, and prints its
 * texts.
 */
export const main = (
  defaultModel: string,
  program: (model: string, prompt: string) => Stream.Stream<string, unknown, Cycles.Cycles>
): Promise<void> => {
  const [model = defaultModel, prompt = "Hello"] = process.argv.slice(2)
  return program(model, prompt).pipe(
    Stream.runForEach((text) => Console.log(text)),
    Effect.provide(NodeCycles.layerConfig()),
    Effect.runPromise
  )
}

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
  /** The kind of the failure. */
  reason: Schema.Literals(["refused", "rate-limited", "overloaded", "quota", "context-length", "unreachable", "lost"]),
  /** The message of the SDK. */
  message: Schema.String,
  /** The status of the response, if there was one. */
  status: Schema.optional(Schema.Finite),
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

/**
 * Returns the `errorOf` of a provider's calls. `refusalOf` returns the status of an SDK's error, and the codes and
 * texts in it. An error in a stream has begun and may be billed, even if the SDK's error has a status.
 */
export const providerErrors =
  (
    provider: string,
    refusalOf: (cause: unknown) => { readonly status: number | undefined; readonly details?: unknown } | undefined
  ): Call["errorOf"] =>
  (cause, hasBegun) => {
    if (cause instanceof ProviderError) return cause
    const { details, status } = (hasBegun ? undefined : refusalOf(cause)) ?? {}
    const message = cause instanceof Error ? cause.message : String(cause)
    return new ProviderError({
      provider,
      reason: reasonOf(cause, status, `${message} ${String(details)}`),
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

/** The output limit of a guarded call: its limit, or the cap of its reservation if that is lower. */
const outputLimit = (maxOutputTokens: number): Effect.Effect<number, never, Reservation.Reservation> =>
  Effect.map(Reservation.caps, (caps) => Math.min(maxOutputTokens, caps?.maxTokens ?? maxOutputTokens))

/** Records the tokens so far, as an estimate. */
const recordEstimate = (tokens: number): Effect.Effect<void, never, Reservation.Reservation> =>
  Effect.orDie(Reservation.record({ actual: Amount.tokens(tokens), isEstimated: true }))

/** Records reported usage. Without usage, the recorded estimate stays. */
export const recordUsage = (usage: Usage.Usage | undefined): Effect.Effect<void, never, Reservation.Reservation> =>
  usage === undefined ? Effect.void : Effect.orDie(Reservation.record({ actual: Amount.tokens(Usage.total(usage)) }))

const textMeter = (limit: number): Meter => {
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
const chargeIfLost =
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
 * The signal of `Effect.tryPromise` isn't enough: it isn't aborted once the SDK has returned its stream, and the
 * provider continues to generate.
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
