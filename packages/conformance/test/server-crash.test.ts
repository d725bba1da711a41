/**
 * The embedded server on a data file is killed repeatedly under load. The ledger contains every acknowledged request; an
 * unacknowledged one can be repeated and is applied once.
 */
import { describe, expect, it } from "@effect/vitest"
import type { Balance } from "@effect-cycles/protocol/Balance"
import type { ReservationSummary } from "@effect-cycles/protocol/Reservation"
import { IdempotencyKey } from "@effect-cycles/protocol/Identifiers"
import * as Amount from "@effect-cycles/protocol/Amount"
import * as CyclesClient from "effect-cycles/CyclesClient"
import * as CyclesTransport from "effect-cycles/CyclesTransport"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { join } from "node:path"
import * as AdminPlane from "../src/internal/adminPlane.ts"
import { generator } from "../src/internal/generator.ts"
import { serve } from "../src/internal/serverProcess.ts"
import { temporaryFolder } from "../src/internal/temporaryFolder.ts"

/** How often the server is killed: `CYCLES_CRASH_KILLS`, 24 if it isn't set. */
const kills = Number(process.env["CYCLES_CRASH_KILLS"] ?? 24)
const seed = Number(process.env["CYCLES_CRASH_SEED"] ?? 20_261_123)

/** A request of the client as it was sent, and its response if there was one. */
interface Sent {
  readonly path: string
  readonly body: string
  response: { readonly status: number; readonly text: string } | undefined
}

/** Removes the fields of a repeated response that depend on the time. */
const timeless = (text: string): string => text.replace(/"remaining_ttl_ms":\d+/, "")

/** A client that logs every POST before it is sent, and its response as soon as it arrives. */
const recording = (baseUrl: string, apiKey: Redacted.Redacted, log: Array<Sent>) =>
  Effect.gen(function* () {
    const inner = yield* CyclesTransport.CyclesTransport
    const transport = CyclesTransport.make((request) => {
      const response = CyclesTransport.send(inner, request)
      if (request.body === undefined) return response
      const sent: Sent = { path: new URL(request.url).pathname, body: request.body, response: undefined }
      log.push(sent)
      return Effect.tap(response, ({ body, status }) =>
        Effect.sync(() => {
          sent.response = { status, text: body }
        })
      )
    })
    return yield* Effect.provideService(
      CyclesClient.make({ baseUrl, apiKey }),
      CyclesTransport.CyclesTransport,
      transport
    )
  }).pipe(Effect.provide(Layer.provide(CyclesTransport.layerHttpClient, FetchHttpClient.layer)))

const action = { kind: "crash", name: "n" }

/** Sends requests until the server is killed: reservations with every kind of end, and events. */
const worker = (client: CyclesClient.CyclesClient, name: string, random: (below: number) => number) =>
  Effect.gen(function* () {
    for (let i = 0; ; i++) {
      const key = IdempotencyKey.make(`${name}-${i}`)
      const subject = { tenant: "acme", ...(random(2) === 0 ? { agent: "a" } : undefined) }
      if (random(5) === 0) {
        yield* client.event({ idempotencyKey: key, subject, action, actual: Amount.tokens(1 + random(9)) })
        continue
      }
      // One of four reservations expires.
      const isLeft = random(4) === 0
      const { reservationId } = yield* client.reserve({
        idempotencyKey: key,
        subject,
        action,
        estimate: Amount.tokens(1 + random(50)),
        ...(isLeft ? { ttlMs: 1_000, gracePeriodMs: 0 } : { ttlMs: 600_000 })
      })
      if (isLeft || reservationId === undefined) continue
      if (random(3) === 0)
        yield* client.extend(reservationId, { idempotencyKey: IdempotencyKey.make(`${key}-x`), extendByMs: 1_000 })
      const end = random(4)
      if (end === 0) yield* client.release(reservationId, { idempotencyKey: IdempotencyKey.make(`${key}-r`) })
      // The actual amount may exceed the reserved amount.
      else if (end < 3)
        yield* client.commit(reservationId, {
          idempotencyKey: IdempotencyKey.make(`${key}-c`),
          actual: Amount.tokens(random(60))
        })
    }
  })

/** Sends a request again, byte for byte. */
const again = (url: string, apiKey: Redacted.Redacted, sent: Sent) =>
  Effect.promise(async () => {
    const response = await fetch(url + sent.path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-cycles-api-key": Redacted.value(apiKey) },
      body: sent.body
    })
    return { status: response.status, text: await response.text() }
  })

const amountOf = (text: string, name: string): number | undefined => Object(JSON.parse(text))[name]?.amount

