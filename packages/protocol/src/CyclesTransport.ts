/**
 * The service through which the client sends HTTP requests to a server. One exchange takes a request and returns the whole
 * response.
 *
 * **Details**
 *
 * A transport doesn't interpret the protocol. Deadlines, concurrency limits, spans and response parsing belong to the client.
 * A transport reports whether a failed request may have reached the server, and how many times it sent a request.
 *
 * **Gotchas**
 *
 * - The headers of a request contain the API key: never log them.
 * - A transport that repeats a request must count it in `attempts`. Otherwise the client takes the response to the second
 *   attempt for the response to the first, and may report spend as refused although the server has charged it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * One HTTP request.
 *
 * @category models
 * @since 0.1.0
 */
export interface TransportRequest {
  /** The HTTP method. */
  readonly method: "GET" | "POST"
  /** The absolute URL. */
  readonly url: string
  /** The headers, by lower-case names. They contain the API key: never log them. */
  readonly headers: Readonly<Record<string, string>>
  /** The JSON text of the body; `undefined` for a GET. */
  readonly body: string | undefined
  /**
   * Whether the transport may send the request once more if the server had closed the idle connection it was sent on.
   */
  readonly isRepeatable: boolean
  /** The largest accepted response body, in bytes. A larger one is a failure of the kind `tooLarge`. */
  readonly maxResponseBytes: number
}

/**
 * A complete HTTP response.
 *
 * @category models
 * @since 0.1.0
 */
export interface TransportResponse {
  /** The HTTP status. */
  readonly status: number
  /** The headers, by lower-case names. */
  readonly headers: { readonly [lowerCaseName: string]: string | undefined }
  /** The whole body as text. */
  readonly body: string
  /**
   * How many times the request may have reached the server, including the one this response is for. More than 1 after a repeat.
   */
  readonly attempts: number
}

/**
 * The reason why there is no response.
 *
 * @category models
 * @since 0.1.0
 */
export interface TransportFailure {
  /**
   * `refused`: the request was never sent. `interrupted`: the exchange broke off. `tooLarge`: the body exceeds the limit.
   * `unknown`: any other error.
   */
  readonly kind: "refused" | "interrupted" | "tooLarge" | "unknown"
  /** Whether the server may have acted on the request. True if that is unknown. */
  readonly mayHaveArrived: boolean
  /** One line that describes the failure, without any data of the request. */
  readonly problem: string
  /** The error of the HTTP library. The client copies a few redacted fields of it and drops the rest. */
  readonly cause: unknown
}

/**
 * A service that sends requests to a server.
 *
 * @category models
 * @since 0.1.0
 */
