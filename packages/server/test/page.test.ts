/**
 * The page of a server: who may see it, its headers, and its events. `pnpm test:page` tests it in a browser.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Http from "node:http"
import { call, request, send, start } from "./support/sockets.ts"
import { estimateBody } from "./support/testServer.ts"

/** The data of the first events of a page. */
const eventsOf = (url: string, count: number, headers: Readonly<Record<string, string>> = {}) =>
  Effect.callback<ReadonlyArray<{ readonly [name: string]: unknown }>>((resume) => {
    let text = ""
    const sent = Http.get(`${url}/page/events`, { headers }, (response) => {
      response.on("data", (chunk: Buffer) => {
        text += String(chunk)
        const events = text.split("\n\n").slice(0, -1)
        if (events.length < count) return
        resume(Effect.succeed(events.map((event) => Object(JSON.parse(event.slice("data: ".length))))))
      })
    })
    return Effect.sync(() => sent.destroy())
  })

/** The status of a request for events. */
const statusOf = (url: string, headers: Readonly<Record<string, string>>) =>
  Effect.map(send(url, request("HEAD", "/page/events", headers)), ({ status }) => status)

describe("page", () => {
  it.live("is absent by default", () =>
    Effect.gen(function* () {
      const { url } = yield* start()
      for (const path of ["/", "/page/events", "/page/app.js", "/openapi.json"]) {
        expect((yield* send(url, request("GET", path))).status).toBe(401)
      }
    })
  )

  it.live("forbids inline scripts and styles, frames and other hosts", () =>
    Effect.gen(function* () {
      const { url } = yield* start({ page: true })
      const types = { "/": "text/html", "/page/app.js": "text/javascript", "/page/style.css": "text/css" }
      for (const [path, type] of Object.entries(types)) {
        const { body, head, status } = yield* send(url, request("GET", path))
        expect(status).toBe(200)
        expect(head).toContain(`content-type: ${type}; charset=utf-8`)
        const policy = /content-security-policy: (.*)/.exec(head)?.[1] ?? ""
        expect(policy).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self'; .*frame-ancestors 'none'/)
        expect(policy).not.toContain("unsafe")
        expect(body).not.toMatch(/https?:\/\/|<script>|<style|\sstyle=|\son\w+=|innerHTML|localStorage/)
      }
    })
  )

  it.live("needs no key from the machine of the server", () =>
    Effect.gen(function* () {
      const { url } = yield* start({ page: true })
      for (const host of ["localhost", "LOCALHOST:1", "127.0.0.1:7878", "[::1]:7878"]) {
        expect(yield* statusOf(url, { host })).toBe(200)
      }
    })
  )

  it.live("needs the admin key for another host, a proxied request and a request of another site", () =>
    Effect.gen(function* () {
      const { apiKey, url } = yield* start({ page: true })
      for (const headers of [
        { host: "evil.example" },
        { host: "localhost.evil.example" },
        { host: "127.0.0.1.evil.example:7878" },
        { host: "evil.example#localhost" },
        { host: "" },
        { "x-forwarded-for": "10.0.0.1" },
        { forwarded: "for=10.0.0.1" },
        { via: "1.1 proxy" },
        { "sec-fetch-site": "cross-site" },
        { "sec-fetch-site": "same-site" }
      ]) {
        expect([headers, yield* statusOf(url, headers)]).toEqual([headers, 401])
        expect(yield* statusOf(url, { ...headers, "x-admin-api-key": "wrong" })).toBe(401)
        expect(yield* statusOf(url, { ...headers, "x-cycles-api-key": apiKey })).toBe(401)
        expect(yield* statusOf(url, { ...headers, "x-admin-api-key": "K" })).toBe(200)
      }
    })
  )

  it.live("is read-only", () =>
    Effect.gen(function* () {
      const { url } = yield* start({ page: true })
      for (const path of ["/", "/page/events", "/page/app.js", "/openapi.json"]) {
        const { head, status } = yield* send(url, request("POST", path, {}, "{}"))
        expect([status, /allow: (.*)/.exec(head)?.[1]?.trim()]).toEqual([405, "GET,HEAD"])
      }
    })
  )

  it.live("sends budgets, live reservations and denials when they change", () =>
    Effect.gen(function* () {
      const { apiKey, url } = yield* start({ page: true })
      const post = (path: string, body: object) => call(url, apiKey, path, body)
      yield* post("reservations", estimateBody("a", 5, { ttl_ms: 60_000 }))
      yield* post("reservations", estimateBody("b", 5_000_000))
      yield* post("reservations", estimateBody("b", 1, { overage_policy: "BOGUS" }))
      yield* post("decide", estimateBody("c", 6_000_000))
      const changed = yield* Effect.forkChild(eventsOf(url, 2))
      const [first] = yield* eventsOf(url, 1)
      expect(first).toMatchObject({
        store: "Ledger in memory",
        budgets: [
          { scope: "tenant:acme", unit: "TOKENS", allocated: "1000000", reserved: "5", remaining: "999995", debt: "0" }
        ],
        reservations: [{ scope: "tenant:acme", action: "k n", unit: "TOKENS", amount: "5" }],
        denials: [
          { amount: "6000000", code: "BUDGET_EXCEEDED", message: "" },
          { amount: "5000000", code: "BUDGET_EXCEEDED", message: expect.stringContaining("tenant:acme") }
        ]
      })
      yield* post("reservations", estimateBody("d", 7))
      const [, second] = yield* Fiber.join(changed)
      expect(second).toMatchObject({ budgets: [{ reserved: "12" }] })
    })
  )

  it.live("shows the API with scripts that are allowed by their hashes", () =>
    Effect.gen(function* () {
      const { url } = yield* start({ page: true })
      const { head, status } = yield* send(url, request("HEAD", "/docs"))
      expect(status).toBe(200)
      expect(head).toMatch(
        /content-security-policy: default-src 'none'; script-src 'sha256-\S+' 'sha256-\S+'; style-src/
      )
      expect(head.match(/content-security-policy/g)).toHaveLength(1)
    })
  )

  it.live("describes the runtime plane in openapi.json", () =>
    Effect.gen(function* () {
      const { url } = yield* start({ page: true })
      const { body, status } = yield* send(url, request("GET", "/openapi.json", { host: "other.example" }))
      expect(status).toBe(200)
      expect(Object.keys(JSON.parse(body.slice(body.indexOf("{"), body.lastIndexOf("}") + 1)).paths)).toContain(
        "/v1/reservations"
      )
    })
  )
})
