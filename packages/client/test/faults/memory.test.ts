/**
 * The memory of a long-lived scope after its reservations were settled.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { Reservation } from "effect-cycles"
import { Cycles } from "effect-cycles"
import { action, live, tokens } from "../support/live.ts"

const collectGarbage = (): void => {
  setFlagsFromString("--expose-gc")
  const gc: unknown = runInNewContext("gc")
  if (typeof gc === "function") gc()
}

const options = { action, estimate: tokens(100) }

const rich = { server: { budgets: [{ unit: "TOKENS", allocated: 100_000_000 }] } } as const

/** The number of references that are still alive after garbage collection. */
const alive = (refs: ReadonlyArray<WeakRef<object>>) =>
  Effect.gen(function* () {
    for (let turn = 0; turn < 5; turn++) {
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      yield* Effect.sync(collectGarbage)
    }
    return refs.filter((ref) => ref.deref() !== undefined).length
  })

const count = 200

/** The handles of reservations that are settled one after the other in one scope. */
const settleMany = (settle: (active: Reservation.Active<"TOKENS">) => Effect.Effect<unknown, unknown>) =>
  Effect.forEach(Array.from({ length: count }), () =>
    Effect.gen(function* () {
      const reservation = yield* Cycles.reserve(options)
      yield* settle(reservation)
      return new WeakRef<object>(reservation.balances)
    })
  )

describe("long-lived scope", () => {
  it.live("keeps nothing of reservations that were committed", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const refs = yield* settleMany((reservation) => reservation.commit({ actual: tokens(1) }))
        expect(yield* alive(refs)).toBeLessThan(count / 10)
      })
    ).pipe(Effect.provide(live({}, rich)))
  )

  it.live("keeps nothing of reservations that were released", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const refs = yield* settleMany((reservation) => reservation.release())
        expect(yield* alive(refs)).toBeLessThan(count / 10)
      })
    ).pipe(Effect.provide(live({}, rich)))
  )

  it.live("grows by less than 1 KB per settled reservation", () =>
    Effect.scoped(
      Effect.gen(function* () {
        // Bodies of the same size in separate scopes, to exclude the memory of the server.
        const run = (inScope: boolean) =>
          Effect.gen(function* () {
            const one = Effect.flatMap(Cycles.reserve(options), (_) => Effect.asVoid(_.commit({ actual: tokens(1) })))
            yield* Effect.sync(collectGarbage)
            const before = process.memoryUsage().heapUsed
            for (let i = 0; i < 1_000; i++) yield* inScope ? one : Effect.scoped(one)
            yield* Effect.sync(collectGarbage)
            return (process.memoryUsage().heapUsed - before) / 1_000
          })
        yield* run(false)
        const separate = yield* run(false)
        const together = yield* run(true)
        expect(together - separate).toBeLessThan(1_024)
      })
    ).pipe(Effect.provide(live({}, rich)))
  )
})
