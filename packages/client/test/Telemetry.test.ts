import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import { CyclesServer } from "@effect-cycles/server"
import { Cycles, CyclesTransport, SettlementJournal, Telemetry } from "effect-cycles"
import { action, live, tokens } from "./support/live.ts"

/** The spans that were opened. */
const recorder = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const layer = Layer.succeed(
    Tracer.Tracer,
    Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
  )
  return { spans, layer }
}

/** A client that records the requests it sends. */
const watched = (requests: Array<HttpClientRequest.HttpClientRequest>) =>
  Layer.unwrap(
    Effect.map(CyclesServer.CyclesServer, ({ apiKey, baseUrl, tenant }) =>
      Cycles.layer({ baseUrl, apiKey, subject: { tenant } })
    )
  ).pipe(
    Layer.provide(CyclesTransport.layerHttpClient),
    Layer.provide(
      Layer.effect(
        HttpClient.HttpClient,
        Effect.map(CyclesServer.CyclesServer, (server) =>
          HttpClient.mapRequest(CyclesServer.httpClient(server), (request) => {
            requests.push(request)
            return request
          })
        )
      )
    ),
    Layer.provide(CyclesServer.layerMemory({ budgets: [{ unit: "TOKENS", allocated: 1_000 }] })),
    Layer.provide(SettlementJournal.layerMemory)
  )

describe("Telemetry", () => {
  describe("metrics", () => {
    it("have exactly these names", () => {
      const ids = Object.values(Telemetry).flatMap((value) => (Metric.isMetric(value) ? [value.id] : []))
      expect(ids.toSorted()).toEqual([
        "cycles_calls_total",
        "cycles_heartbeats_total",
        "cycles_journal_errors_total",
        "cycles_journal_pending",
        "cycles_reservations_active",
        "cycles_reservations_total",
        "cycles_settlements_total",
        "cycles_shadow_denials_total",
        "cycles_shadow_unchecked_total",
        "cycles_shortfalls_total",
        "cycles_spend_unjournaled",
        "cycles_spend_unrecorded_total",
        "cycles_unreachable_allowed_total"
      ])
    })

    it.effect("count calls, decisions and settlements with a bounded set of labels and no user data", () =>
      Effect.gen(function* () {
        const guard = Cycles.withCycles({ action, estimate: tokens(10), subject: { agent: "planner" } })
        yield* guard(Effect.void)
        yield* Effect.exit(guard(Effect.fail("x")))
        yield* Effect.exit(Effect.void.pipe(Cycles.withCycles({ action, estimate: tokens(5_000) })))
        const counted = (yield* Metric.snapshot).flatMap((metric) =>
          metric.type === "Counter" && metric.id.startsWith("cycles_")
            ? [[metric.id, metric.attributes, Number(metric.state.count)] as const]
            : []
        )
        expect(counted.filter(([, , count]) => count > 0)).toEqual(
          expect.arrayContaining([
            ["cycles_calls_total", { operation: "reserve", outcome: "ok" }, 2],
            ["cycles_calls_total", { operation: "reserve", outcome: "BudgetExceeded" }, 1],
            ["cycles_calls_total", { operation: "commit", outcome: "ok" }, 1],
            ["cycles_calls_total", { operation: "release", outcome: "ok" }, 1],
            ["cycles_reservations_total", { decision: "ALLOW" }, 2],
            ["cycles_settlements_total", { outcome: "Committed" }, 1],
            ["cycles_settlements_total", { outcome: "Released" }, 1]
          ])
        )
        const labels = counted.flatMap(([, attributes]) => Object.keys(attributes ?? {}))
        expect(new Set(labels)).toEqual(new Set(["operation", "outcome", "decision"]))
      }).pipe(Effect.provide(live()), Effect.provideService(Metric.MetricRegistry, new Map()))
    )
  })

  it.effect("reports active reservations until their settlement has ended", () =>
    Effect.gen(function* () {
      const active = Effect.map(Metric.value(Telemetry.reservationsActive), ({ value }) => value)
      const before = yield* active
      const within = yield* active.pipe(Cycles.withCycles({ action, estimate: tokens(10) }))
      expect([before, within, yield* active]).toEqual([0, 1, 0])
    }).pipe(Effect.provide(live()), Effect.provideService(Metric.MetricRegistry, new Map()))
  )

  describe("spans", () => {
    it.effect("exist for each call, with its attributes", () => {
      const { layer, spans } = recorder()
      return Effect.gen(function* () {
        yield* Effect.void.pipe(
          Cycles.withCycles({ action, estimate: tokens(10), actual: () => tokens(4) }),
          Effect.withSpan("outer")
        )
        const [outer, reserve, commit] = spans
        expect(spans.map((span) => [span.name, span.kind])).toEqual([
          ["outer", "internal"],
          ["Cycles.reserve", "client"],
          ["Cycles.commit", "client"]
        ])
        expect(reserve && Option.getOrUndefined(reserve.parent)?.spanId).toBe(outer?.spanId)
        const id = reserve?.attributes.get("cycles.reservation_id")
        expect(id).toEqual(expect.any(String))
        expect(Object.fromEntries(reserve?.attributes ?? [])).toMatchObject({
          "cycles.action.kind": action.kind,
          "cycles.action.name": action.name,
          "cycles.amount": "10",
          "cycles.unit": "TOKENS",
          "cycles.decision": "ALLOW",
          "http.response.status_code": 200,
          "cycles.request_id": expect.any(String)
        })
        expect(Object.fromEntries(commit?.attributes ?? [])).toMatchObject({
          "cycles.reservation_id": id,
          "cycles.charged": "4"
        })
      }).pipe(Effect.provide(watched([]).pipe(Layer.provideMerge(layer))))
    })

    it.effect("are propagated only as traceparent, and not at all if tracing is off", () => {
      const { layer, spans } = recorder()
      const requests: Array<HttpClientRequest.HttpClientRequest> = []
      return Effect.gen(function* () {
        yield* Cycles.decide({ action, estimate: tokens(1) })
        const [span] = spans
        expect(requests[0]?.headers["traceparent"]).toBe(`00-${span?.traceId}-${span?.spanId}-01`)
        expect(requests[0]?.headers["b3"]).toBeUndefined()
        yield* Effect.provideService(Cycles.decide({ action, estimate: tokens(1) }), References.TracerEnabled, false)
        expect(requests[1]?.headers["traceparent"]).toBeUndefined()
        expect(spans).toHaveLength(1)
      }).pipe(Effect.provide(watched(requests).pipe(Layer.provideMerge(layer))))
    })
  })
})
