/**
 * Requests to the embedded server: sequences of damaged requests to both planes in this process, over a store in memory
 * and one in SQLite.
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Schema from "effect/Schema"
import type { Running } from "@effect-cycles/server/NodeCyclesServer"
import * as NodeCyclesServer from "@effect-cycles/server/NodeCyclesServer"
import * as Net from "node:net"
import { join } from "node:path"
import { temporaryFolder } from "../temporaryFolder.ts"
import { learn, makeKnown, preamble, render } from "../traffic/render.ts"
import type { Rendered } from "../traffic/step.ts"
import { plainStep, Step } from "../traffic/step.ts"
import type { Area } from "./area.ts"
import * as Json from "./json.ts"
import { bytesOf, damaged, isCut, Shape } from "./requestBytes.ts"
import type { SecretScan } from "./secretScan.ts"
import * as Watch from "./watch.ts"

const Case = Schema.Struct({
  store: Schema.Literals(["memory", "sqlite"]),
  sent: Schema.Array(Schema.Struct({ step: Step, shape: Shape, mutations: Json.Mutations })).check(
    Schema.isMinLength(1),
    Schema.isMaxLength(8)
  )
})

type Case = typeof Case.Type

const adminKey = "admin-key-0123456789abcdef-hidden"

/** The area. */
export const requests: Area<Case> = {
  name: "requests",
  weight: 4,
  concurrency: 8,
  cases: Arbitrary.schema(Case),
  always: limitCases(),
  start: (scan) =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      scan.hide(adminKey)
      const servers = {
        memory: yield* start(scan, undefined),
        sqlite: yield* start(scan, join(folder, "ledger.sqlite"))
      }
      let runs = 0
      return (value) =>
        Watch.within(
          limits,
          Effect.promise(() => play(value, servers[value.store], String((runs += 1)), scan))
        )
    })
}

/** A request beyond each limit of the server, on a path with a body. */
function limitCases(): ReadonlyArray<Case> {
  const step = plainStep("createTenant")
  const shapes = [
    "big body",
    "endless chunks",
    "deep body",
    "huge header",
    "many headers",
    "long path",
    "half"
  ] as const
  return shapes.map((shape) => ({ store: "memory", sent: [{ step, shape, mutations: [] }] }))
}

/** The required response to a request beyond each limit: the status, and a part of the body. */
const refusals: { readonly [S in Shape]?: readonly [statuses: ReadonlyArray<number>, part: RegExp] } = {
  "big body": [[413], /./],
  "endless chunks": [[413], /./],
  "deep body": [[400], /nested/],
  "huge header": [[431], /^/],
  "long path": [[400, 401, 404, 414, 431], /^/],
  half: [[400, 408], /^/]
}

const beyondLimit = (shape: Shape, responses: ReadonlyArray<RawResponse>): ReadonlyArray<string> => {
  const expected = refusals[shape]
  const [first] = responses
  if (expected === undefined) return []
  if (first === undefined) return [`no response to ${shape}`]
  const [statuses, part] = expected
  return statuses.includes(first.status) && part.test(first.body)
    ? []
    : [`${shape} wasn't refused, but got ${first.status} ${first.body.slice(0, 300)}`]
}

const limits: Watch.Limits = { timeMs: 60_000, bytes: 300 * 1_048_576 }

/** The longest time of one exchange: the limits of the server, and a margin for a loaded machine. */
const exchangeMs = 4_000

const start = (scan: SecretScan, data: string | undefined): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.orDie(
    NodeCyclesServer.make({
      port: 0,
      adminPort: 0,
      adminKey,
      data,
      page: true,
      limits: { headersTimeoutMs: 400, requestTimeoutMs: 800, keepAliveTimeoutMs: 1_000, stallTimeoutMs: 1_500 },
      onRequest: (request) => scan.see("request log", request),
      onWarning: (message) => scan.see("warning", message)
    })
  )

