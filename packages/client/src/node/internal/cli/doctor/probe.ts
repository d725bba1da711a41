/**
 * Sends one request to the server, to check the address and the key. The request is `GET /v1/reservations?limit=1`: it
 * needs no tenant, and its response names the tenant of the key.
 */
import * as ProtocolHeaders from "@effect-cycles/protocol/Headers"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { TransportFailure, TransportResponse } from "../../../../CyclesTransport.ts"
import { CyclesTransport, send } from "../../../../CyclesTransport.ts"
import * as Json from "../../json.ts"
import type { Settings } from "../settings.ts"

/** The end of the request. */
export type Probe =
  | {
      readonly _tag: "Response"
      readonly status: number
      readonly headers: TransportResponse["headers"]
      readonly body: string
      readonly rttMs: number
      /** The local time in the middle of the exchange, in epoch milliseconds. */
      readonly atMs: number
      /** The error code of the protocol, if there is one. */
      readonly code: string | undefined
      readonly message: string | undefined
      /** The tenant of the key, if the response names it. */
      readonly tenant: string | undefined
      /** Whether a Cycles server may have sent the response. Not for a 404, since every Cycles server has the path. */
      readonly isCycles: boolean
    }
  | { readonly _tag: "Failure"; readonly failure: TransportFailure; readonly codes: ReadonlyArray<string> }
  | { readonly _tag: "Timeout" }

/** Sends the request to a base URL. */
export const run = ({ config, timeout }: Settings, baseUrl: string): Effect.Effect<Probe, never, CyclesTransport> =>
  Effect.gen(function* () {
    const transport = yield* CyclesTransport
    const startedAt = yield* Clock.currentTimeMillis
    const started = yield* Clock.monotonicTimeNanos
    const ended = yield* send(transport, {
      method: "GET",
      url: `${baseUrl}/v1/reservations?limit=1`,
      headers: { accept: "application/json", [ProtocolHeaders.API_KEY]: Redacted.value(config.apiKey) },
      body: undefined,
      isRepeatable: true,
      maxResponseBytes: 4 * 1_048_576
    }).pipe(Effect.result, Effect.timeoutOption(timeout))
    const rttMs = Number((yield* Clock.monotonicTimeNanos) - started) / 1_000_000
    if (Option.isNone(ended)) return { _tag: "Timeout" }
    if (ended.value._tag === "Failure") {
      const { failure } = ended.value
      return { _tag: "Failure", failure, codes: codesOf(failure.cause) }
    }
    const { body, headers, status } = ended.value.success
    const json = Json.parse(body)
    const code = textField(json, "error")
    const isList = status === 200 && Predicate.isObject(json) && "reservations" in json
    return {
      _tag: "Response",
      status,
      headers,
      body,
      rttMs,
      atMs: startedAt + rttMs / 2,
      code,
      message: textField(json, "message"),
      tenant: headers[ProtocolHeaders.TENANT] ?? tenantOfFirst(json),
      isCycles: isList || (status >= 400 && status !== 404 && /^[A-Z][A-Z_]*$/.test(code ?? ""))
    }
  })

/** The tenant of the first reservation in the list. The key sees only those of its tenant. */
const tenantOfFirst = (list: unknown): string | undefined => {
  const rows: unknown = Predicate.isObject(list) ? Reflect.get(list, "reservations") : undefined
  const first: unknown = Array.isArray(rows) ? rows[0] : undefined
  return Predicate.isObject(first) ? textField(Reflect.get(first, "subject"), "tenant") : undefined
}

const textField = (value: unknown, name: string): string | undefined => {
  const field: unknown = Predicate.isObject(value) ? Reflect.get(value, name) : undefined
  return typeof field === "string" ? field : undefined
}

/** The error codes in the chain of causes, outermost first. */
const codesOf = (error: unknown, depth = 0): ReadonlyArray<string> => {
  if (depth > 5 || !Predicate.isObject(error)) return []
  const code = textField(error, "code")
  const errors: unknown = Reflect.get(error, "errors")
  return [
    ...(code === undefined ? [] : [code]),
    ...codesOf(Reflect.get(error, "cause"), depth + 1),
    ...(Array.isArray(errors) ? errors.flatMap((one) => codesOf(one, depth + 1)) : [])
  ]
}
