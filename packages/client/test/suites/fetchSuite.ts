/**
 * The exchanges of a transport over `fetch`.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { CyclesTransport } from "effect-cycles"
import { listen, refusingUrl } from "../node/loopback.ts"

export const suite = (name: string, layer: Layer.Layer<CyclesTransport.CyclesTransport>): void => {
  const exchange = (url: string, maxResponseBytes = 1_000) =>
    Effect.flatMap(CyclesTransport.CyclesTransport, (transport) =>
      CyclesTransport.send(transport, {
        method: "POST",
        url,
        headers: { "content-type": "application/json" },
        body: "{}",
        isRepeatable: true,
        maxResponseBytes
      })
    ).pipe(Effect.provide(layer))

  describe(name, () => {
    it.live("responds", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => outgoing.writeHead(201, { "x-one": "1" }).end('{"a":"日本"}'))
        const response = yield* exchange(`${server.url}/a?b=1`)
        expect(response).toMatchObject({ status: 201, body: '{"a":"日本"}', attempts: 1 })
        expect(response.headers["x-one"]).toBe("1")
        expect(server.requests).toEqual(["POST /a?b=1"])
        expect(server.bodies).toEqual(["{}"])
      })
    )

    it.live.each([204, 307])("returns an empty body for %i, and follows no redirect", (status) =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => outgoing.writeHead(status, { location: "/elsewhere" }).end())
        expect(yield* exchange(server.url)).toMatchObject({ status, body: "" })
        expect(server.requests).toHaveLength(1)
      })
    )

    it.live("fails as refused if the server is down, since nothing was sent", () =>
      Effect.gen(function* () {
        expect(yield* Effect.flip(exchange(yield* refusingUrl))).toMatchObject({
          kind: "refused",
          mayHaveArrived: false,
          problem: "ECONNREFUSED"
        })
      })
    )

    it.live("abandons an endless response at the limit", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => {
          const more = (): void => void outgoing.write("x".repeat(400), () => outgoing.destroyed || more())
          more()
        })
        expect(yield* Effect.flip(exchange(server.url))).toMatchObject({ kind: "tooLarge", mayHaveArrived: true })
        yield* server.closed
      })
    )

    it.live("reports that the request may have arrived if the response breaks off", () =>
      Effect.gen(function* () {
        const server = yield* listen((outgoing) => {
          outgoing.writeHead(200, { "content-length": "100" })
          outgoing.write("{", () => outgoing.destroy())
        })
        expect(yield* Effect.flip(exchange(server.url))).toMatchObject({ mayHaveArrived: true })
      })
    )
  })
}
