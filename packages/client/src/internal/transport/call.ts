/** One call of the protocol: its request, how to parse its response, and its metadata. */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount } from "@effect-cycles/protocol/Amount"
import type * as ProtocolHeaders from "@effect-cycles/protocol/Headers"
import type * as Result from "effect/Result"
import type { InvalidRequest, Operation } from "../../CyclesError.ts"
import type { Priority } from "./bulkhead.ts"

/** The data of a response besides its body. */
export interface Meta extends ProtocolHeaders.ResponseMeta {
  /** The round-trip time in milliseconds, without the time in the queue, measured by the monotonic clock. */
  readonly rttMs: number
}

/** A response body with `meta`. */
export type WithMeta<A> = A & { readonly meta: Meta }

/** One call. */
export interface Call<A extends object> {
  readonly operation: Operation
  readonly method: "GET" | "POST"
  /** The encoded path and query, starting with `/v1`. */
  readonly path: string
  /** The error, if the call can't be sent. */
  readonly invalid?: InvalidRequest | undefined
  /** The JSON text of the request. */
  readonly body?: string | undefined
  /** The only success status. */
  readonly status: 200 | 201
  /** Parses the body of a success. Fails with the reason if the body is invalid. */
  readonly read: (text: string) => Result.Result<A, string>
  readonly auth: "apiKey" | "adminKey" | "none"
  readonly priority: Priority
  /** The deadline, including the time in the queue. Default: the configured timeout. */
  readonly timeoutMs?: number | undefined
  /** Details for errors and spans. */
  readonly about?: About | undefined
  /** Updated while the call is sent. */
  readonly progress?: Progress | undefined
  /** The span attributes of the response. */
  readonly describe?: ((response: A) => Readonly<Record<string, unknown>>) | undefined
}

/** The progress of a call. */
export interface Progress {
  /** Whether the request may have been sent. */
  hasLeft: boolean
}

/** Details of a call for errors and spans. */
export interface About {
  readonly reservationId?: string | undefined
  readonly action?: Action | undefined
  readonly requested?: Amount | undefined
  readonly scopes?: ReadonlyArray<string> | undefined
}
