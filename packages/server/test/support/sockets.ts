/**
 * A server on a free port of the loopback interface, and ways to ask it that no client has.
 */
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import * as NodeCyclesServer from "../../src/NodeCyclesServer.ts"

/** An answer, read from a socket. */
export interface Answer {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** Starts a server in memory with one tenant, and returns it with a key of that tenant. */
export const start = (options?: Partial<NodeCyclesServer.Options>) =>
  Effect.gen(function* () {
    const running = yield* NodeCyclesServer.make({ port: 0, adminKey: "K", ...options })
    return { ...running, apiKey: yield* Effect.promise(() => setUp(running.adminUrl)) }
  })

/** Makes a tenant with 1,000,000 tokens, and returns a key of it. */
export const setUp = async (adminUrl: string): Promise<string> => {
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

/** Opens a connection that is closed with the scope. */
export const connect = (url: string) =>
  Effect.acquireRelease(
    Effect.callback<Net.Socket>((resume) => {
      const socket = Net.connect(Number(new URL(url).port), "127.0.0.1", () => resume(Effect.succeed(socket)))
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** All that a socket gets until the other side ends it. */
export const untilClosed = (socket: Net.Socket): Effect.Effect<string> =>
  Effect.callback<string>((resume) => {
    const chunks: Array<Buffer> = []
    socket.on("data", (chunk: Buffer) => chunks.push(chunk))
    socket.once("close", () => resume(Effect.succeed(Buffer.concat(chunks).toString("utf8"))))
  })

/** Sends bytes as they are, on a connection of their own that ends with the answer. */
export const send = (url: string, text: string): Effect.Effect<Answer> =>
  Effect.scoped(
    Effect.gen(function* () {
      const socket = yield* connect(url)
      socket.write(text)
      const answer = yield* untilClosed(socket)
      const end = answer.indexOf("\r\n\r\n")
      return { status: Number(answer.slice(9, 12)), head: answer.slice(0, end), body: answer.slice(end + 4) }
    })
  )

/** A request as it goes over the wire. */
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
