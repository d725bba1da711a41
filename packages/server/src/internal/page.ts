/**
 * The page of a server: static files, its events, and `openapi.json`.
 *
 * It is read-only. Its events need no key if the request comes from this machine: it arrives on a loopback address, names a loopback
 * host, which excludes DNS rebinding, and wasn't forwarded by a proxy. Other requests need the admin key.
 */
import * as Headers from "@effect-cycles/protocol/Headers"
import { readFile } from "node:fs/promises"
import type * as Http from "node:http"
import type { Server } from "./call.ts"
import { constantTimeEqual } from "./secrets.ts"
import { snapshot } from "./snapshot.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** Handles requests of the page. */
export interface Page {
  /** Responds to a request if its path belongs to the page, and returns whether it does. */
  readonly handle: (incoming: Http.IncomingMessage, outgoing: Http.ServerResponse) => boolean
  /** Stops the events. */
  readonly close: () => void
}

interface Options {
  readonly server: Server
  readonly now: () => number
  /** Describes where the ledger is. */
  readonly store: string
  /** Expires overdue reservations, so that the page doesn't show them. */
  readonly sweep: () => void
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Creates the page of a server. */
export const make = (options: Options): Page => {
  const events = makeEvents(options)
  return {
    handle: (incoming, outgoing) => {
      const path = (incoming.url ?? "").split("?", 1)[0] ?? ""
      const load = files.get(path)
      if (load === undefined && path !== eventsPath) return false
      if (incoming.method !== "GET" && incoming.method !== "HEAD") {
        respond(outgoing, 405, "text/plain; charset=utf-8", "Only GET is supported", { allow: "GET,HEAD" })
        return true
      }
      if (load !== undefined) {
        load().then(
          ({ body, headers, type }) => respond(outgoing, 200, type, incoming.method === "HEAD" ? "" : body, headers),
          () => respond(outgoing, 500, "text/plain; charset=utf-8", "The page is damaged: install the package again")
        )
      } else if (isFromThisMachine(incoming) || hasAdminKey(incoming, options.server)) {
        events.add(outgoing, incoming.method === "HEAD")
      } else {
        respond(outgoing, 401, "text/plain; charset=utf-8", "The page needs the admin key")
      }
      return true
    },
    close: events.close
  }
}

const respond = (
  outgoing: Http.ServerResponse,
  status: number,
  type: string,
  body: string,
  headers?: Readonly<Record<string, string>>
): void => {
  outgoing.writeHead(status, { ...securityHeaders, "content-type": type, ...headers })
  outgoing.end(body)
}

const securityHeaders = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; " +
    "form-action 'none'; frame-ancestors 'none'",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store"
}

// ---------------------------------------------------------------------------------------------------------------------
// access
// ---------------------------------------------------------------------------------------------------------------------

const isFromThisMachine = ({ headers, socket }: Http.IncomingMessage): boolean =>
  isLoopback(socket.localAddress) &&
  isLoopback(socket.remoteAddress) &&
  loopbackHost.test(headers.host ?? "") &&
  (headers["sec-fetch-site"] === undefined || sameSite.has(headers["sec-fetch-site"])) &&
  !proxyHeaders.some((name) => headers[name] !== undefined)

const isLoopback = (address: string | undefined): boolean =>
  address !== undefined && /^(?:::1|(?:::ffff:)?127\.\d+\.\d+\.\d+)$/.test(address)

const loopbackHost = /^(?:localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(?::\d{1,5})?$/i

/** The values of a request by this page or by the address bar. */
const sameSite: ReadonlySet<string | ReadonlyArray<string>> = new Set(["same-origin", "none"])

/** Headers of proxies. The machine of the proxy isn't the one of the user. */
const proxyHeaders = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"]

const hasAdminKey = ({ headers }: Http.IncomingMessage, { adminKey }: Server): boolean => {
  const key = headers[Headers.ADMIN_KEY]
  return typeof key === "string" && key !== "" && constantTimeEqual(key, adminKey)
}

// ---------------------------------------------------------------------------------------------------------------------
// files
// ---------------------------------------------------------------------------------------------------------------------

interface File {
  readonly type: string
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

/** Reads a file at its first request. The folder is at the same place for `src` and `dist`. */
const file = (name: string, type: string): (() => Promise<File>) =>
  once(async () => ({ type, body: await readFile(new URL(`../../page/${name}`, import.meta.url), "utf8") }))

/** Repeats the result of the first call. */
const once = <A>(make: () => Promise<A>): (() => Promise<A>) => {
  let made: Promise<A> | undefined
  return () => (made ??= make())
}

const eventsPath = "/page/events"

/** The description of the API, whose modules are loaded at the first request. */
const openApi = async (): Promise<File> => {
  const CyclesApi = await import("@effect-cycles/protocol/CyclesApi")
  return { type: "application/json", body: `${JSON.stringify(CyclesApi.openApi(), null, 2)}\n` }
}

const docs = async (): Promise<File> => {
  const { html, policy } = await (await import("./apiPage.ts")).render()
  return { type: "text/html; charset=utf-8", body: html, headers: { "content-security-policy": policy } }
}

const files: ReadonlyMap<string, () => Promise<File>> = new Map([
  ["/", file("index.html", "text/html; charset=utf-8")],
  ["/page/app.js", file("app.js", "text/javascript; charset=utf-8")],
  ["/page/style.css", file("style.css", "text/css; charset=utf-8")],
  ["/openapi.json", once(openApi)],
  ["/docs", once(docs)]
])

// ---------------------------------------------------------------------------------------------------------------------
// events
// ---------------------------------------------------------------------------------------------------------------------

/** Sends a snapshot to every open page when it has changed. Without an open page it costs nothing. */
const makeEvents = ({ now, server, store, sweep }: Options) => {
  const open = new Set<Http.ServerResponse>()
  let timer: ReturnType<typeof setInterval> | undefined
  let last = ""
  let beatAtMs = 0

  const read = (): string => {
    sweep()
    return JSON.stringify(snapshot(server, store, now()))
  }

  /** The snapshot with the time, which alone isn't a change. */
  const eventOf = (state: string): string => `data: {"nowMs":${now()},${state.slice(1)}\n\n`

  const tick = (): void => {
    const state = read()
    const nowMs = now()
    if (state === last && nowMs - beatAtMs < heartbeatMs) return
    // A comment keeps the connection open, since one that transfers no data is closed.
    const text = state === last ? ": idle\n\n" : eventOf(state)
    last = state
    beatAtMs = nowMs
    for (const response of open) {
      // A page that doesn't read must not fill the memory.
      if (response.writableLength < maxBuffered) response.write(text)
      else response.destroy()
    }
  }

  const remove = (response: Http.ServerResponse): void => {
    open.delete(response)
    if (open.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  return {
    add: (response: Http.ServerResponse, isHead: boolean): void => {
      if (open.size >= maxOpen) return respond(response, 503, "text/plain; charset=utf-8", "Too many pages are open")
      response.writeHead(200, { ...securityHeaders, "content-type": "text/event-stream; charset=utf-8" })
      if (isHead) return void response.end()
      open.add(response)
      response.once("close", () => remove(response))
      const state = read()
      response.write(eventOf(state))
      if (timer !== undefined) return
      last = state
      beatAtMs = now()
      timer = setInterval(tick, refreshMs)
    },
    close: (): void => {
      for (const response of open) response.end()
      clearInterval(timer)
    }
  }
}

const [refreshMs, heartbeatMs, maxOpen, maxBuffered] = [500, 15_000, 20, 4_000_000]
