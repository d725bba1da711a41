/**
 * A server without a socket, whose time is a number: a tenant, its key, and budgets of tokens.
 */
import * as Json from "@effect-cycles/protocol/Json"
import * as CyclesServer from "../../src/CyclesServer.ts"
import type { Server } from "../../src/internal/call.ts"
import * as Handler from "../../src/internal/handler.ts"
import type { Store } from "../../src/internal/store.ts"

/** An answer, with its body read. */
export interface Answered {
  readonly status: number
  readonly body: { readonly [name: string]: unknown }
}

/** A server, and what a test asks of it. */
export interface World {
  readonly server: Server
  nowMs: number
  /** Asks for the tenant; a body makes it a POST. The key may be another one. */
  readonly ask: (path: string, body?: object, key?: string) => Answered
  readonly admin: (method: string, path: string, body?: object) => Answered
  /** Asks with headers of one's own. */
  readonly send: (
    method: string,
    path: string,
    headers: Readonly<Record<string, string>>,
    body?: object
  ) => Answered & { readonly headers: Readonly<Record<string, string>> }
  /** Asks the runtime plane with the administrator's key. */
  readonly asAdmin: (path: string, body: object) => Answered
  /** The books of a budget, by scope below the tenant. */
  readonly books: (scope?: string) => { readonly [name: string]: bigint }
}

/** Makes a server with a tenant `acme` that has 1,000,000 tokens. */
export const make = (store?: Store): World => {
  const server = CyclesServer.makeServer({ store, adminKey: "K" })
  let apiKey = ""
  const send = (
    method: string,
    url: string,
    body: object | undefined,
    headers: Readonly<Record<string, string>>
  ): ReturnType<World["send"]> => {
    const answer = Handler.handle(
      server,
      "both",
      {
        method,
        url,
        headers: { "content-type": "application/json", ...headers },
        body: body === undefined ? "" : Json.stringify(body)
      },
      world.nowMs
    )
    if (server.store.isDirty()) server.store.commit()
    const { headers: answered, status } = answer
    return { status, headers: answered, body: answer.body === "" ? {} : Object(Json.parse(answer.body)) }
  }
  const ask: (...request: Parameters<typeof send>) => Answered = (...request) => {
    const { body, status } = send(...request)
    return { status, body }
  }
  const world: World = {
    server,
    nowMs: 1_700_000_000_000,
    ask: (path, body, key = apiKey) =>
      ask(body === undefined ? "GET" : "POST", `/v1/${path}`, body, { "x-cycles-api-key": key }),
    admin: (method, path, body) => ask(method, `/v1/admin/${path}`, body, { "x-admin-api-key": "K" }),
    send: (method, path, headers, body) => send(method, `/v1/${path}`, body, headers),
    asAdmin: (path, body) => ask("POST", `/v1/${path}`, body, { "x-admin-api-key": "K" }),
    books: (scope = "") => {
      const budget = server.store.budgets.get(`TOKENS tenant:acme${scope === "" ? "" : `/${scope}`}`)
      if (budget === undefined) throw new Error(`there is no budget at ${scope}`)
      const { allocated, debt, reserved, spent } = budget
      return { allocated, debt, reserved, spent }
    }
  }
  world.admin("POST", "tenants", { tenant_id: "acme", name: "acme" })
  apiKey = String(
    world.admin("POST", "api-keys", { tenant_id: "acme", name: "k", expires_at: "2100-01-01T00:00:00Z" }).body[
      "key_secret"
    ]
  )
  budget(world, "", 1_000_000)
  return world
}

/** Makes a budget of tokens, by scope below the tenant. */
export const budget = (world: World, scope: string, allocated: number, overdraftLimit = 0): Answered =>
  world.admin("POST", "budgets", {
    tenant_id: "acme",
    scope: `tenant:acme${scope === "" ? "" : `/${scope}`}`,
    unit: "TOKENS",
    allocated: tokens(allocated),
    overdraft_limit: tokens(overdraftLimit)
  })

/** An amount on the wire. */
export const tokens = (amount: number): object => ({ unit: "TOKENS", amount })

/** The body of a reserve, decide or event, whichever is asked. */
export const act = (key: string, amount: number, more?: object, subject?: object): object => ({
  idempotency_key: key,
  subject: { tenant: "acme", ...subject },
  action: { kind: "k", name: "n" },
  estimate: tokens(amount),
  ...more
})

/** The body of an event. */
export const spend = (key: string, amount: number, more?: object, subject?: object): object => ({
  idempotency_key: key,
  subject: { tenant: "acme", ...subject },
  action: { kind: "k", name: "n" },
  actual: tokens(amount),
  ...more
})
