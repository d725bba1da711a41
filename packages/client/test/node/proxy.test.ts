import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { CyclesTransport } from "effect-cycles"
import { NodeTransport } from "effect-cycles/node"
import { afterEach, vi } from "vitest"
import * as Proxy from "../../src/node/internal/proxy.ts"
import { listen } from "./loopback.ts"

const exchange = (url: string) =>
  Effect.flatMap(CyclesTransport.CyclesTransport, (transport) =>
    CyclesTransport.send(transport, {
      method: "POST",
      url,
      headers: {},
      body: "{}",
      isRepeatable: true,
      maxResponseBytes: 1_000
    })
  ).pipe(Effect.provide(NodeTransport.layer({ connectTimeout: "1 second" })))

const variables = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"]

/** Sets these proxy variables and removes all others. */
const environment = (env: Readonly<Record<string, string>>) =>
  Effect.sync(() => {
    for (const name of variables) vi.stubEnv(name, env[name])
  })

afterEach(() => vi.unstubAllEnvs())

describe("NodeTransport", () => {
  describe("proxies", () => {
    it.live.each(["HTTP_PROXY", "http_proxy"])("of the environment are used for other hosts: %s", (name) =>
      Effect.gen(function* () {
        const proxy = yield* listen((outgoing) => outgoing.end("through the proxy"))
        yield* environment({ [name]: proxy.url.replace("//", "//me:hush@") })
        expect(yield* exchange("http://only-the-proxy.invalid/a")).toMatchObject({
          status: 200,
          body: "through the proxy"
        })
        expect(proxy.requests).toEqual(["POST http://only-the-proxy.invalid/a"])
        expect(proxy.headers[0]?.["proxy-authorization"]).toBe(`Basic ${btoa("me:hush")}`)
      })
    )

    it.live("open a tunnel for https; if they refuse it, nothing was sent", () =>
      Effect.gen(function* () {
        const tunnels: Array<string | undefined> = []
        const proxy = yield* listen(
          () => {},
          (server) =>
            server.on("connect", (incoming, socket) => {
              tunnels.push(incoming.url)
              socket.end("HTTP/1.1 403 Forbidden\r\n\r\n")
            })
        )
        yield* environment({ HTTPS_PROXY: proxy.url })
        expect(yield* Effect.flip(exchange("https://only-the-proxy.invalid/a"))).toMatchObject({
          kind: "refused",
          mayHaveArrived: false,
          cause: { message: expect.stringContaining("403") }
        })
        expect(tunnels).toEqual(["only-the-proxy.invalid:443"])
      })
    )

    it.live("are never used for this machine", () =>
      Effect.gen(function* () {
        const proxy = yield* listen((outgoing) => outgoing.end("through the proxy"))
        const server = yield* listen((outgoing) => outgoing.end("direct"))
        yield* environment({ HTTP_PROXY: proxy.url })
        expect(yield* exchange(server.url)).toMatchObject({ body: "direct" })
        expect(yield* exchange(server.url.replace("127.0.0.1", "localhost"))).toMatchObject({ body: "direct" })
        expect(proxy.requests).toEqual([])
      })
    )
  })
})

describe("proxy", () => {
  const uriFor = (env: Readonly<Record<string, string>>, origin: string) => Proxy.uriFor(Proxy.fromEnv(env), origin)

  it.each<readonly [env: Record<string, string>, origin: string, proxy: string]>([
    [{ HTTPS_PROXY: "http://p:1" }, "https://a.example", "http://p:1"],
    [{ HTTP_PROXY: "p:1" }, "http://a.example", "http://p:1"],
    [{ HTTPS_PROXY: "http://p:1", https_proxy: "http://q:1" }, "https://a.example", "http://q:1"],
    [{ HTTPS_PROXY: "http://p:1" }, "https://127.evil.com", "http://p:1"],
    [{ HTTPS_PROXY: "http://p:1" }, "https://10.0.0.1", "http://p:1"]
  ])("with %j, requests to %s use %s", (env, origin, proxy) => {
    expect(uriFor(env, origin)).toBe(proxy)
  })

  it.each<readonly [env: Record<string, string>, origin: string]>([
    [{}, "https://a.example"],
    [{ HTTPS_PROXY: "http://p:1" }, "http://a.example"],
    [{ HTTP_PROXY: "http://p:1" }, "https://a.example"],
    [{ HTTPS_PROXY: "http://p:1", https_proxy: "" }, "https://a.example"],
    [{ HTTPS_PROXY: "http://p:1" }, "https://localhost:1"],
    [{ HTTPS_PROXY: "http://p:1" }, "https://a.localhost"],
    [{ HTTPS_PROXY: "http://p:1" }, "https://127.8.8.8"],
    [{ HTTPS_PROXY: "http://p:1" }, "https://[::1]"],
    [{ HTTPS_PROXY: "http://p:1" }, "https://[::ffff:127.0.0.1]"]
  ])("with %j, requests to %s use no proxy", (env, origin) => {
    expect(uriFor(env, origin)).toBeUndefined()
  })

  const noProxy = ["NO_PROXY", "no_proxy"]

  it.each([
    ["*", "https://a.example"],
    ["a.example", "https://a.example"],
    ["A.Example.", "https://a.example"],
    ["b.example, a.example", "https://a.example"],
    ["b.example a.example", "https://a.example"],
    ["example", "https://a.example"],
    [".example", "https://a.example"],
    ["*.example", "https://a.example"],
    ["a.example:443", "https://a.example"],
    ["10.0.0.1", "https://10.0.0.1"],
    ["10.0.0.0/8", "https://10.1.2.3"],
    ["[fd00::1]", "https://[fd00::1]"],
    ["fd00::1", "https://[fd00::1]"],
    ["[fd00::1]:443", "https://[fd00::1]"],
    ["fd00::/8", "https://[fd12::1]"]
  ])("with NO_PROXY=%j, requests to %s use no proxy", (list, origin) => {
    for (const name of noProxy) expect(uriFor({ HTTPS_PROXY: "http://p:1", [name]: list }, origin)).toBeUndefined()
  })

  it.each([
    ["", "https://a.example"],
    ["ample", "https://a.example"],
    ["a.example:444", "https://a.example"],
    ["10.0.0.0/8", "https://11.1.2.3"],
    ["10.0.0.0/8", "https://10.example"],
    ["nonsense/99", "https://10.1.2.3"],
    ["[fd00::1]:1", "https://[fd00::1]"]
  ])("with NO_PROXY=%j, requests to %s use the proxy", (list, origin) => {
    for (const name of noProxy) expect(uriFor({ HTTPS_PROXY: "http://p:1", [name]: list }, origin)).toBe("http://p:1")
  })

  it.each(["http://me:hush@", "ftp://me:hush@p", "http://me:hush@p:99999"])(
    "refuses %s, with an error that doesn't contain the value",
    (value) => {
      const read = () => Proxy.fromEnv({ HTTPS_PROXY: value })
      expect(read).toThrow(new RangeError("HTTPS_PROXY must be an http://, https:// or socks5:// address"))
    }
  )
})
