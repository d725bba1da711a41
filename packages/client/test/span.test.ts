import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Tracer from "effect/Tracer"
import { CyclesClient, CyclesTransport } from "effect-cycles"

/** The `traceparent` headers of a call to which `wrap` was applied. */
const traceparentOf = (wrap: <A, E>(call: Effect.Effect<A, E>) => Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const sent: Array<string | undefined> = []
    const transport = CyclesTransport.make((request) => {
      sent.push(request.headers["traceparent"])
      return Effect.succeed({ status: 200, headers: {}, body: '{"keys":[]}', attempts: 1 })
    })
    const client = yield* Effect.provideService(
      CyclesClient.make({ baseUrl: "http://cycles.local", apiKey: Redacted.make("key") }),
      CyclesTransport.CyclesTransport,
      transport
    )
    yield* Effect.exit(wrap(client.getJwks))
    return sent
  })

const traceparent = expect.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/)

describe("span", () => {
  it.effect("sends no traceparent without a tracer", () =>
    Effect.gen(function* () {
      expect(yield* traceparentOf((call) => call)).toEqual([undefined])
    })
  )

  it.effect("sends the traceparent of the tracer", () =>
    Effect.gen(function* () {
      const spans: Array<string> = []
      const tracer = Tracer.make({
        span: (options) => {
          spans.push(options.name)
          return new Tracer.NativeSpan(options)
        }
      })
      expect(yield* traceparentOf(Effect.provideService(Tracer.Tracer, tracer))).toEqual([traceparent])
      expect(spans).toEqual(["Cycles.getJwks"])
    })
  )

  it.effect("ends the span of a successful call without its response", () =>
    Effect.gen(function* () {
      const statuses: Array<Tracer.SpanStatus> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          const end = span.end.bind(span)
          span.end = (endTime, exit) => {
            end(endTime, exit)
            statuses.push(span.status)
          }
          return span
        }
      })
      yield* traceparentOf(Effect.provideService(Tracer.Tracer, tracer))
      expect(statuses).toEqual([expect.objectContaining({ _tag: "Ended", exit: Exit.void })])
    })
  )

  it.effect("sends the trace of the call's parent span", () =>
    Effect.gen(function* () {
      expect(yield* traceparentOf(Effect.withSpan("outer"))).toEqual([traceparent])
    })
  )
})
