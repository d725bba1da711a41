/**
 * The client over real connections, on a server with the quirks of the reference server.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Settlement } from "effect-cycles"
import { Amount, Cycles, CyclesClient, SettlementJournal } from "effect-cycles"
import { NodeCycles } from "effect-cycles/node"
import * as Http from "node:http"
import * as QuirkServer from "../src/QuirkServer.ts"

const tokens = Amount.tokens

const action = { kind: "llm.completion", name: "openai:gpt-5" }

/** A server with enough tokens, and the given quirks. */
const serve = (options?: QuirkServer.Options) =>
  QuirkServer.make({ budgets: [{ unit: "TOKENS", allocated: 1_000_000 }], ...options })

/** The client of a user on Node, with the default time limits. */
const clientOf = ({ server, url }: QuirkServer.QuirkServer) =>
  NodeCycles.layer(
    { baseUrl: url, apiKey: server.apiKey, subject: { tenant: server.tenant } },
    { journal: SettlementJournal.layerMemory }
  )

/** Runs one guarded call that spends `spent`. */
const guardedCall = (spent: number) =>
  Effect.gen(function* () {
    const settled = yield* Deferred.make<Settlement.Settlement>()
    yield* Effect.succeed(spent).pipe(
      Cycles.withCycles({
        action,
        estimate: tokens(100),
        actual: (spent) => tokens(spent),
        onSettled: (settlement) => Deferred.succeed(settled, settlement)
      })
    )
    return yield* Deferred.await(settled)
  })

const tags = (settlements: ReadonlyArray<Settlement.Settlement>) => new Set(settlements.map(({ _tag }) => _tag))

/** Asserts that nothing is reserved, and that `spent` was charged. */
const booksAre = ({ server }: QuirkServer.QuirkServer, spent: number) =>
  Effect.gen(function* () {
    yield* server.assertNoneActive
    expect(yield* server.books("TOKENS")).toMatchObject({ spent: BigInt(spent), reserved: 0n })
  })

/** The GET requests that were sent. */
const readsOf = ({ counts }: QuirkServer.QuirkServer) =>
  Array.from(counts().requests.keys()).filter((operation) => operation.startsWith("GET"))

const scoped = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.scoped(effect)

/** One GET over a connection of an agent. */
const get = (agent: Http.Agent, url: string, key: string) =>
  Effect.callback<{ readonly headers: Http.IncomingHttpHeaders; readonly status: number | undefined }, Error>(
    (resume) => {
      Http.get(url, { agent, headers: { "x-cycles-api-key": key, accept: "application/json" } }, (response) => {
        response.resume()
        response.once("end", () => resume(Effect.succeed({ headers: response.headers, status: response.statusCode })))
      }).once("error", (error) => resume(Effect.fail(error)))
    }
  )

const agentOf = (maxSockets: number) =>
  Effect.acquireRelease(
    Effect.sync(() => new Http.Agent({ keepAlive: true, maxSockets })),
    (agent) => Effect.sync(() => agent.destroy())
  )

