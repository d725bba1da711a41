import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import { UndiciHttpClient } from "effect-cycles/node"
import * as Http from "node:http"

/** What the server does with a request: answers, cuts the connection unread, or cuts it within the answer. */
type Reaction = "answer" | "cut" | "cut within"

/** A server that does as it is told, request by request, and then answers. */
const serve = (...reactions: ReadonlyArray<Reaction>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ readonly server: Http.Server; readonly seen: Array<string> }>((resume) => {
        const seen: Array<string> = []
        const ports = new Set<number | undefined>()
        const server = Http.createServer((incoming, outgoing) => {
          let body = ""
          incoming.on("data", (chunk: Buffer) => (body += chunk.toString("utf8")))
          incoming.on("end", () => {
            const isNew = !ports.has(incoming.socket.remotePort)
            ports.add(incoming.socket.remotePort)
            seen.push(`${isNew ? "new" : "kept"} ${body}`)
            const reaction = reactions[seen.length - 1] ?? "answer"
            if (reaction === "cut") {
              outgoing.destroy()
              return
            }
            outgoing.writeHead(200, { "content-type": "application/json" })
            if (reaction === "answer") outgoing.end("{}")
            else outgoing.write("{", () => outgoing.destroy())
          })
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed({ server, seen })))
      }),
      ({ server }) =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    ),
    ({ seen, server }) => {
      const address = server.address()
      return { seen, url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}` }
    }
  )

const post = (client: HttpClient.HttpClient, url: string, body: string) =>
  Effect.flatMap(
    client.execute(HttpClientRequest.post(url).pipe(HttpClientRequest.bodyText(body))),
    (response) => response.text
  )

const isRepeatable = (request: HttpClientRequest.HttpClientRequest) => !request.url.endsWith("/extend")

describe("UndiciHttpClient", () => {
  describe("isRepeatable", () => {
    it.live("sends a request again, on a new connection, when its kept one had ended", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { seen, url } = yield* serve("answer", "cut")
          const client = yield* UndiciHttpClient.make({ isRepeatable, connections: 1 })
          yield* post(client, url, "a")
          expect(yield* post(client, url, "b")).toBe("{}")
          expect(seen).toEqual(["new a", "kept b", "new b"])
        })
      )
    )

    it.live("goes past other kept connections, which may have ended too", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { seen, url } = yield* serve("answer", "answer", "cut")
          const client = yield* UndiciHttpClient.make({ isRepeatable, connections: 2 })
          yield* Effect.all([post(client, url, "a"), post(client, url, "a")], { concurrency: "unbounded" })
          yield* post(client, url, "b")
          expect(seen).toEqual(["new a", "new a", "kept b", "new b"])
        })
      )
    )

    it.live("sends it again once, and never over a connection that was kept", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { seen, url } = yield* serve("answer", "cut", "answer", "answer", "cut", "cut")
          const client = yield* UndiciHttpClient.make({ isRepeatable, connections: 1 })
          yield* post(client, url, "a")
          yield* post(client, url, "b")
          yield* post(client, url, "c")
          expect(yield* Effect.flip(post(client, url, "d"))).toMatchObject({ _tag: "HttpClientError" })
          expect(seen).toEqual(["new a", "kept b", "new b", "new c", "kept d", "new d"])
        })
      )
    )

    it.live.each<readonly [string, UndiciHttpClient.Options, string, ReadonlyArray<Reaction>, number]>([
      ["a connection broke that had brought no answer", { isRepeatable }, "", ["cut"], 1],
      ["a part of the answer has come", { isRepeatable }, "", ["answer", "cut within"], 2],
      ["the user has not allowed it", {}, "", ["answer", "cut"], 2],
      ["the user has not allowed it for this one", { isRepeatable }, "/extend", ["answer", "cut"], 2]
    ])("sends nothing again where %s", ([, options, path, reactions, count]) =>
      Effect.scoped(
        Effect.gen(function* () {
          const { seen, url } = yield* serve(...reactions)
          const client = yield* UndiciHttpClient.make({ ...options, connections: 1 })
          for (let i = 1; i < count; i++) yield* post(client, url + path, "a")
          expect(yield* Effect.flip(post(client, url + path, "b"))).toMatchObject({ _tag: "HttpClientError" })
          yield* Effect.yieldNow
          expect(seen).toHaveLength(count)
        })
      )
    )
  })
})
