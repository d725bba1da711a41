/**
 * A bare `node:http` server that reads JSON and answers as a Cycles server would, without keeping anything. Plain, it is what
 * the embedded server is held against, and what the client's benchmark talks to; `like-server` has the habits of the
 * reference server besides: connections end after 100 requests, answers are chunked and take about a millisecond.
 */
import * as Schema from "effect/Schema"
import { randomUUID } from "node:crypto"
import * as Http from "node:http"
import * as Answers from "./answers.ts"
import * as Child from "./child.ts"
import { tenant } from "./plain.ts"

const isLikeServer = process.argv[2] === "like-server"

const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined

const answerTo = (url: string, body: unknown): object =>
  url.endsWith("/commit")
    ? Answers.committed(tenant, Number(field(field(body, "actual"), "amount")))
    : Answers.reserved(tenant, randomUUID(), Number(field(field(body, "estimate"), "amount")), Date.now())

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
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"))
    send(incoming, outgoing, JSON.stringify(answerTo(incoming.url ?? "", body)))
  })
})

const listening = new Promise<Child.Address>((resolve) => {
  http.listen(0, "127.0.0.1", () => {
    const address = http.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    resolve({ url: `http://127.0.0.1:${port}`, apiKey: "cyc_live_bench" })
  })
})

Child.serve(Schema.Struct({ _tag: Schema.Literals(["start", "usage"]) }), async (question) =>
  question._tag === "start" ? listening : Child.usage()
)