describe("QuirkServer", () => {
  it.live("sends chunked responses without a length, and headers for no rate limit", () =>
    scoped(
      Effect.gen(function* () {
        const { server, url } = yield* serve({ keyCheckMs: 0 })
        const { headers, status } = yield* get(
          yield* agentOf(1),
          `${url}/v1/reservations/none`,
          Redacted.value(server.apiKey)
        )
        expect(status).toBe(404)
        expect(headers["content-length"]).toBeUndefined()
        expect(headers["transfer-encoding"]).toBe("chunked")
        expect([headers["x-ratelimit-remaining"], headers["x-ratelimit-reset"]]).toEqual(["-1", "0"])
      })
    )
  )

  it.live("shares the CPU of concurrent key checks, and caches a checked key for a while", () =>
    scoped(
      Effect.gen(function* () {
        const { counts, forgetKeys, server, url } = yield* serve({ keyCheckMs: 40, cores: 2 })
        const agent = yield* agentOf(8)
        const key = Redacted.value(server.apiKey)
        const timed = (count: number) =>
          Effect.gen(function* () {
            const startedAt = performance.now()
            yield* Effect.forEach(Array.from({ length: count }), () => get(agent, `${url}/v1/reservations/none`, key), {
              concurrency: "unbounded"
            })
            return performance.now() - startedAt
          })
        // Eight checks of 40 ms on two cores: none ends before 160 ms.
        expect(yield* timed(8)).toBeGreaterThan(150)
        expect(counts().keyChecks).toBe(8)
        yield* timed(8)
        expect(counts().keyChecks).toBe(8)
        forgetKeys()
        yield* timed(1)
        expect(counts().keyChecks).toBe(9)
      })
    )
  )

  it.live("closes a connection after its last request, announced or abruptly", () =>
    scoped(
      Effect.gen(function* () {
        const announced = yield* serve({ keyCheckMs: 0, requestsPerConnection: 3 })
        const agent = yield* agentOf(1)
        const getFrom = (server: QuirkServer.QuirkServer) =>
          get(agent, `${server.url}/v1/reservations/none`, Redacted.value(server.server.apiKey))
        const connections: Array<string | undefined> = []
        for (let i = 0; i < 4; i++) connections.push((yield* getFrom(announced)).headers.connection)
        expect(connections).toEqual(["keep-alive", "keep-alive", "close", "keep-alive"])
        expect(announced.counts()).toMatchObject({ connections: 2, cut: 0 })

        const abrupt = yield* serve({ keyCheckMs: 0, requestsPerConnection: 3, closing: "abrupt" })
        for (let i = 0; i < 3; i++) yield* getFrom(abrupt)
        expect(yield* Effect.flip(getFrom(abrupt))).toMatchObject({ code: "ECONNRESET" })
        expect(abrupt.counts()).toMatchObject({ connections: 1, cut: 1 })
      })
    )
  )

  it.live("reads balances and lists slowly", () =>
    scoped(
      Effect.gen(function* () {
        const served = yield* serve({ keyCheckMs: 0, slowReadMs: 120 })
        const startedAt = performance.now()
        yield* Effect.provide(Stream.runDrain(Cycles.balances()), clientOf(served))
        expect(performance.now() - startedAt).toBeGreaterThan(115)
        yield* Effect.provide(
          Effect.flatMap(CyclesClient.CyclesClient, (client) => client.listReservations()),
          clientOf(served)
        )
        expect(performance.now() - startedAt).toBeGreaterThan(230)
        expect(readsOf(served)).toEqual(["GET /v1/balances", "GET /v1/reservations"])
      })
    )
  )
})

describe("client on a server with the quirks of the reference server", () => {
  it.live(
    "settles 64 concurrent calls after an idle period with a single key check",
    () =>
      scoped(
        Effect.gen(function* () {
          const served = yield* serve()
          const settlements = yield* Effect.forEach(Array.from({ length: 64 }), (_, i) => guardedCall(i), {
            concurrency: "unbounded"
          }).pipe(Effect.provide(clientOf(served)))
          expect(tags(settlements)).toEqual(new Set(["Committed"]))
          expect(served.counts().keyChecks).toBe(1)
          yield* booksAre(served, 2_016)
          expect(readsOf(served)).toEqual([])
        })
      ),
    20_000
  )

  it.live(
    "settles all calls within the default timeouts while a key check slows them down",
    () =>
      scoped(
        Effect.gen(function* () {
          const served = yield* serve()
          const settlements = yield* Effect.gen(function* () {
            const first = yield* guardedCall(1)
            served.forgetKeys()
            const rest = yield* Effect.forEach(Array.from({ length: 64 }), () => guardedCall(1), {
              concurrency: "unbounded"
            })
            return [first, ...rest]
          }).pipe(Effect.provide(clientOf(served)))
          expect(tags(settlements)).toEqual(new Set(["Committed"]))
          // Only calls in flight have waited: of 64 slots, leases and settlements have four guaranteed ones each.
          expect(served.counts().keyChecks).toBe(1 + 56)
          yield* booksAre(served, 65)
        })
      ),
    40_000
  )

  it.live.each(["announced", "abrupt"] as const)(
    "settles 500 calls, each charged once, across connections with an %s end",
    (closing) =>
      scoped(
        Effect.gen(function* () {
          const served = yield* serve({ closing, requestsPerConnection: 10 })
          const settlements = yield* Effect.forEach(Array.from({ length: 500 }), (_, i) => guardedCall(i % 100), {
            concurrency: 8
          }).pipe(Effect.provide(clientOf(served)))
          expect(tags(settlements)).toEqual(new Set(["Committed"]))
          yield* booksAre(served, 24_750)
          expect(served.counts().connections).toBeGreaterThan(8)
          expect(served.counts().cut > 0).toBe(closing === "abrupt")
          expect(readsOf(served)).toEqual([])
        })
      ),
    40_000
  )
})
