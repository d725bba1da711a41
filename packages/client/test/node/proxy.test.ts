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

/** This process with these variables and no others of the kind. */
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

  it.each<readonly [Record<string, string>, string, string | undefined]>([
    [{}, "https://a.example", undefined],
    [{ HTTPS_PROXY: "http://p:1" }, "https://a.example", "http://p:1"],
    [{ HTTPS_PROXY: "http://p:1" }, "http://a.example", undefined],
    [{ HTTP_PROXY: "p:1" }, "http://a.example", "http://p:1"],
    [{ HTTP_PROXY: "http://p:1" }, "https://a.example", undefined],
    [{ HTTPS_PROXY: "http://p:1", https_proxy: "http://q:1" }, "https://a.example", "http://q:1"],
    [{ HTTPS_PROXY: "http://p:1", https_proxy: "" }, "https://a.example", undefined],
    [{ HTTPS_PROXY: "http://p:1" }, "https://localhost:1", undefined],
    [{ HTTPS_PROXY: "http://p:1" }, "https://a.localhost", undefined],
    [{ HTTPS_PROXY: "http://p:1" }, "https://127.8.8.8", undefined],
    [{ HTTPS_PROXY: "http://p:1" }, "https://127.evil.com", "http://p:1"],
    [{ HTTPS_PROXY: "http://p:1" }, "https://[::1]", undefined],
    [{ HTTPS_PROXY: "http://p:1" }, "https://[::ffff:127.0.0.1]", undefined],
    [{ HTTPS_PROXY: "http://p:1" }, "https://10.0.0.1", "http://p:1"]
  ])("%j for %s is %s", (env, origin, expected) => {
    expect(uriFor(env, origin)).toBe(expected)
  })

  it.each([
    ["*", "https://a.example", true],
    ["a.example", "https://a.example", true],
    ["A.Example.", "https://a.example", true],
    ["b.example, a.example", "https://a.example", true],
    ["b.example a.example", "https://a.example", true],
    ["example", "https://a.example", true],
    [".example", "https://a.example", true],
    ["*.example", "https://a.example", true],
    ["ample", "https://a.example", false],
    ["a.example:443", "https://a.example", true],
    ["a.example:444", "https://a.example", false],
    ["10.0.0.1", "https://10.0.0.1", true],
    ["10.0.0.0/8", "https://10.1.2.3", true],
    ["10.0.0.0/8", "https://11.1.2.3", false],
    ["10.0.0.0/8", "https://10.example", false],
    ["nonsense/99", "https://10.1.2.3", false],
    ["[fd00::1]", "https://[fd00::1]", true],
    ["fd00::1", "https://[fd00::1]", true],
    ["[fd00::1]:443", "https://[fd00::1]", true],
    ["[fd00::1]:1", "https://[fd00::1]", false],
    ["fd00::/8", "https://[fd12::1]", true],
    ["", "https://a.example", false]
  ])("NO_PROXY=%s for %s: %s", (list, origin, isDirect) => {
    for (const name of ["NO_PROXY", "no_proxy"]) {
      expect(uriFor({ HTTPS_PROXY: "http://p:1", [name]: list }, origin) === undefined).toBe(isDirect)
    }
  })

  it.each(["http://me:hush@", "ftp://me:hush@p", "http://me:hush@p:99999"])(
    "%s is refused without its value",
    (value) => {
      const read = () => Proxy.fromEnv({ HTTPS_PROXY: value })
      expect(read).toThrow(new RangeError("HTTPS_PROXY must be an http://, https:// or socks5:// address"))
    }
  )
})
