/**
 * A server on a free port of the loopback interface, and raw requests that no HTTP client sends.
 */
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import * as NodeCyclesServer from "../../src/NodeCyclesServer.ts"

/** A response as read from a socket. */
export interface RawResponse {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** Starts a server in memory with one tenant, and returns it with an API key of that tenant. */
export const start = (options?: Partial<NodeCyclesServer.Options>) =>
  Effect.gen(function* () {
    const running = yield* NodeCyclesServer.make({ port: 0, adminKey: "K", ...options })
    return { ...running, apiKey: yield* Effect.promise(() => createTenant(running.adminUrl)) }
  })

/** Creates a tenant with 1,000,000 tokens, and returns an API key of it. */
export const createTenant = async (adminUrl: string): Promise<string> => {
  const post = async (path: string, body: object): Promise<Readonly<Record<string, unknown>>> => {
    const response = await fetch(adminUrl + path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-admin-api-key": "K" },
      body: JSON.stringify(body)
    })
    return Object(await response.json())
  }
  await post("/v1/admin/tenants", { tenant_id: "acme", name: "acme" })
  const key = await post("/v1/admin/api-keys", { tenant_id: "acme", name: "k" })
  const allocated = { unit: "TOKENS", amount: 1_000_000 }
  await post("/v1/admin/budgets", { tenant_id: "acme", scope: "tenant:acme", unit: "TOKENS", allocated })
  return String(key["key_secret"])
}

/** Sends a GET, or a POST if there is a body, to the runtime plane. Returns the status and the parsed body. */
export const call = (url: string, apiKey: string, path: string, body?: object) =>
  Effect.promise(async () => {
    const response = await fetch(`${url}/v1/${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers: { "content-type": "application/json", "x-cycles-api-key": apiKey },
      ...(body === undefined ? undefined : { body: JSON.stringify(body) })
    })
    return { status: response.status, body: Object(await response.json()) }
  })

/** Opens a connection, and closes it with the scope. */
export const connect = (url: string) =>
  Effect.acquireRelease(
    Effect.callback<Net.Socket>((resume) => {
      const socket = Net.connect(Number(new URL(url).port), "127.0.0.1", () => resume(Effect.succeed(socket)))
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** Everything a socket receives until the server closes it. */
export const untilClosed = (socket: Net.Socket): Effect.Effect<string> =>
  Effect.callback<string>((resume) => {
    const chunks: Array<Buffer> = []
    socket.on("data", (chunk: Buffer) => chunks.push(chunk))
    socket.once("close", () => resume(Effect.succeed(Buffer.concat(chunks).toString("utf8"))))
  })

/** Sends a text unchanged on a new connection, and returns the response when the server closes the connection. */
export const send = (url: string, text: string): Effect.Effect<RawResponse> =>
  Effect.scoped(
    Effect.gen(function* () {
      const socket = yield* connect(url)
      socket.write(text)
      const received = yield* untilClosed(socket)
      const end = received.indexOf("\r\n\r\n")
      return { status: Number(received.slice(9, 12)), head: received.slice(0, end), body: received.slice(end + 4) }
    })
  )

/** An HTTP/1.1 request as text. */
export const request = (
  method: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  body = ""
): string =>
  [
    `${method} ${path} HTTP/1.1`,
    ...Object.entries({
      host: "localhost",
      connection: "close",
      ...(body === "" ? undefined : { "content-type": "application/json" }),
      "content-length": String(Buffer.byteLength(body)),
      ...headers
    }).map(([name, value]) => `${name}: ${value}`),
    "",
    body
  ].join("\r\n")
