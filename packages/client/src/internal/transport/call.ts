/**
 * What a call is, and what comes back.
 */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount } from "@effect-cycles/protocol/Amount"
import type * as ProtocolHeaders from "@effect-cycles/protocol/Headers"
import type * as Result from "effect/Result"
import type { InvalidRequest, Operation } from "../../CyclesError.ts"
import type { Priority } from "./bulkhead.ts"

/** What comes with a response besides its body. */
export interface Meta extends ProtocolHeaders.ResponseMeta {
  /** The round trip of the request, without the time it waited to be sent, by the monotonic clock. */
  readonly rttMs: number
}

/** A response with its metadata. */
export type WithMeta<A> = A & { readonly meta: Meta }

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
  readonly priority: Priority
  /** The time limit of the whole call, the time in the queue included. Default: the configured one. */
  readonly timeoutMs?: number | undefined
  /** What the call is about, for errors and spans. */
  readonly about?: About | undefined
  /** Kept up to date with how far the call has come. */
  readonly progress?: Progress | undefined
  /** Span attributes that are known from the response. */
  readonly describe?: ((response: A) => Readonly<Record<string, unknown>>) | undefined
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
