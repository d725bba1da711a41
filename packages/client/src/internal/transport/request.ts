/** The HTTP request of a call: URL, headers with the key, and trace context. */
import type { TransportRequest } from "@effect-cycles/protocol/CyclesTransport"
import * as ProtocolHeaders from "@effect-cycles/protocol/Headers"
import * as Redacted from "effect/Redacted"
import type * as Tracer from "effect/Tracer"
import type { Call } from "./call.ts"
import type { Connection } from "./connection.ts"
import * as Span from "./span.ts"

/** Builds requests for one server and its keys. */
export interface Requests {
  readonly build: <A extends object>(call: Call<A>, span: Tracer.Span | undefined) => TransportRequest
  /** The URL of a call without its query, for errors. */
  readonly urlOf: <A extends object>(call: Call<A>) => string
}

/** Makes the builder. */
export const make = ({ adminKey, apiKey, baseUrl }: Connection): Requests => {
  const headers = {
    apiKey: withKey(ProtocolHeaders.API_KEY, apiKey),
    adminKey: withKey(ProtocolHeaders.ADMIN_KEY, adminKey ?? apiKey),
    none: common
  }
  return {
    build: (call, span) => {
      const fixed = headers[call.auth][call.method]
      const trace = span === undefined ? undefined : Span.traceparent(span)
      return {
        method: call.method,
        url: baseUrl + call.path,
        headers: trace === undefined ? fixed : { ...fixed, [ProtocolHeaders.TRACEPARENT]: trace },
        body: call.body,
        // The heartbeat itself retries an ambiguous extension. All other POST requests have an idempotency key.
        isRepeatable: call.operation !== "extend",
        maxResponseBytes
      }
    },
    urlOf: ({ path }) => {
      const query = path.indexOf("?")
      return baseUrl + (query < 0 ? path : path.slice(0, query))
    }
  }
}

/** Far more than any response of the protocol: a page of 200 reservations with metadata has 2 MiB. */
const maxResponseBytes = 16 * 1_048_576

interface Common {
  readonly GET: Readonly<Record<string, string>>
  readonly POST: Readonly<Record<string, string>>
}

const contentType = "application/json"

/** The headers of every request. Not every HTTP library derives the content type from the body. */
const common: Common = {
  GET: { accept: contentType },
  POST: { accept: contentType, "content-type": contentType }
}

const withKey = (name: string, key: Redacted.Redacted): Common => ({
  GET: { ...common.GET, [name]: Redacted.value(key) },
  POST: { ...common.POST, [name]: Redacted.value(key) }
})
