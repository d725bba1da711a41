/**
 * A scripted server on the loopback interface. It loses requests and responses, delays them, refuses them, and logs every
 * request. It has no ledger; a settlement counts once for each key.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as WithQuirks from "./internal/quirks.ts"
import * as Loopback from "./internal/loopback.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The reaction to one request. */
export type Reaction =
  | "ok"
  /** Acts on the request, and closes the connection without an handle. */
  | "lose"
  /** Never responds. */
  | "hold"
  | { readonly status: number; readonly body?: string; readonly headers?: Readonly<Record<string, string>> }

/** A request as it was received. */
export interface Seen {
  readonly operation: string
  readonly id: string | undefined
  readonly key: string | undefined
  readonly apiKey: string | undefined
  readonly body: Readonly<Record<string, unknown>>
  readonly atMs: number
}

/** A scripted server. */
export interface FaultServer {
  readonly url: string
  /** The next requests of an operation get these reactions, one each. Later requests succeed. */
  readonly script: (operation: string, ...reactions: ReadonlyArray<Reaction>) => void
  /** All requests so far. */
  readonly seen: () => ReadonlyArray<Seen>
  /** The keys of the settlements that were applied, each once. */
  readonly settlements: () => ReadonlyArray<string>
  /** Waits until this many requests of an operation have arrived. */
  readonly arrived: (operation: string, count?: number) => Effect.Effect<void>
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Starts a server on a free port, with the quirks of the reference server if `quirks` is given. */
export const make = (quirks?: WithQuirks.Quirks): Effect.Effect<FaultServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scripts = new Map<string, Array<Reaction>>()
    const seen: Array<Seen> = []
    const settlements = new Set<string>()
    const waiting = new Set<() => void>()
    let reservations = 0

    const success = (operation: string, id: string | undefined): { readonly status: number; readonly body: object } => {
      const amount = { unit: "TOKENS", amount: 42 }
      switch (operation) {
        case "reserve":
          reservations += 1
          return {
            status: 200,
            body: {
              decision: "ALLOW",
              reservation_id: `rsv-${process.pid}-${reservations}`,
              affected_scopes: ["tenant:acme"],
              expires_at_ms: Date.now() + 60_000,
              remaining_ttl_ms: 60_000
            }
          }
        case "commit":
          return { status: 200, body: { status: "COMMITTED", charged: amount } }
        case "release":
          return { status: 200, body: { status: "RELEASED", released: amount } }
        case "extend":
          return {
            status: 200,
            body: { status: "ACTIVE", expires_at_ms: Date.now() + 60_000, remaining_ttl_ms: 60_000 }
          }
        case "event":
          return { status: 201, body: { status: "APPLIED", event_id: `evt-${id ?? seen.length}` } }
        default:
          return { status: 404, body: { error: "NOT_FOUND", message: "no such path", request_id: "r" } }
      }
    }

    const handle: Loopback.Listener = (incoming, text, outgoing) => {
      const [, , resource, id, action] = (incoming.url ?? "").split("?")[0]?.split("/") ?? []
      const operation =
        action ??
        (resource === "reservations"
          ? id === undefined
            ? "reserve"
            : "get"
          : resource === "events"
            ? "event"
            : "other")
      const body: Readonly<Record<string, unknown>> = text === "" ? {} : JSON.parse(text)
      const key = typeof body["idempotency_key"] === "string" ? body["idempotency_key"] : undefined
      const apiKey = incoming.headers["x-cycles-api-key"]
      seen.push({
        operation,
        id,
        key,
        apiKey: typeof apiKey === "string" ? apiKey : undefined,
        body,
        atMs: Date.now()
      })
      const reaction = scripts.get(operation)?.shift() ?? "ok"
      const applied = success(operation, id)
      if (reaction === "ok" || reaction === "lose") {
        if ((operation === "commit" || operation === "event") && key !== undefined)
          settlements.add(`${id ?? ""} ${key}`)
      }
      if (reaction === "lose") outgoing.destroy()
      else if (reaction === "ok") {
        outgoing.writeHead(applied.status, { "content-type": "application/json" }).end(JSON.stringify(applied.body))
      } else if (reaction !== "hold") {
        outgoing
          .writeHead(reaction.status, { "content-type": "application/json", ...reaction.headers })
          .end(reaction.body ?? "")
      }
      for (const wake of waiting) wake()
    }
    const around = quirks === undefined ? undefined : WithQuirks.make(handle, quirks)
    const url = yield* Loopback.listen(0, around?.listener ?? handle, around?.isServed)

    return {
      url,
      script: (operation, ...reactions) => void scripts.set(operation, [...reactions]),
      seen: () => seen,
      settlements: () => Array.from(settlements),
      arrived: (operation, count = 1) =>
        Effect.callback<void>((resume) => {
          const check = () => {
            if (seen.filter((one) => one.operation === operation).length < count) return
            waiting.delete(check)
            resume(Effect.void)
          }
          waiting.add(check)
          check()
          return Effect.sync(() => waiting.delete(check))
        })
    }
  })

/** An error response of the protocol. */
export const refuse = (status: number, code: string, headers?: Readonly<Record<string, string>>): Reaction => ({
  status,
  body: JSON.stringify({ error: code, message: code, request_id: "r" }),
  ...(headers === undefined ? undefined : { headers })
})
