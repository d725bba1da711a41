/**
 * How a request is read, and when two are the same.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Response } from "../src/internal/call.ts"
import * as Handler from "../src/internal/handler.ts"
import { start } from "./support/sockets.ts"
import { act, make, tokens } from "./support/world.ts"

describe("a request", () => {
  const commit = { idempotency_key: "c", actual: tokens(1), metrics: { latency_ms: 1 } }
  const unknown: ReadonlyArray<readonly [string, object, object]> = [
    ["at the top", act("k", 1, { more: 1 }), { ...commit, more: 1 }],
    ["in its subject", act("k", 1, {}, { more: "1" }), { ...commit, actual: { ...tokens(1), more: 1 } }],
    ["in its action", act("k", 1, { action: { kind: "k", name: "n", more: 1 } }), { ...commit, metrics: { more: 1 } }],
    ["that is an object", act("k", 1, { more: { a: 1 } }), { ...commit, more: {} }],
    ["named like what all objects have", act("k", 1, { constructor: 1 }), { ...commit, toString: "x" }]
  ]

  it.each(unknown)("with an unknown field %s is refused", (_where, reserve, settle) => {
    const world = make()
    const id = world.ask("reservations", act("held", 1)).body["reservation_id"]
    for (const answer of [world.ask("reservations", reserve), world.ask(`reservations/${id}/commit`, settle)]) {
      expect([answer.status, answer.body["error"]]).toEqual([400, "INVALID_REQUEST"])
      expect(answer.body["message"]).toMatch(/no excess property/)
    }
    expect(world.books()).toMatchObject({ reserved: 1n, spent: 0n })
  })

  it("may have any fields in what belongs to the user, and lists", () => {
    const world = make()
    const free = { more: { a: [{ b: null }] }, constructor: 1 }
    const reserve = act("k", 1, { metadata: free, action: { kind: "k", name: "n", tags: ["a", "b"] } })
    const { body, status } = world.ask("reservations", reserve)
    expect(status).toBe(200)
    const metrics = { latency_ms: 1, custom: free }
    expect(world.ask(`reservations/${body["reservation_id"]}/commit`, { ...commit, metrics }).status).toBe(200)
  })
})

describe("integers above 2^53 in the user's JSON", () => {
  it("are kept digit by digit", () => {
    const world = make()
    const free = { n: 2n ** 60n + 1n, list: [-(2n ** 61n + 1n)], more: 2n ** 70n }
    const { body } = world.ask("reservations", act("k", 1, { metadata: free }))
    const commit = { idempotency_key: "c", actual: tokens(1), metrics: { custom: free }, metadata: free }
    expect(world.ask(`reservations/${body["reservation_id"]}/commit`, commit).status).toBe(200)
    expect(world.ask(`reservations/${body["reservation_id"]}`).body).toMatchObject({
      metadata: free,
      committed_metadata: free
    })
  })
})

describe("the same key", () => {
  const first = '{"idempotency_key":"k","subject":{"tenant":"acme"},"action":{"kind":"k","name":"n"},"estimate":'
  const amount = '{"unit":"TOKENS","amount":1}'
  const same: ReadonlyArray<readonly [string, string]> = [
    ["the same bytes", `${first}${amount}}`],
    ["spaces", `${first}  ${amount} }`],
    [
      "another order",
      `{"estimate":{"amount":1,"unit":"TOKENS"},"action":{"name":"n","kind":"k"},"subject":{"tenant":"acme"},"idempotency_key":"k"}`
    ],
    ["a name that is written with escapes", `${first.replace('"action"', '"\\u0061ction"')}${amount}}`],
    ["nulls", `${first}${amount},"ttl_ms":null,"metadata":null}`],
    ["defaults", `${first}${amount},"grace_period_ms":5000,"dry_run":false}`],
    ["a number that is written in another way", `${first}${amount.replace("1", "1.0")}}`]
  ]
  const other: ReadonlyArray<readonly [string, string]> = [
    ["another amount", `${first}${amount.replace("1", "2")}}`],
    ["a lifetime, though it is the default", `${first}${amount},"ttl_ms":60000}`],
    ["a null as grace", `${first}${amount},"grace_period_ms":null}`],
    ["a null as dry run", `${first}${amount},"dry_run":null}`],
    ["metadata", `${first}${amount},"metadata":{}}`]
  ]

  const asked = (body: string): ReadonlyArray<Response> => {
    const world = make()
    const key = world.admin("POST", "api-keys", { tenant_id: "acme", name: "k", expires_at: "2100-01-01T00:00:00Z" })
    const headers = { "x-cycles-api-key": String(key.body["key_secret"]), "content-type": "application/json" }
    return [`${first}${amount}}`, body].map((text) =>
      Handler.handle(
        world.server,
        "both",
        { method: "POST", url: "/v1/reservations", headers, body: text },
        world.nowMs
      )
    )
  }

  it.each(same)("with %s is the same request", (_what, body) => {
    const [one, again] = asked(body)
    expect([one?.status, again?.status, again?.body]).toEqual([200, 200, one?.body])
  })

  it.each(other)("with %s is another request", (_what, body) => {
    const [one, again] = asked(body)
    expect([one?.status, again?.status]).toEqual([200, 409])
    expect(again?.body).toContain("IDEMPOTENCY_MISMATCH")
  })
})

describe("an answer on a port", () => {
  it.live.each(["ascii", "grüße", "日本 🙂"])("has the text %s as it was given", (name) =>
    Effect.gen(function* () {
      const { apiKey, url } = yield* start()
      const headers = { "x-cycles-api-key": apiKey, "content-type": "application/json" }
      const ask = (path: string, body?: object) =>
        Effect.promise(async () => {
          const answer = await fetch(
            `${url}/v1/${path}`,
            body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) }
          )
          return Object(await answer.json())
        })
      const { reservation_id } = yield* ask("reservations", act("k", 1, { action: { kind: "k", name } }))
      expect((yield* ask(`reservations/${reservation_id}`)).action.name).toBe(name)
    })
  )
})
