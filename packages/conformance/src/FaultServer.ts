/**
 * The embedded server on the loopback interface, for clients in other processes, with the faults of
 * `@effect-cycles/testing`. It records every request.
 */
import type { Fault } from "@effect-cycles/testing/Fault"
import type { SentRequest, Target } from "@effect-cycles/testing/CyclesTest"
import * as CyclesTest from "@effect-cycles/testing/CyclesTest"
import { CyclesServer } from "@effect-cycles/server/CyclesServer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { CyclesTransport } from "effect-cycles/CyclesTransport"
import * as Loopback from "./internal/loopback.ts"
import * as WithQuirks from "./internal/quirks.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A request as it was received. */
export interface ReceivedRequest extends Pick<SentRequest, "operation" | "path"> {
  /** The idempotency key. */
  readonly key: string | undefined
  /** The API key. */
  readonly apiKey: string | undefined
  /** The JSON body; empty if there is none. */
  readonly json: Readonly<Record<string, unknown>>
  /** When it arrived, in milliseconds since 1970. */
  readonly atMs: number
}

/** A server with faults. */
export interface FaultServer {
  readonly url: string
  /** The embedded server behind the faults. */
  readonly server: CyclesServer
  /** Applies these faults to the next requests of an operation, one fault to each request. */
  readonly inject: (operation: Target, ...faults: ReadonlyArray<Fault>) => Effect.Effect<void>
  /** All requests so far. */
  readonly received: () => ReadonlyArray<ReceivedRequest>
  /** Waits until this many requests of an operation have arrived. */
  readonly arrived: (operation: Target, count?: number) => Effect.Effect<void>
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Starts a server on a free port, with the quirks of the reference server if `quirks` is given. */
export const make = (quirks?: WithQuirks.Quirks): Effect.Effect<FaultServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const context = yield* Layer.build(CyclesTest.layerServer({ budgets: [{ unit: "TOKENS", allocated: 1_000_000 }] }))
    const server = Context.get(context, CyclesServer)
    const test = Context.get(context, CyclesTest.CyclesTest)
    const transport = Context.get(context, CyclesTransport)
    const runSync = Effect.runSyncWith(context)
    const log: Array<ReceivedRequest> = []
    const waiting = new Set<() => void>()

    const handle: Loopback.Listener = (incoming, text, outgoing) => {
      const { headers, method, url } = Loopback.requestOf(incoming, text)
      const abandon = transport.start(
        {
          method: method === "POST" ? "POST" : "GET",
          url: `${server.baseUrl}${url}`,
          headers,
          body: text === "" ? undefined : text,
          isRepeatable: false,
          maxResponseBytes: Number.MAX_SAFE_INTEGER
        },
        () => context,
        (exit) => {
          if (Exit.isSuccess(exit)) outgoing.writeHead(exit.value.status, exit.value.headers).end(exit.value.body)
          else outgoing.destroy()
        }
      )
      outgoing.once("close", abandon)
      const sent = runSync(test.requests()).at(-1)
      log.push({
        operation: sent?.operation,
        path: url,
        key: sent?.idempotencyKey,
        apiKey: headers["x-cycles-api-key"],
        json: text === "" ? {} : JSON.parse(text),
        atMs: Date.now()
      })
      for (const wake of waiting) wake()
    }
    const around = quirks === undefined ? undefined : WithQuirks.make(handle, quirks)
    const url = yield* Loopback.listen(0, around?.listener ?? handle, around?.isServed)

    return {
      url,
      server,
      inject: test.inject,
      received: () => log,
      arrived: (operation, count = 1) =>
        Effect.callback<void>((resume) => {
          const check = () => {
            if (log.filter((one) => one.operation === operation).length < count) return
            waiting.delete(check)
            resume(Effect.void)
          }
          waiting.add(check)
          check()
          return Effect.sync(() => waiting.delete(check))
        })
    }
  })
