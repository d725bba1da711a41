/**
 * What an error leaves open about a request that asks the server to act.
 */
import type { CyclesError } from "../../CyclesError.ts"

/** Whether the server may have acted on the request, or may do so when it is sent again. */
export const isAmbiguous = (error: CyclesError): boolean =>
  error._tag === "TransportError" ||
  error._tag === "ProtocolError" ||
  (error._tag === "ApiError" && error.status >= 500)

/** Whether the request may have reached the server. */
export const mayHaveArrived = (error: CyclesError): boolean => error._tag !== "TransportError" || error.mayHaveArrived

/**
 * Whether the server has said, in a code, that it did nothing under this key. Who asks, and how often, is checked before
 * the key is looked at, and a page of something in between has no code: neither says anything of an earlier attempt.
 */
export const isRefusal = (error: CyclesError): boolean =>
  error._tag === "BudgetExceeded" ||
  error._tag === "InvalidRequest" ||
  (error._tag === "ApiError" && error.code !== undefined && error.status < 500 && !asker.has(error.status))

const asker: ReadonlySet<number> = new Set([401, 403, 429])
