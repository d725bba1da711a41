import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import { CyclesTransport } from "effect-cycles"
import { suite } from "./suites/fetchSuite.ts"

const request: CyclesTransport.TransportRequest = {
  method: "GET",
  url: "https://cycles.example/v1/balances",
  headers: { accept: "application/json" },
  body: undefined,
  isRepeatable: true,
  maxResponseBytes: 10
}

const send = Effect.flatMap(CyclesTransport.CyclesTransport, (transport) => CyclesTransport.send(transport, request))

describe("CyclesTransport", () => {
  suite("layerHttpClient", Layer.provide(CyclesTransport.layerHttpClient, FetchHttpClient.layer))

  suite("layerFetch", CyclesTransport.layerFetch)

  describe("layerFetch", () => {
    const overFetch = (fetch: typeof globalThis.fetch) =>
      send.pipe(Effect.provide(CyclesTransport.layerFetch), Effect.provideService(FetchHttpClient.Fetch, fetch))

    it.effect("sends a GET without a body, and follows no redirect", () => {
      const sent: Array<RequestInit | undefined> = []
      return Effect.gen(function* () {
        const response = yield* overFetch((_url, init) => {
          sent.push(init)
          return Promise.resolve(new Response("{}", { headers: { "X-One": "1" } }))
        })
        expect(response).toMatchObject({ status: 200, body: "{}", attempts: 1, headers: { "x-one": "1" } })
        expect(sent).toMatchObject([{ method: "GET", body: null, redirect: "manual", headers: request.headers }])
      })
    })

    it.effect("doesn't read a body whose length exceeds the limit", () => {
      let isCancelled = false
      const body = new ReadableStream({
        pull: () => new Promise(() => {}),
        cancel: () => {
          isCancelled = true
        }
      })
      return Effect.gen(function* () {
        const headers = { "content-length": "11" }
        const failure = yield* Effect.flip(overFetch(() => Promise.resolve(new Response(body, { headers }))))
        expect(failure).toMatchObject({ kind: "tooLarge", mayHaveArrived: true })
        expect(isCancelled).toBe(true)
      })
    })

    it.effect("aborts the request when the call is interrupted", () => {
      const signals: Array<AbortSignal | null | undefined> = []
      return Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(
          overFetch((_url, init) => {
            signals.push(init?.signal)
            return new Promise(() => {})
          }),
          { startImmediately: true }
        )
        expect(signals.map((signal) => signal?.aborted)).toEqual([false])
        yield* Fiber.interrupt(fiber)
        expect(signals.map((signal) => signal?.aborted)).toEqual([true])
      })
    })

    it.effect("fails if fetch throws: the request may have arrived", () =>
      Effect.gen(function* () {
        const failure = yield* Effect.flip(
          overFetch(() => {
            throw new TypeError("fetch failed")
          })
        )
        expect(failure).toMatchObject({ kind: "unknown", mayHaveArrived: true })
      })
    )
  })
})
