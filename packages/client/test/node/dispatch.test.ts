import type { TransportRequest } from "@effect-cycles/protocol/CyclesTransport"
import { describe, expect, it } from "@effect/vitest"
import * as Exit from "effect/Exit"
import type { Dispatcher } from "undici"
import * as Connections from "../../src/node/internal/connections.ts"
import * as Dispatch from "../../src/node/internal/dispatch.ts"

const request = (path: string): TransportRequest => ({
  method: "POST",
  url: `http://127.0.0.1${path}`,
  headers: {},
  body: "{}",
  isRepeatable: true,
  maxResponseBytes: 1_000
})

const controller: Dispatcher.DispatchController = {
  aborted: false,
  paused: false,
  reason: null,
  rawHeaders: null,
  rawTrailers: null,
  abort: () => {},
  pause: () => {},
  resume: () => {}
}

/** A dispatcher whose responses arrive when the test calls `respond`. */
const makeServer = () => {
  const handlers = new Map<string, Dispatcher.DispatchHandler>()
  return {
    connections: Connections.over({
      dispatch: ({ path }, handler) => {
        handlers.set(path, handler)
        handler.onRequestStart?.(controller, undefined)
        return true
      }
    }),
    respond: (path: string) => {
      const handler = handlers.get(path)
      handler?.onResponseStart?.(controller, 200, {}, "OK")
      handler?.onResponseData?.(controller, Buffer.from(path))
      handler?.onResponseEnd?.(controller, {})
    },
    fail: (path: string) => handlers.get(path)?.onResponseError?.(controller, new Error("reset"))
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Starts exchanges, and collects the bodies of their responses, or `failed`. */
const makeClient = () => {
  const server = makeServer()
  const ended: Array<string> = []
  return {
    ...server,
    ended,
    start: (path: string, onEnd?: () => void) =>
      Dispatch.start(server.connections, request(path), (exit) => {
        ended.push(Exit.isSuccess(exit) ? exit.value.body : "failed")
        onEnd?.()
      })
  }
}

describe("dispatch", () => {
  describe("start", () => {
    it("delivers the response to the only exchange at once", () => {
      const { ended, respond, start } = makeClient()
      start("/a")
      respond("/a")
      start("/b")
      respond("/b")
      expect(ended).toEqual(["/a", "/b"])
    })

    it("delivers the responses of a turn together and in order, after all of them have been read", async () => {
      const { ended, respond, start } = makeClient()
      for (const path of ["/a", "/b", "/c"]) start(path)
      for (const path of ["/b", "/a", "/c"]) respond(path)
      expect(ended).toEqual([])
      await turn()
      expect(ended).toEqual(["/b", "/a", "/c"])
    })

    it("delivers the response to a request that an earlier response of the turn led to", async () => {
      const { ended, respond, start } = makeClient()
      start("/a", () => {
        start("/c")
        respond("/c")
      })
      start("/b")
      respond("/a")
      respond("/b")
      await turn()
      await turn()
      expect(ended.toSorted()).toEqual(["/a", "/b", "/c"])
    })

    it("delivers no response to an exchange that was abandoned after its response was read", async () => {
      const { ended, respond, start } = makeClient()
      const abandon = start("/a")
      start("/b")
      respond("/a")
      respond("/b")
      abandon()
      await turn()
      expect(ended).toEqual(["/b"])
    })

    it("counts exchanges that failed or were abandoned as ended", () => {
      const { ended, fail, respond, start } = makeClient()
      start("/a")
      start("/b")()
      fail("/a")
      start("/c")
      respond("/c")
      expect(ended).toEqual(["failed", "/c"])
    })
  })
})
