/**
 * A server without a socket and with a settable time, one tenant with an API key, and budgets of tokens.
 */
import * as Json from "@effect-cycles/protocol/Json"
import * as CyclesServer from "../../src/CyclesServer.ts"
import type { Server } from "../../src/internal/call.ts"
import * as Handler from "../../src/internal/handler.ts"
import type { Store } from "../../src/internal/store.ts"

/** A response with its parsed body. */
export interface TestResponse {
  readonly status: number
  readonly body: { readonly [name: string]: unknown }
}

/** A server, and functions that send requests to it. */
export interface TestServer {
  /** The parts of the server, for tests that inspect or change its store. */
  readonly internals: Server
  /** The time of the next request, in epoch milliseconds. Tests advance it by assignment. */
  nowMs: number
  /** Sends a GET, or a POST if there is a body, to the runtime plane. Default key: that of the tenant. */
  readonly request: (path: string, body?: object, key?: string) => TestResponse
  /** Sends a request to the admin plane with the admin key. The path is relative to `/v1/admin/`. */
  readonly admin: (method: string, path: string, body?: object) => TestResponse
  /** Sends a request with only the given headers. */
  readonly send: (
    method: string,
    path: string,
    headers: Readonly<Record<string, string>>,
    body?: object
  ) => TestResponse & { readonly headers: Readonly<Record<string, string>> }
  /** Sends a POST to the runtime plane with the admin key. */
  readonly asAdmin: (path: string, body: object) => TestResponse
  /** The amounts of a budget of tokens, by its scope below the tenant. */
  readonly ledger: (scope?: string) => { readonly [name: string]: bigint }
}

/** Creates a server whose tenant `acme` has a budget of 1,000,000 tokens. */
export const makeTestServer = (store?: Store, warn?: (message: string) => void): TestServer => {
  const internals = CyclesServer.makeServer({ store, adminKey: "K", warn })
  let apiKey = ""
  const send = (
    method: string,
    url: string,
    body: object | undefined,
    headers: Readonly<Record<string, string>>
  ): ReturnType<TestServer["send"]> => {
    const response = Handler.handle(
      internals,
      "both",
      {
        method,
        url,
        headers: { "content-type": "application/json", ...headers },
        body: body === undefined ? "" : Json.stringify(body)
      },
      server.nowMs
    )
    internals.store.commit()
    const { status } = response
    return { status, headers: response.headers, body: response.body === "" ? {} : Object(Json.parse(response.body)) }
  }
  const exchange: (...request: Parameters<typeof send>) => TestResponse = (...request) => {
    const { body, status } = send(...request)
    return { status, body }
  }
  const server: TestServer = {
    internals,
    nowMs: 1_700_000_000_000,
    request: (path, body, key = apiKey) =>
      exchange(body === undefined ? "GET" : "POST", `/v1/${path}`, body, { "x-cycles-api-key": key }),
    admin: (method, path, body) => exchange(method, `/v1/admin/${path}`, body, { "x-admin-api-key": "K" }),
    send: (method, path, headers, body) => send(method, `/v1/${path}`, body, headers),
    asAdmin: (path, body) => exchange("POST", `/v1/${path}`, body, { "x-admin-api-key": "K" }),
    ledger: (scope = "") => {
      const budget = internals.store.budgets.get(`TOKENS tenant:acme${scope === "" ? "" : `/${scope}`}`)
      if (budget === undefined) throw new Error(`no TOKENS budget at ${scope}`)
      const { allocated, debt, reserved, spent } = budget
      return { allocated, debt, reserved, spent }
    }
  }
  server.admin("POST", "tenants", { tenant_id: "acme", name: "acme" })
  apiKey = createKey(server).secret
  createBudget(server, "", 1_000_000)
  return server
}

/** Creates a budget of tokens, by its scope below the tenant. */
export const createBudget = (server: TestServer, scope: string, allocated: number, overdraftLimit = 0): TestResponse =>
  server.admin("POST", "budgets", {
    tenant_id: "acme",
    scope: `tenant:acme${scope === "" ? "" : `/${scope}`}`,
    unit: "TOKENS",
    allocated: tokens(allocated),
    overdraft_limit: tokens(overdraftLimit)
  })

/** An amount on the wire. */
export const tokens = (amount: number): object => ({ unit: "TOKENS", amount })

/** The body of a reserve or decide request. */
export const estimateBody = (key: string, amount: number, more?: object, subject?: object): object => ({
  ...callBody(key, subject),
  estimate: tokens(amount),
  ...more
})

/** The body of an event request. */
export const eventBody = (key: string, amount: number, more?: object, subject?: object): object => ({
  ...callBody(key, subject),
  actual: tokens(amount),
  ...more
})

const callBody = (key: string, subject: object | undefined): object => ({
  idempotency_key: key,
  subject: { tenant: "acme", ...subject },
  action: { kind: "k", name: "n" }
})

/** The body that creates a budget of 10 tokens. */
export const budgetBody = (scope: string, more?: object): object => ({
  tenant_id: "acme",
  scope,
  unit: "TOKENS",
  allocated: tokens(10),
  ...more
})

/** The query that names a budget of tokens. */
export const budgetQuery = (scope: string): string => `scope=${scope}&unit=TOKENS`

/** Funds a budget of tokens through the admin plane. */
export const fund = (server: TestServer, scope: string, operation: string, amount: number, more?: object) =>
  server.admin("POST", `budgets/fund?tenant_id=acme&${budgetQuery(scope)}`, {
    operation,
    amount: tokens(amount),
    ...more
  })

/** Creates an API key of the tenant. Default: it expires in 2100. */
export const createKey = (server: TestServer, more?: object): { readonly id: string; readonly secret: string } => {
  const { body } = server.admin("POST", "api-keys", {
    tenant_id: "acme",
    name: "k",
    expires_at: "2100-01-01T00:00:00Z",
    ...more
  })
  return { id: String(body["key_id"]), secret: String(body["key_secret"]) }
}

/** Reserves tokens under a new idempotency key, and returns the id of the reservation. */
export const reserve = (server: TestServer, amount: number, more?: object, subject?: object): string =>
  String(server.request("reservations", estimateBody(uniqueKey("r"), amount, more, subject)).body["reservation_id"])

let keyCount = 0

/** An idempotency key that no other request of this file uses. */
export const uniqueKey = (prefix: string): string => `${prefix}-${++keyCount}`

/** The status and the error code of a response, if any. */
export const errorOf = ({ body, status }: TestResponse): string => `${status} ${body["error"] ?? ""}`.trim()

/** The status and the error code of a response, or else its decision or status field. */
export const outcomeOf = ({ body, status }: TestResponse): string =>
  `${status} ${body["error"] ?? body["decision"] ?? body["status"]}`

/** A field of each row of a list. */
export const columnOf = (response: TestResponse, list: string, field: string): ReadonlyArray<unknown> =>
  Array.from(Object(response.body[list]), (row) => Object(row)[field])