export interface CyclesTransport {
  /** Identifies the service. */
  readonly "~effect-cycles/CyclesTransport": "~effect-cycles/CyclesTransport"
  /**
   * Starts one exchange and returns a function that abandons it.
   *
   * `done` must be called at most once, and never after the exchange was abandoned. `context` returns the caller's context, for
   * transports that run an Effect.
   */
  readonly start: (
    request: TransportRequest,
    context: () => Context.Context<never>,
    done: (exit: Exit.Exit<TransportResponse, TransportFailure>) => void
  ) => () => void
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The service tag of the transport.
 *
 * @category services
 * @since 0.1.0
 */
export const CyclesTransport: Context.Service<CyclesTransport, CyclesTransport> = Context.Service(
  "effect-cycles/CyclesTransport"
)

const TypeId = "~effect-cycles/CyclesTransport"

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes a transport from an Effect.
 *
 * **Details**
 *
 * Each exchange runs in its own fiber. When the exchange is abandoned, the fiber is interrupted, and nothing waits for it.
 *
 * @example
 * ```ts
 * import { CyclesTransport } from "@effect-cycles/protocol"
 * import { Effect, Layer } from "effect"
 *
 * const offline = CyclesTransport.make((request) =>
 *   Effect.fail(CyclesTransport.notSent(`no network for ${request.method}`, undefined))
 * )
 *
 * export const layer = Layer.succeed(CyclesTransport.CyclesTransport, offline)
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  send: (request: TransportRequest) => Effect.Effect<TransportResponse, TransportFailure>
): CyclesTransport =>
  fromStart((request, context, done) => {
    let isAbandoned = false
    const fiber = Effect.runForkWith(context())(Effect.suspend(() => send(request)))
    fiber.addObserver((exit) => {
      if (!isAbandoned) done(exit)
    })
    return () => {
      isAbandoned = true
      fiber.interruptUnsafe()
    }
  })

/**
 * Makes a transport from callbacks, which costs less than `make` if the HTTP library has callbacks.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromStart = (start: CyclesTransport["start"]): CyclesTransport => ({ [TypeId]: TypeId, start })

/**
 * Sends one request through a transport, for transports that wrap another one. Interruption abandons the exchange.
 *
 * @category combinators
 * @since 0.1.0
 */
export const send = (
  transport: CyclesTransport,
  request: TransportRequest
): Effect.Effect<TransportResponse, TransportFailure> =>
  Effect.withFiber((fiber) =>
    Effect.callback((resume) => Effect.sync(transport.start(request, () => fiber.context, resume)))
  )

// ---------------------------------------------------------------------------------------------------------------------
// failures
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Converts an error of an HTTP library to a failure, by the error codes of Node, undici, fetch and Bun.
 *
 * **Details**
 *
 * It uses the first code in a chain of at most five causes. If there is no known code, the request may have arrived.
 *
 * @category errors
 * @since 0.1.0
 */
export const failureOf = (cause: unknown): TransportFailure => {
  const { code, isConnecting } = codeOf(cause)
  if (code === undefined) return { kind: "unknown", mayHaveArrived: true, problem: "the exchange broke off", cause }
  return neverSent.has(code) || (isConnecting && connecting.has(code))
    ? notSent(code, cause)
    : { kind: "interrupted", mayHaveArrived: true, problem: code, cause }
}

/**
 * Makes the failure of a request that was never sent.
 *
 * @category errors
 * @since 0.1.0
 */
export const notSent = (problem: string, cause: unknown): TransportFailure => ({
  kind: "refused",
  mayHaveArrived: false,
  problem,
  cause
})

/**
 * Makes the failure of a response whose body is larger than the request accepts.
 *
 * @category errors
 * @since 0.1.0
 */
export const tooLarge = (request: TransportRequest): TransportFailure => ({
  kind: "tooLarge",
  mayHaveArrived: true,
  problem: `the response has more than ${request.maxResponseBytes} bytes`,
  cause: undefined
})

/** Codes of errors that occur only before the first byte of the request is written. */
const neverSent: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_INVALID_ARG",
  "UND_ERR_PRX_TLS",
  "CERT_HAS_EXPIRED",
  "CERT_NOT_YET_VALID",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "ERR_INVALID_URL",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "ConnectionRefused",
  "FailedToOpenSocket"
])

/** Codes with the same meaning, but only on errors from connecting: an open connection can also report them. */
const connecting: ReadonlySet<string> = new Set(["EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL", "ETIMEDOUT"])

const maxLinks = 5

/** The first code in a chain of causes. Reading an error of a library may throw; then there is no code. */
const codeOf = (cause: unknown): { readonly code: string | undefined; readonly isConnecting: boolean } => {
  try {
    let link = cause
    for (let depth = 0; depth < maxLinks && typeof link === "object" && link !== null; depth += 1) {
      const code: unknown = Reflect.get(link, "code")
      if (typeof code === "string") return { code, isConnecting: isConnecting(link) }
      const next: unknown = Reflect.get(link, "cause")
      const errors: unknown = Reflect.get(link, "errors")
      link = next ?? (Array.isArray(errors) ? errors[0] : Reflect.get(link, "reason"))
    }
  } catch {
    // A getter of the error threw.
  }
  return { code: undefined, isConnecting: false }
}

/** Node tries several addresses and wraps their errors in one that has no `syscall`. */
const isConnecting = (error: object): boolean => {
  const errors: unknown = Reflect.get(error, "errors")
  if (Array.isArray(errors)) return errors.every((one) => typeof one === "object" && one !== null && isConnecting(one))
  return Reflect.get(error, "syscall") === "connect"
}
