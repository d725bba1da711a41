/**
 * A bare `node:http` server that parses JSON and returns the responses of a Cycles server without storing anything. It
 * is the baseline of the embedded server and the stub of the client's benchmark. `like-server` adds the quirks of the
 * reference server: connections close after 100 requests, and responses are chunked and take about a millisecond.
 */
import * as Schema from "effect/Schema"
import { randomUUID } from "node:crypto"
import * as Http from "node:http"
import * as Responses from "./responses.ts"
import * as Child from "./child.ts"

const isLikeServer = process.argv[2] === "like-server"

/** The number of extensions. */
let extensions = 0

const served = new WeakMap<object, number>()

const send = (incoming: Http.IncomingMessage, outgoing: Http.ServerResponse, text: string): void => {
  const ids = { "x-request-id": randomUUID(), "x-cycles-trace-id": "0af7651916cd43dd8448eb211c80319c" }
  if (!isLikeServer) {
    outgoing.writeHead(200, {
      "content-type": "application/json",
      ...ids,
      "content-length": Buffer.byteLength(text)
    })
    outgoing.end(text)
    return
  }
  const count = (served.get(incoming.socket) ?? 0) + 1
  served.set(incoming.socket, count)
  setTimeout(() => {
    outgoing.writeHead(200, {
      "content-type": "application/json",
      ...ids,
      "x-ratelimit-remaining": "-1",
      "x-ratelimit-reset": "0",
      ...(count >= 100 ? { connection: "close" } : undefined)
    })
    outgoing.write(text)
    outgoing.end()
  }, 1)
}

const http = Http.createServer((incoming, outgoing) => {
  const chunks: Array<Buffer> = []
  incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
  incoming.on("end", () => {
    const url = incoming.url ?? ""
    if (url.endsWith("/extend")) extensions += 1
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"))
    send(incoming, outgoing, JSON.stringify(Responses.of(url, body)))
  })
})

const listening = new Promise<Child.Address>((resolve) => {
  http.listen(0, "127.0.0.1", () => {
    const address = http.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    resolve({ url: `http://127.0.0.1:${port}`, apiKey: "cyc_live_bench" })
  })
})

Child.serve(Schema.Struct({ _tag: Schema.Literals(["start", "usage", "extensions"]) }), async ({ _tag }) =>
  _tag === "start" ? listening : _tag === "usage" ? Child.usage() : { extensions }
)
