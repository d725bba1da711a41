/**
 * Runs one row of the benchmark of leases in a separate process: `leases.ts ROW [URL KEY]`.
 *
 * - `fiber`: fibers that wait, without a guard.
 * - `client`: guarded calls that wait, over a transport without HTTP.
 * - `http`: the same over the Node transport.
 * - `requests`: sends as many requests as the leases need, by `Pool.request` of undici.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Cycles from "effect-cycles/Cycles"
import * as NodeCycles from "effect-cycles/node/NodeCycles"
import { layerNone } from "effect-cycles/SettlementJournal"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Pool } from "undici"
import * as Canned from "./canned.ts"
import * as Child from "./child.ts"
import * as Plain from "./plain.ts"

const [, , row = "", url = "", apiKey = ""] = process.argv

/** A lease of 60 s is extended about every 30 s. */
const msPerExtension = 30_000

setFlagsFromString("--expose-gc")
const gc: unknown = runInNewContext("gc")

const heapAfterGc = async (): Promise<number> => {
  if (typeof gc !== "function") throw new Error("there is no garbage collector to call")
  for (let i = 0; i < 3; i += 1) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    gc()
  }
  return process.memoryUsage().heapUsed
}

const config = {
  baseUrl: url === "" ? "http://127.0.0.1:1" : url,
  apiKey: Redacted.make(apiKey === "" ? "cyc_live_bench" : apiKey),
  subject: { tenant: Plain.tenant }
}

const client =
  row === "http"
    ? NodeCycles.layer(config, { journal: layerNone })
    : Cycles.layer(config).pipe(Layer.provide([Canned.transport, layerNone]))

/** On an overloaded machine, extensions time out. Logging each of them would be most of the load. */
const layer = Layer.provideMerge(client, Layer.succeed(References.MinimumLogLevel, "Error"))

const waiting = (started: () => void): Effect.Effect<never, unknown, Cycles.Cycles> => {
  const wait = Effect.andThen(Effect.sync(started), Effect.never)
  return row === "fiber"
    ? wait
    : Cycles.withCycles(wait, { action: Plain.action, estimate: Amount.tokens(1000), ttl: 60_000 })
}

/** The fibers that wait, because nothing else refers to one without a guard. */
const fibers: Array<Fiber.Fiber<unknown, unknown>> = []

/**
 * Starts calls evenly over a time, with at most 64 reserves at once, and returns when all of them wait. Leases that
 * begin together are also extended together.
 */
const startLeases = (leases: number, overMs: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const runtime = ManagedRuntime.make(layer)
    const startedAt = performance.now()
    let begun = 0
    let running = 0
    // Not an observer of each fiber, which would be counted as memory of the call.
    const watch = setInterval(() => {
      if (fibers.some((fiber) => fiber.pollUnsafe() !== undefined)) reject(new Error("a waiting call ended"))
    }, 1_000)
    const onStarted = (): void => {
      running += 1
      if (running === leases) {
        clearInterval(watch)
        resolve()
      }
      // Not in this call, because a fiber without a guard starts at once.
      setImmediate(next)
    }
    const next = (): void => {
      if (begun === leases) return
      if (begun * overMs > (performance.now() - startedAt) * leases) return void setTimeout(next, 5)
      begun += 1
      fibers.push(runtime.runFork(waiting(onStarted)))
    }
    runtime.runPromise(Effect.void).then(() => {
      for (let i = 0; i < 64; i += 1) next()
    }, reject)
  })

/** Sends requests at the rate of the extensions, spread evenly. */
const startRequests = (leases: number): void => {
  const pool = new Pool(url, { connections: 64, pipelining: 1 })
  const headers = { accept: "application/json", "content-type": "application/json", "x-cycles-api-key": apiKey }
  const send = async (): Promise<void> => {
    const { body } = await pool.request({
      path: "/v1/reservations/0191-4d2f/extend",
      method: "POST",
      headers,
      body: JSON.stringify({ idempotency_key: crypto.randomUUID(), extend_by_ms: 60_000 })
    })
    JSON.parse(await body.text())
  }
  const startedAt = performance.now()
  let sent = 0
  setInterval(() => {
    const due = Math.floor(((performance.now() - startedAt) * leases) / msPerExtension)
    for (; sent < due; sent += 1) void send()
  }, 2)
}

const Request = Schema.Union([
  Schema.Struct({ _tag: Schema.Literal("start"), leases: Schema.Finite, overMs: Schema.Finite }),
  Schema.Struct({ _tag: Schema.Literal("usage") })
])

Child.serve(Request, async (request) => {
  if (request._tag === "usage") return Child.usage()
  if (row === "requests") {
    startRequests(request.leases)
    return { heapBytes: 0 }
  }
  // The first calls load and compile the code.
  await startLeases(Math.min(1_000, request.leases), 0)
  const before = await heapAfterGc()
  await startLeases(request.leases, request.overMs)
  return { heapBytes: (await heapAfterGc()) - before }
})
