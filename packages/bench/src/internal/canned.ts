/** A transport without HTTP that returns the responses of the bare server. */
import { CyclesTransport, fromStart } from "@effect-cycles/protocol/CyclesTransport"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Responses from "./responses.ts"

let requests = 0

/** The number of requests so far. */
export const count = (): number => requests

/** Responds in the next turn of the event loop. */
export const transport: Layer.Layer<CyclesTransport> = Layer.succeed(
  CyclesTransport,
  fromStart(({ body, url }, _context, done) => {
    requests += 1
    const response = {
      status: 200,
      headers: { "content-type": "application/json", "x-request-id": "1" },
      body: JSON.stringify(Responses.of(url, body === undefined ? {} : JSON.parse(body))),
      attempts: 1
    }
    const immediate = setImmediate(() => done(Exit.succeed(response)))
    return () => clearImmediate(immediate)
  })
)
