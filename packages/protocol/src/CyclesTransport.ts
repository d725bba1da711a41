/**
 * How a client reaches a server: one HTTP exchange, a request in and a whole response out.
 *
 * A transport knows nothing about the protocol. It does not time requests out, limit their number, open spans or read
 * response bodies: the client does. It says whether a request that failed may have reached the server, and how often it
 * sent a request that it repeated.
 *
 * **Gotchas**
 *
 * - Requests hold the key in their headers: never log them.
 * - A transport that repeats a request has to count it in `attempts`. A client that took the response to the second
 *   attempt for the response to the first would report spend as refused that the server has charged.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** One request. */
export interface TransportRequest {
  readonly method: "GET" | "POST"
  /** Absolute. */
  readonly url: string
  /** Lower-case names. They hold the key: never log them. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
  /** Whether the transport may send the request again, once, if an idle connection that the server had closed swallowed it. */
  readonly isRepeatable: boolean
  /** How many bytes of response body are accepted; a larger body is a failure of the kind `tooLarge`. */
  readonly maxResponseBytes: number
}

/** A whole response. */
export interface TransportResponse {
  readonly status: number
  readonly headers: { readonly [lowerCaseName: string]: string | undefined }
  readonly body: string
  /** How many times the request may have reached the server, this response included: more than 1 after a repeat. */
  readonly attempts: number
}

/** Why there is no response. */
export interface TransportFailure {
  readonly kind: "refused" | "interrupted" | "tooLarge" | "unknown"
  /** Whether the server may have acted on the request. True if in doubt. */
  readonly mayHaveArrived: boolean
  /** One line for people, without anything from the request. */
  readonly problem: string
  /** The error of the HTTP library. The client copies a few fields of it, redacted, and drops the rest. */
  readonly cause: unknown
}

/** Sends requests to a server. */
export interface CyclesTransport {
  readonly "~effect-cycles/CyclesTransport": "~effect-cycles/CyclesTransport"
  /**
   * Starts one exchange and returns a function that abandons it. `done` is called at most once, and never after the
   * exchange was abandoned. `context` returns the caller's context, for transports that run an Effect.
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

/** Sends requests to a server. */
export const CyclesTransport: Context.Service<CyclesTransport, CyclesTransport> = Context.Service(
  "effect-cycles/CyclesTransport"
)

const TypeId = "~effect-cycles/CyclesTransport"

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes a transport from an Effect. Each exchange runs in a fiber of its own, which is interrupted, without waiting for it,
 * when the exchange is abandoned.
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

/** Makes a transport from callbacks: the cheapest way for an HTTP library that has them. */
export const fromStart = (start: CyclesTransport["start"]): CyclesTransport => ({ [TypeId]: TypeId, start })

/** Sends one request through a transport: what a transport around another one uses. Interrupting it abandons the exchange. */
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
 * The failure that an error of an HTTP library amounts to, by the codes that Node, undici, fetch and Bun put on their errors
 * and on the errors' causes. An error without a known code leaves in doubt whether the request arrived.
 */
export const failureOf = (cause: unknown): TransportFailure => {
  const { code, isConnecting } = codeOf(cause)
  return code !== undefined && (neverSent.has(code) || (isConnecting && connecting.has(code)))
    ? { kind: "refused", mayHaveArrived: false, problem: code, cause }
    : {
        kind: code === undefined ? "unknown" : "interrupted",
        mayHaveArrived: true,
        problem: code ?? "the exchange broke off",
        cause
      }
}

/** The failure of a request that was never sent. */
export const notSent = (problem: string, cause: unknown): TransportFailure => ({
  kind: "refused",
  mayHaveArrived: false,
  problem,
  cause
})

/** The failure of a response whose body is larger than the request accepts. */
export const tooLarge = (request: TransportRequest): TransportFailure => ({
  kind: "tooLarge",
  mayHaveArrived: true,
  problem: `the response has more than ${request.maxResponseBytes} bytes`,
  cause: undefined
})

/** Codes of errors that happen only before the first byte of the request is written. */
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

/** Codes that mean the same only if the error comes from connecting: an open connection can report them too. */
const connecting: ReadonlySet<string> = new Set(["EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL", "ETIMEDOUT"])

const maxLinks = 5

/** The first code in a chain of causes. Reading a foreign error may throw, which counts as no code. */
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
    // A getter of a foreign error threw.
  }
  return { code: undefined, isConnecting: false }
}

/** Node tries several addresses and wraps their errors in one that has no `syscall`. */
const isConnecting = (error: object): boolean => {
  const errors: unknown = Reflect.get(error, "errors")
  if (Array.isArray(errors)) return errors.every((one) => typeof one === "object" && one !== null && isConnecting(one))
  return Reflect.get(error, "syscall") === "connect"
}
