/**
 * Counts the requests of a fleet of clients, with and without pools: `node packages/bench/src/bin/fleet.ts`. Prints the
 * rows of the table in `docs/scale.md`.
 *
 * Real clients run on the embedded server and on virtual time. Ten of them make two calls a second each for ten
 * minutes; a larger fleet sends as many times more, because its clients don't depend on each other.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as Cycles from "effect-cycles/Cycles"
import * as CyclesTransport from "effect-cycles/CyclesTransport"
import * as Pool from "effect-cycles/Pool"
import { layerMemory } from "effect-cycles/SettlementJournal"

const clients = 10

const seconds = 600

const estimate = Amount.credits(10)

const fleets = [10, 100, 1_000, 10_000]

/** The requests of all clients, by operation. */
interface Sent {
  reserve: number
  commit: number
  extend: number
}

/** Counts the requests that pass. */
const counting = (sent: Sent) =>
  Layer.effect(
    CyclesTransport.CyclesTransport,
    Effect.map(CyclesTransport.CyclesTransport, (inner) =>
      CyclesTransport.fromStart((request, context, done) => {
        const { pathname } = new URL(request.url)
        if (pathname.endsWith("/commit")) sent.commit += 1
        else if (pathname.endsWith("/extend")) sent.extend += 1
        else if (pathname.endsWith("/reservations")) sent.reserve += 1
        return inner.start(request, context, done)
      })
    )
  )

const server = CyclesServer.layerMemory({ budgets: [{ unit: "CREDITS", allocated: 1_000_000_000 }] })

const client = Layer.unwrap(
  Effect.map(CyclesServer.CyclesServer, ({ apiKey, baseUrl, tenant }) =>
    Cycles.layer({ baseUrl, apiKey, subject: { tenant } })
  )
).pipe(Layer.provide(layerMemory))

/** A call of 200 ms that costs half its estimate. */
const call = Effect.sleep(200).pipe(
  Cycles.withCycles({
    action: { kind: "tool.call", name: "search" },
    estimate,
    actual: Amount.credits(5)
  })
)

/** Two calls a second. */
const calls = Effect.forEach(
  Array.from({ length: seconds * 2 }, (_, i) => i),
  () => Effect.andThen(call, Effect.sleep(300)),
  { discard: true }
)

const pooled = (size: number) =>
  Effect.flatMap(Pool.make({ action: { kind: "tool.pool", name: "tools" }, size: Amount.credits(size * 10) }), (pool) =>
    Pool.within(calls, pool)
  ).pipe(Effect.scoped)

/** Runs all clients at the same time. Returns the number of their requests and the highest reserved amount. */
const simulate = (program: typeof calls) => {
  const sent: Sent = { reserve: 0, commit: 0, extend: 0 }
  return Effect.gen(function* () {
    const { books } = yield* CyclesServer.CyclesServer
    const fibers = yield* Effect.forEach(Array.from({ length: clients }), () => Effect.forkChild(program))
    let reserved = 0n
    for (let i = 0; i < seconds * 10; i++) {
      yield* TestClock.adjust(100)
      const book = yield* books("CREDITS")
      if (book.reserved > reserved) reserved = book.reserved
    }
    yield* TestClock.adjust("10 seconds")
    yield* Fiber.awaitAll(fibers)
    return { ...sent, reserved: Number(reserved) }
  }).pipe(
    Effect.provide(
      client.pipe(Layer.provideMerge(counting(sent)), Layer.provideMerge(server), Layer.provideMerge(TestClock.layer()))
    )
  )
}

const rows: ReadonlyArray<readonly [name: string, program: typeof calls]> = [
  ["no pool", calls],
  ["blocks of 50 calls", pooled(50)],
  ["blocks of 200 calls", pooled(200)],
  ["blocks of 1,000 calls", pooled(1_000)]
]

const main = Effect.gen(function* () {
  for (const [name, program] of rows) {
    const { commit, extend, reserve, reserved } = yield* simulate(program)
    for (const fleet of fleets) {
      const scale = fleet / clients
      const rate = (count: number): string => ((count * scale) / seconds).toFixed(1)
      console.log(
        `| ${name} | ${fleet} | ${rate(reserve)} | ${rate(commit)} | ${rate(extend)} | ${rate(reserve + commit + extend)} | ${reserved * scale} |`
      )
    }
  }
})

await Effect.runPromise(main)