/** The charged amounts of the tenant and the agent, from the responses. */
const charges = (log: ReadonlyArray<Sent>, rows: ReadonlyArray<ReservationSummary>) => {
  const scopes = new Map(rows.map((row) => [String(row.reservationId), row.affectedScopes]))
  const total = { "tenant:acme": 0, "tenant:acme/agent:a": 0 }
  for (const { response, body, path } of log) {
    if (response === undefined || response.status >= 300) continue
    const [, , , id = "", what] = path.split("/")
    const isEvent = path === "/v1/events"
    if (!isEvent && what !== "commit") continue
    const charged = amountOf(response.text, "charged") ?? amountOf(body, "actual") ?? Number.NaN
    const isAgent = isEvent ? body.includes('"agent"') : scopes.get(id)?.includes("tenant:acme/agent:a") === true
    total["tenant:acme"] += charged
    if (isAgent) total["tenant:acme/agent:a"] += charged
  }
  return total
}

const number = (amount: { readonly amount: bigint } | undefined): number => Number(amount?.amount ?? 0n)

const checkBooks = (balance: Balance, rows: ReadonlyArray<ReservationSummary>, charged: number): void => {
  const held = rows
    .filter((row) => row.status === "ACTIVE" && row.affectedScopes.includes(balance.scopePath))
    .reduce((sum, row) => sum + number(row.reserved), 0)
  const [allocated, spent, reserved, debt] = [balance.allocated, balance.spent, balance.reserved, balance.debt].map(
    number
  )
  expect([balance.scopePath, reserved, spent]).toEqual([balance.scopePath, held, charged])
  expect(number(balance.remaining)).toBe((allocated ?? 0) - (spent ?? 0) - (reserved ?? 0) - (debt ?? 0))
}

describe("server killed under load", () => {
  it.live(
    `${kills} times (seed ${seed}): loses nothing, charges nothing twice, expires reservations on time, repeats its responses`,
    () =>
      Effect.gen(function* () {
        const random = generator(seed)
        const folder = yield* temporaryFolder
        const data = join(folder, "ledger.sqlite")
        const log: Array<Sent> = []
        let server = yield* serve("--data", data)
        const admin = { url: server.url, key: Redacted.make("K") }
        const apiKey = yield* AdminPlane.makeTenant(admin, "acme")
        yield* AdminPlane.makeBudget(admin, "acme", "", 1_000_000_000)
        yield* AdminPlane.makeBudget(admin, "acme", "agent:a", 1_000_000_000)
        let lost = 0
        for (let round = 0; round < kills; round++) {
          const first = log.length
          const client = yield* recording(server.url, apiKey, log)
          const load = Effect.forEach(
            Array.from({ length: 8 }, (_, i) => i),
            (i) => worker(client, `${round}-${i}`, random),
            { concurrency: "unbounded" }
          )
          // The load ends with the server; anything but a lost connection is a failure.
          const [error] = yield* Effect.all(
            [Effect.flip(load), Effect.andThen(Effect.sleep(30 + random(300)), server.kill)],
            {
              concurrency: "unbounded"
            }
          )
          expect(String(error)).toMatch(/^TransportError/)
          server = yield* serve("--data", data)
          for (const sent of log.slice(first)) {
            const response = yield* again(server.url, apiKey, sent)
            if (sent.response === undefined) {
              // It may have been applied. The repetition applies it or is refused.
              lost += 1
              sent.response = response
              continue
            }
            const isOver = sent.path.endsWith("/extend") && response.status === 410
            if (!isOver) {
              expect([sent.path, response.status, timeless(response.text)]).toEqual([
                sent.path,
                sent.response.status,
                timeless(sent.response.text)
              ])
            }
          }
        }
        // The remaining reservations expire one second after they were made.
        yield* Effect.sleep(1_100)
        yield* server.kill
        server = yield* serve("--data", data)
        const client = yield* recording(server.url, apiKey, [])
        const rows = yield* Stream.runCollect(client.streamReservations({ sortBy: "created_at_ms", limit: 200 }))
        const known = new Set(log.flatMap(({ response }) => (response === undefined ? [] : [response.text])))
        expect(new Set(rows.map((row) => row.idempotencyKey)).size).toBe(rows.length)
        expect(rows.length).toBe(Array.from(known).filter((text) => text.includes('"reservation_id"')).length)
        const overdue = rows.filter((row) => row.status === "ACTIVE" && Number(row.expiresAtMs) < Date.now() - 1_000)
        expect(overdue).toEqual([])
        expect(rows.some((row) => row.status === "EXPIRED")).toBe(true)
        const { balances } = yield* client.balances({ tenant: "acme" })
        const charged: Readonly<Record<string, number>> = charges(log, rows)
        expect(balances.length).toBe(2)
        for (const balance of balances) checkBooks(balance, rows, charged[balance.scopePath] ?? Number.NaN)
        expect([lost > 0, rows.length > kills]).toEqual([true, true])
        yield* Effect.logInfo(`${kills} kills, ${log.length} calls, ${lost} of them without a response`)
      }),
    30_000 + kills * 10_000
  )
})
