/** Every diagnosis of `effect-cycles doctor` about the address of the server. */
import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Https from "node:https"
import { vi } from "vitest"
import * as Connection from "../../../src/node/internal/cli/doctor/connection.ts"
import { listen, refusingUrl } from "../loopback.ts"
import type { Env } from "./support.ts"
import { doctor, serve } from "./support.ts"
import { emptyList, envOf, json, key, stubEnv } from "./server.ts"

// Real I/O is slow on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

describe("effect-cycles doctor", () => {
  describe("reachability", () => {
    const failure = (env: Env) =>
      Effect.map(doctor(env), (report) => {
        const [finding] = report.of("reachability")
        expect(finding?.status).toBe("failed")
        expect(report.code).toBe(1)
        expect(report.out + report.error).not.toContain(key)
        for (const check of ["key", "tenant", "budgets", "clock"]) expect(report.of(check)[0]?.status).toBe("skipped")
        return `${finding?.summary} ${finding?.advice}`
      })

    it.live("reports a refused connection", () =>
      Effect.gen(function* () {
        const url = yield* refusingUrl
        expect(yield* failure(envOf(url))).toBe(
          `${url} refused the connection (ECONNREFUSED). Is the server running, and does it listen at ${new URL(url).host}?`
        )
      })
    )

    it.live("reports a host name that can't be resolved", () =>
      Effect.gen(function* () {
        expect(yield* failure(envOf("https://cycles.invalid"))).toMatch(
          /^The host name cycles\.invalid can't be resolved \(E[A-Z_]+.*spelled correctly/
        )
      })
    )

    it.live("reports https to a server without TLS", () =>
      Effect.gen(function* () {
        const { url } = yield* listen(json(200, emptyList))
        const { host } = new URL(url)
        expect(yield* failure(envOf(`https://${host}`))).toMatch(
          new RegExp(`^No TLS connection to ${host} .*CYCLES_BASE_URL is http://${host}`)
        )
      })
    )

    it.live("reports http to a server with TLS", () =>
      Effect.gen(function* () {
        const port = yield* listenTls
        expect(yield* failure(envOf(`http://127.0.0.1:${port}`))).toContain(
          "Does the server expect TLS? Then use https://"
        )
      })
    )

    it.live("reports that HTML isn't a response of a Cycles server", () =>
      Effect.gen(function* () {
        const { url } = yield* listen((outgoing) =>
          outgoing.writeHead(404, { "content-type": "text/html" }).end("<!doctype html><h1>Not found</h1>")
        )
        expect(yield* failure(envOf(url))).toMatch(
          /responded with 404 and HTML, which isn't a response of a Cycles server\. Is CYCLES_BASE_URL right\?/
        )
      })
    )

    it.live("reports that another JSON service isn't a Cycles server", () =>
      Effect.gen(function* () {
        const { url } = yield* listen(json(200, { hello: "world" }))
        expect(yield* failure(envOf(url))).toMatch(/responded with 200, which isn't a response of a Cycles server/)
      })
    )

    it.live("reports a 502 as a problem of the server behind a load balancer, not of the address", () =>
      Effect.gen(function* () {
        const { url } = yield* listen((outgoing) =>
          outgoing.writeHead(502, { "content-type": "text/html" }).end("<html>Bad gateway</html>")
        )
        const text = yield* failure(envOf(url))
        expect(text).toMatch(/502 and HTML, without an error of the protocol.*Is it running\?/)
        expect(text).not.toContain("CYCLES_BASE_URL")
      })
    )

    it.live("names the target of a redirect, without its password", () =>
      Effect.gen(function* () {
        const { url } = yield* listen((outgoing) =>
          outgoing.writeHead(301, { location: "https://u:hunter22@cycles.example.com/v1" }).end()
        )
        const text = yield* failure(envOf(url))
        expect(text).toMatch(/301 and no body to https:\/\/\*\*\*@cycles\.example\.com\/v1\. Redirects aren't followed/)
        expect(text).not.toContain("hunter22")
      })
    )

    it.live("suggests the address without the path if a Cycles server is there", () =>
      Effect.gen(function* () {
        const { env, url } = yield* serve
        expect(yield* failure({ ...env, CYCLES_BASE_URL: `${url}/v1/reservations` })).toContain(
          `but ${url} is a Cycles server. Remove the path: CYCLES_BASE_URL=${url}.`
        )
      })
    )

    it.each([
      ["DEPTH_ZERO_SELF_SIGNED_CERT", /isn't trusted.*NODE_EXTRA_CA_CERTS/],
      ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", /isn't trusted.*NODE_EXTRA_CA_CERTS/],
      ["CERT_HAS_EXPIRED", /isn't trusted.*Renew the certificate/],
      ["ERR_TLS_CERT_ALTNAME_INVALID", /isn't trusted.*another host name/],
      ["ERR_SSL_WRONG_VERSION_NUMBER", /No TLS connection.*http:\/\/cycles\.example\.com/],
      ["EAI_AGAIN", /can't be resolved/],
      ["UND_ERR_CONNECT_TIMEOUT", /No connection to cycles\.example\.com.*CYCLES_CONNECT_TIMEOUT/],
      ["EHOSTUNREACH", /No connection to cycles\.example\.com/],
      ["UND_ERR_SOCKET", /No TLS connection/],
      ["EWHATEVER", /failed: EWHATEVER\. Check the address, and the proxies/]
    ] as const)("explains %s", (code, expected) => {
      const settings = {
        config: { baseUrl: "", apiKey: Redacted.make(key) },
        baseUrl: "https://cycles.example.com",
        timeout: Duration.seconds(10),
        connectTimeout: Duration.seconds(2)
      }
      const failure = { kind: "unknown", mayHaveArrived: false, problem: code, cause: undefined } as const
      const finding = Connection.reachability(settings, { _tag: "Failure", failure, codes: [code] })
      expect(finding.status).toBe("failed")
      expect(`${finding.summary} ${finding.advice}`).toMatch(expected)
    })

    it.live("names the proxy that the request used, without its password", () =>
      Effect.gen(function* () {
        const { host } = new URL(yield* refusingUrl)
        yield* stubEnv("HTTP_PROXY", `http://u:hunter22@${host}`)
        const text = yield* failure(envOf("http://cycles.internal"))
        expect(text).toContain(`The request used the proxy http://***@${host}: is it right`)
        expect(text).not.toContain("hunter22")
      })
    )

    it.live("reports a proxy that requires a password, and one that throttles", () =>
      Effect.gen(function* () {
        const respond = (status: number) =>
          Effect.map(
            listen((outgoing) => outgoing.writeHead(status).end()),
            ({ url }) => url
          )
        expect(yield* failure(envOf(yield* respond(407)))).toContain("A proxy requires a user name")
        expect(yield* failure(envOf(yield* respond(429)))).toContain("throttles this machine")
      })
    )

    it.live("accepts a trailing /v1", () =>
      Effect.gen(function* () {
        const { env, url } = yield* serve
        const report = yield* doctor({ ...env, CYCLES_BASE_URL: `${url}/v1/` })
        expect(report.of("reachability")[0]).toMatchObject({ status: "ok" })
        expect(report.code).toBe(0)
      })
    )
  })
})

/** A server that speaks TLS only. It has no certificate, which isn't needed to refuse plain HTTP. */
const listenTls = Effect.acquireRelease(
  Effect.promise(
    () =>
      new Promise<{ readonly port: number; readonly server: Https.Server }>((resolve) => {
        const server = Https.createServer()
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          resolve({ port: typeof address === "object" && address !== null ? address.port : 0, server })
        })
      })
  ),
  ({ server }) => Effect.sync(() => server.close())
).pipe(Effect.map(({ port }) => port))
