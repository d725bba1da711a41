/** Responses over real sockets: any bytes, any framing and any pace, to every operation, over each transport. */
import { AssertionError } from "node:assert"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { CyclesClient, layer as layerClient } from "effect-cycles/CyclesClient"
import { isCyclesError } from "effect-cycles/CyclesError"
import * as CyclesTransport from "effect-cycles/CyclesTransport"
import * as NodeTransport from "effect-cycles/node/NodeTransport"
import type { Area } from "./area.ts"
import * as HostileServer from "./hostileServer.ts"
import type { Message } from "./messages.ts"
import { messages } from "./messages.ts"
import { adminKey, apiKey, Case, planOf, valid } from "./responseCases.ts"
import { expectationOf, limitCases } from "./responseLimits.ts"
import * as Watch from "./watch.ts"

const timeoutMs = 300

/** Responses that are cut by their size, not by the time, must end long before it. */
const largeTimeoutMs = 120_000

/** The area. */
export const responses: Area<Case> = {
  name: "responses",
  weight: 5,
  concurrency: 1,
  cases: Arbitrary.schema(Case),
  always: limitCases,
  start: (scan) =>
    Effect.gen(function* () {
      scan.hide(apiKey)
      scan.hide(adminKey)
      const server = yield* HostileServer.make
      const client = (timeoutMs: number) => (transport: Layer.Layer<CyclesTransport.CyclesTransport>) =>
        Effect.map(
          Layer.build(
            Layer.provide(
              layerClient({
                baseUrl: server.url,
                apiKey: Redacted.make(apiKey),
                adminKey: Redacted.make(adminKey),
                timeout: timeoutMs
              }),
              transport
            )
          ),
          (context) => Context.get(context, CyclesClient)
        )
      const clientsWith = (timeoutMs: number) =>
        Effect.all({
          undici: client(timeoutMs)(NodeTransport.layer()),
          fetch: client(timeoutMs)(CyclesTransport.layerFetch),
          HttpClient: client(timeoutMs)(Layer.provide(CyclesTransport.layerHttpClient, FetchHttpClient.layer))
        })
      const quick = yield* clientsWith(timeoutMs)
      // A body that is too large must be refused because of its size, not because of its duration.
      const patient = yield* clientsWith(largeTimeoutMs)
      return (value) => {
        const message: Message = messages[value.operation]
        const expectation = expectationOf(value)
        const client = (expectation === undefined ? quick : patient)[value.transport]
        const call = Effect.suspend(() => {
          server.respond((request) => planOf(value, message, request))
          return Effect.exit(message.call(client))
        })
        const good = Effect.suspend(() => {
          server.respond(() => valid(messages.decide))
          const elapsed = Watch.stopwatch()
          // On a loaded machine a good response may be too late as well.
          return Effect.exit(
            Effect.retry(messages.decide.call(client), { while: () => elapsed() < recoveryMs, times: 1_000 })
          )
        })
        return Watch.within(
          limits,
          Effect.gen(function* () {
            const elapsed = Watch.stopwatch()
            const processor = Watch.processorTime()
            const exit = yield* scan.watch(call)
            const tookMs = elapsed()
            const busyMs = processor()
            const accepted = server.accepted()
            scan.see("error", exit)
            const pages = value.operation.startsWith("stream") ? maxPages : 1
            const after = yield* good
            return [
              ...violationsOf(exit),
              ...(expectation === undefined ? [] : expectation(exit)),
              ...(accepted > maxAcceptedBytes ? [`${accepted} bytes of a response were accepted`] : []),
              ...(tookMs > timeoutMs * pages + marginMs ? [`the call took ${tookMs} ms`] : []),
              ...(busyMs > maxBusyMs ? [`the call used ${Math.round(busyMs)} ms of a processor`] : []),
              ...(Exit.isSuccess(after) ? [] : [`the next call failed: ${Cause.pretty(after.cause)}`])
            ]
          }),
          { exception: value.transport === "undici" ? () => false : isDefectOfFetch }
        )
      }
    })
}

/**
 * Whether an exception is a defect of the `fetch` of Node 24.21 (undici 7.29): it throws outside of every promise if the
 * server ends a connection while a body waits to be read (https://github.com/nodejs/undici/issues/5360). No caller of
 * `fetch` can prevent that, and whether it happens depends on the load of the machine.
 */
const isDefectOfFetch = (error: unknown): boolean =>
  error instanceof AssertionError &&
  /at Parser\.finish \(node:internal\/deps\/undici\/undici:\d+:\d+\)\s+at Socket\.onHttpSocketEnd /.test(
    error.stack ?? ""
  )

/** The requests that one stream may send, for at most 20 rows. */
const maxPages = 21

/** The time of the event loop beyond the timeout. Reading 16 MiB takes part of it. */
const marginMs = 5_000

/** The processor time of a call and of the server that runs in the same process. */
const maxBusyMs = 10_000

/** The time of the event loop after which a good response must be accepted. */
const recoveryMs = 10_000

/** The limit of a response, 16 MiB, and what sockets and streams buffer on the way. */
const maxAcceptedBytes = 48 * 1_048_576

const limits: Watch.Limits = { timeMs: timeoutMs * maxPages + 2 * marginMs + recoveryMs, bytes: 300 * 1_048_576 }

/** Only typed errors end a call. */
export const violationsOf = (exit: Exit.Exit<unknown, unknown>): ReadonlyArray<string> => {
  if (Exit.isSuccess(exit)) return []
  const isTyped = exit.cause.reasons.every((reason) => reason._tag === "Fail" && isCyclesError(reason.error))
  return isTyped ? [] : [`not a typed error: ${Cause.pretty(exit.cause)}`]
}
