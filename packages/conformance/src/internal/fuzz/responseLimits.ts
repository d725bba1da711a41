/** Responses beyond a limit of the client: which error must end the call, whatever the machine's load. */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import { TransportError } from "effect-cycles/CyclesError"
import type { Case } from "./responseCases.ts"

/** Returns the violations of an outcome. */
export type Expectation = (exit: Exit.Exit<unknown, unknown>) => ReadonlyArray<string>

/** The only outcome that a case may have; `undefined` if it may have several. */
export const expectationOf = (value: Case): Expectation | undefined => {
  if (value.pace !== "at once" || !isPlain(value)) return undefined
  if (value.headers.some((name) => name === "flood" || name === "long")) return headersRefused
  const isLarge = /endless|gigabyte/.test(value.body)
  // `dispatch` doesn't decode.
  const isDecoded = value.body.endsWith(" bomb") && value.transport !== "undici"
  return isLarge || isDecoded ? tooLarge : undefined
}

const isPlain = ({ framing, headers, status }: Case): boolean =>
  (framing === "length" || framing === "chunked" || framing === "close") &&
  (status === "expected" || /^HTTP\/1\.1 (20[01]|[45]\d\d) /.test(status)) &&
  headers.every((name) => plainHeaders.has(name))

const plainHeaders: ReadonlySet<Case["headers"][number]> = new Set([
  "html",
  "flood",
  "long",
  "cookies",
  "location",
  "retry",
  "retry date",
  "retry never",
  "date",
  "close"
])

const errorOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error : undefined

const outcome = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isSuccess(exit) ? "a success" : Cause.pretty(exit.cause).slice(0, 300)

const tooLarge: Expectation = (exit) => {
  const error = errorOf(exit)
  const isRefused = error instanceof TransportError && error.kind === "tooLarge"
  return isRefused ? [] : [`a response above the limit wasn't refused as too large, but ended with ${outcome(exit)}`]
}

const headersRefused: Expectation = (exit) => {
  const error = errorOf(exit)
  const isRefused = error instanceof TransportError && error.kind !== "timeout"
  return isRefused ? [] : [`headers above the limit weren't refused, but ended with ${outcome(exit)}`]
}

// ---------------------------------------------------------------------------------------------------------------------
// cases
// ---------------------------------------------------------------------------------------------------------------------

const transports: ReadonlyArray<Case["transport"]> = ["undici", "fetch", "HttpClient"]

const common = { status: "expected", mutations: [], headers: [], pace: "at once" } as const

/**
 * Each limit of a response over each transport, in each framing that needs its own check. The depth has no limit:
 * fields of unknown content are returned as they are, and must not cause a defect.
 */
export const limitCases: ReadonlyArray<Case> = transports.flatMap((transport): ReadonlyArray<Case> => [
  { ...common, transport, operation: "decide", body: "gigabyte", framing: "length" },
  { ...common, transport, operation: "decide", body: "gigabyte of quotes", framing: "chunked" },
  { ...common, transport, operation: "getJwks", body: "gigabyte", framing: "close" },
  { ...common, transport, operation: "commit", body: "endless", framing: "chunked" },
  { ...common, transport, operation: "reserve", body: "endless", framing: "length" },
  { ...common, transport, operation: "decide", body: "gzip bomb", framing: "length" },
  { ...common, transport, operation: "decide", body: "deflate bomb", framing: "chunked" },
  { ...common, transport, operation: "decide", body: "br bomb", framing: "close" },
  { ...common, transport, operation: "decide", body: "zstd bomb", framing: "length" },
  { ...common, transport, operation: "decide", body: "valid", framing: "length", headers: ["flood"] },
  { ...common, transport, operation: "decide", body: "valid", framing: "length", headers: ["long"] },
  { ...common, transport, operation: "getReservation", body: "deep", framing: "length" }
])