const play = async (value: Case, server: Running, run: string, scan: SecretScan): Promise<ReadonlyArray<string>> => {
  const violations: Array<string> = []
  const known = makeKnown(adminKey, run)
  const exchange = async (bytes: Buffer, plane: Rendered["plane"], isCut: boolean): Promise<string> => {
    const elapsed = Watch.stopwatch()
    const received = await send(plane === "admin" ? server.adminUrl : server.url, bytes, isCut)
    const tookMs = elapsed()
    if (tookMs > exchangeMs) violations.push(`an exchange took ${tookMs} ms`)
    return received
  }
  const wellFormed = async (step: Step): Promise<number> => {
    const request = render(step, known)
    const sendOnce = async () => responsesOf(await exchange(bytesOf(request, true), request.plane, false))[0]
    let first = await sendOnce()
    for (let i = 0; first?.status === 408 && i < maxRepeats; i++) first = await sendOnce()
    if (first === undefined) return 0
    const body = Json.valueOf(first.body)
    for (const { secret } of known.keys)
      if (step.operation !== "createKey") scan.see("response", first.body.replaceAll(secret, ""))
    learn(known, step, first.status, body)
    return first.status
  }
  for (const step of preamble) {
    const status = await wellFormed(step)
    if (status !== 201) violations.push(`${step.operation} returned ${status}`)
  }
  for (const { secret } of known.keys) scan.hide(secret)
  for (const { mutations, shape, step } of value.sent) {
    const request = render(step, known)
    const received = await exchange(damaged(shape, request, mutations), request.plane, isCut(shape))
    const responses = responsesOf(received)
    // Other operations may refuse the request before they read it.
    if (step.operation === "createTenant" && !step.isMutated) violations.push(...beyondLimit(shape, responses))
    if (step.operation !== "createKey" && step.operation !== "validateKey") scan.see("response", received)
    for (const response of responses) violations.push(...problemsOf(response, shape))
    const [first] = responses
    if (shape === "whole" && first !== undefined) learn(known, step, first.status, Json.valueOf(first.body))
  }
  violations.push(...(await booksOf(server, known.tenants)))
  const status = await wellFormed(plainStep("listTenants"))
  if (status !== 200) violations.push(`the next good request returned ${status}`)
  const page = await patientFetch(`${server.url}/`)
  scan.see("page", await page.text())
  if (page.status !== 200) violations.push(`the page returned ${page.status}`)
  return violations
}

/** Sends bytes, and returns everything that was received until the server closed the connection. */
const send = (url: string, bytes: Buffer, isReset: boolean): Promise<string> =>
  new Promise((resolve) => {
    const chunks: Array<Buffer> = []
    const socket = Net.connect(Number(new URL(url).port), "127.0.0.1")
    socket.on("error", () => {})
    socket.on("data", (chunk: Buffer) => chunks.push(chunk))
    socket.once("close", () => resolve(Buffer.concat(chunks).toString("latin1")))
    socket.write(bytes, () => void (isReset && socket.resetAndDestroy()))
    setTimeout(() => socket.destroy(), 10_000).unref()
  })

// ---------------------------------------------------------------------------------------------------------------------
// checks
// ---------------------------------------------------------------------------------------------------------------------

interface RawResponse {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** The responses on one connection. */
const responsesOf = (received: string): ReadonlyArray<RawResponse> => {
  const found: Array<RawResponse> = []
  let rest = received
  while (rest.startsWith("HTTP/1.1 ")) {
    const end = rest.indexOf("\r\n\r\n")
    if (end < 0) break
    const head = rest.slice(0, end)
    const status = Number(head.slice(9, 12))
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
    const body = Buffer.from(rest.slice(end + 4), "latin1")
      .subarray(0, length)
      .toString("utf8")
    found.push({ status, head, body })
    rest = rest.slice(end + 4 + length)
  }
  return found
}

const problemsOf = ({ body, head, status }: RawResponse, shape: string): ReadonlyArray<string> => {
  if (status === 100) return []
  const shown = `${status} ${body.slice(0, 300)}`
  const problems: Array<string> = []
  if (status >= 500) problems.push(`a server error for ${shape}: ${shown}`)
  if (/\bat [^ ]+ \(|node_modules|\.ts:\d|SQLITE|SELECT |file:\/\//.test(body)) problems.push(`internals in ${shown}`)
  if (/x-injected/i.test(head)) problems.push(`an injected header in ${head}`)
  // Node itself responds to what isn't HTTP, without a body.
  if (status >= 400 && body !== "") {
    const error: unknown = Object(Json.valueOf(body))["error"]
    if (typeof error !== "string") problems.push(`an error without a code: ${shown}`)
  }
  return problems
}

/** The server's short limits of time pass on a loaded machine as well. It hasn't processed the request then. */
const maxRepeats = 50

const patientFetch = async (url: string, options: RequestInit = {}): Promise<Response> => {
  let response = await fetch(url, options)
  for (let i = 0; response.status === 408 && i < maxRepeats; i++) response = await fetch(url, options)
  return response
}

/** The sums of every budget are consistent, whatever was requested. */
const booksOf = async (server: Running, tenants: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  const problems: Array<string> = []
  for (const tenant of tenants) {
    const response = await patientFetch(`${server.adminUrl}/v1/admin/budgets?tenant_id=${tenant}&limit=100`, {
      headers: { "x-admin-api-key": adminKey }
    })
    const budgets: ReadonlyArray<unknown> = Object(await response.json())["ledgers"] ?? []
    for (const budget of budgets) {
      const amount = (name: string): bigint => BigInt(Object(Object(budget)[name])["amount"] ?? 0)
      const remaining = amount("allocated") - amount("spent") - amount("reserved") - amount("debt")
      if (remaining !== amount("remaining") && amount("allocated") < 2n ** 53n) {
        problems.push(`the budget doesn't balance: ${JSON.stringify(budget)}`)
      }
      for (const name of ["spent", "reserved", "debt"]) {
        if (amount(name) < 0n) problems.push(`a negative ${name}: ${JSON.stringify(budget)}`)
      }
    }
  }
  return problems
}
