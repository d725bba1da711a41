/**
 * A fake model provider on 127.0.0.1, for tests and examples that run without a key. It speaks OpenAI's chat completions and
 * Responses API, Anthropic's messages, and Gemini's `generateContent`, whole and streamed.
 *
 * The name of the model chooses what happens: a story of `stories`, optionally followed by a dot and a shape of `usages`, for
 * example `plain` or `drip.none`. A response has 20 input tokens, 8 of them cached, and 30 output tokens, 12 of them reasoning. The
 * other 18 are one word each. A lower output limit in the request cuts the output: first the words, then the reasoning.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createServer } from "node:http"
import type { IncomingMessage, ServerResponse } from "node:http"
import { apis, objectOf, refusals, replyOf, serverError, stories, usages } from "./fakeApis.ts"
import type { Event } from "./fakeApis.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

export { stories, usages } from "./fakeApis.ts"
export type { Story, UsageShape } from "./fakeApis.ts"

/** A request that the provider received. */
export interface Received {
  readonly path: string
  readonly model: string
  /** The JSON of the request. */
  readonly body: { readonly [field: string]: unknown }
  /** The output limit of the request. */
  readonly limit: number | undefined
  /** When the client hung up before the response was complete, in milliseconds since the epoch. */
  readonly abortedAt: number | undefined
  /** Resolves at the end of the exchange, with whether the client hung up. */
  readonly hungUp: Promise<boolean>
}

/** A running provider. */
export interface FakeProvider {
  /** `http://127.0.0.1:port`, without a path. */
  readonly url: string
  /** The requests so far. */
  readonly requests: ReadonlyArray<Received>
  /** Waits until this many requests have arrived. */
  readonly arrived: (count: number) => Effect.Effect<Received>
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Starts a provider on a free port. It stops when the scope closes. */
export const make: Effect.Effect<FakeProvider, never, Scope.Scope> = Effect.gen(function* () {
  const requests: Array<Received> = []
  const waiting = new Set<() => void>()
  const server = createServer((request, response) => {
    void respond(request, response, (received) => {
      requests.push(received)
      for (const wake of waiting) wake()
      return requests.filter((one) => one.model === received.model).length
    })
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  const address = server.address()
  const port = typeof address === "object" ? address?.port : undefined
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    arrived: (count) =>
      Effect.callback<Received>((resume) => {
        const look = () => {
          const last = requests[count - 1]
          if (last !== undefined) resume(Effect.succeed(last))
        }
        waiting.add(look)
        look()
        return Effect.sync(() => waiting.delete(look))
      })
  }
})

// ---------------------------------------------------------------------------------------------------------------------
// stories
// ---------------------------------------------------------------------------------------------------------------------

const respond = async (
  request: IncomingMessage,
  response: ServerResponse,
  note: (received: Received) => number
): Promise<void> => {
  const path = request.url ?? ""
  const api = apis.find((api) => api.path.test(path))
  const body = await bodyOf(request)
  if (api === undefined || request.method !== "POST") return sendJson(response, 404, { error: `no ${path} here` })
  const model = /models\/([^:]+):/.exec(path)?.[1] ?? String(body["model"])
  const [name = "", shapeName = "full"] = model.split(".")
  const story = stories.find((one) => one === name)
  const shape = usages.find((one) => one === shapeName)
  if (story === undefined || shape === undefined) return sendJson(response, 404, { error: `no model ${model}` })

  const { promise: hungUp, resolve } = Promise.withResolvers<boolean>()
  const received: { -readonly [K in keyof Received]: Received[K] } = {
    path,
    model,
    body,
    limit: api.limit(body),
    abortedAt: undefined,
    hungUp
  }
  let isOurs = false
  response.on("close", () => {
    const isAborted = !isOurs && !response.writableFinished
    if (isAborted) received.abortedAt = Date.now()
    resolve(isAborted)
  })
  const attempt = note(received)

  const refusal = refusals[story] ?? (story === "flaky" && attempt <= 2 ? serverError : undefined)
  if (refusal !== undefined) {
    const { status, value } = api.refuse(refusal)
    return sendJson(response, status, value)
  }
  if (story === "proxy") {
    response.writeHead(502, { "content-type": "text/html" })
    response.end("<html>Bad Gateway</html>")
    return
  }
  const reply = replyOf(story, shape, model, body, received.limit)
  const isStream = body["stream"] === true || path.includes(":stream")
  if (story === "slow") await pause(response, 2_000)
  if (!isStream) {
    if (story === "stall") await pause(response, 3_000)
    if (response.destroyed) return
    const text = story === "midstream" ? "this isn't JSON" : JSON.stringify(api.whole(reply))
    if (story !== "dies") return send(response, 200, text)
    isOurs = true
    response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text) })
    response.write(text.slice(0, text.length / 2), () => response.destroy())
    return
  }
  response.writeHead(200, { "content-type": "text/event-stream" })
  let words = 0
  for (const event of api.events(reply)) {
    if (event.isWord === true) {
      if (story === "drip") await pause(response, 100)
      if (words === 4 && story === "stall") await pause(response, 3_000)
      if (words === 4 && story === "dies") {
        isOurs = true
        response.write(":\n\n", () => response.destroy())
        return
      }
      if (words === 4 && story === "midstream") {
        response.end(eventText(api.broken))
        return
      }
      words += 1
    }
    if (response.destroyed) return
    response.write(eventText(event))
  }
  response.end()
}

const bodyOf = async (request: IncomingMessage): Promise<{ readonly [field: string]: unknown }> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(Buffer.from(chunk))
  return objectOf(JSON.parse(Buffer.concat(chunks).toString("utf8") || "{}"))
}

const send = (response: ServerResponse, status: number, text: string): void => {
  response.writeHead(status, { "content-type": "application/json" })
  response.end(text)
}

const sendJson = (response: ServerResponse, status: number, value: unknown): void =>
  send(response, status, JSON.stringify(value))

/** Waits, but not longer than the client does. */
const pause = (response: ServerResponse, millis: number): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, millis)
    response.once("close", () => {
      clearTimeout(timer)
      resolve()
    })
  })

const eventText = ({ data, name }: Event): string =>
  `${name === undefined ? "" : `event: ${name}\n`}data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`
