/**
 * An embedded Cycles server, in process: the client's transport is wired to it, no port is opened, and time is Effect's
 * `Clock`, so that tests drive it. Effect's `HttpClient` stays free for the program under test.
 *
 * ```ts
 * const Server = CyclesServer.layerMemory({ tenant: "acme", budgets: [{ unit: "TOKENS", allocated: 1_000 }] })
 * ```
 *
 * It answers as the reference server does wherever a client can tell. On a port it is in `NodeCyclesServer`.
 *
 * Source: the protocol and the governance specification; where they differ from the reference, what it was recorded
 * to answer, its defects left out.
 */
import type * as Amount from "@effect-cycles/protocol/Amount"
import * as CyclesTransport from "@effect-cycles/protocol/CyclesTransport"
import * as Json from "@effect-cycles/protocol/Json"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Request, Response, Server } from "./internal/call.ts"
import type * as Commands from "./internal/context.ts"
import * as Handler from "./internal/handler.ts"
import type { Reservation as ReservationRow } from "./internal/model.ts"
import { remaining } from "./internal/model.ts"
import * as Policies from "./internal/policies.ts"
import * as Ids from "./internal/ids.ts"
import type { Secrets } from "./internal/secrets.ts"
import { makeSecure } from "./internal/secrets.ts"
import type { Store } from "./internal/store.ts"
import { budgetId, makeMemory } from "./internal/store.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A budget that is there from the start. */
export interface BudgetOptions {
  /** Below the tenant, as in `agent:planner` or `workspace:eng/app:chat`. Default: the tenant's own scope. */
  readonly scope?: string | undefined
  readonly unit: Amount.KnownUnit
  /** 0 to 2^63-1. */
  readonly allocated: number | bigint
  /** How much debt may be made. Default 0. */
  readonly overdraftLimit?: number | bigint | undefined
  /** What an act on exactly this scope has to keep to, as the wire has it: `{ max_tokens: 512 }`. */
  readonly caps?: CapsOptions | undefined
}

/** Caps as the wire has them. */
export interface CapsOptions {
  readonly max_tokens?: number
  readonly max_steps_remaining?: number
  readonly tool_allowlist?: ReadonlyArray<string>
  readonly tool_denylist?: ReadonlyArray<string>
  readonly cooldown_ms?: number
}

/** A server with one tenant. */
export interface MemoryOptions {
  /** 3 to 64 of a-z, 0-9 and hyphen. Default `acme`. */
  readonly tenant?: string | undefined
  readonly budgets?: ReadonlyArray<BudgetOptions> | undefined
  /** How names are made. Default: UUIDs from a secure source. */
  readonly makeId?: (() => string) | undefined
}

/** The books of a budget, for a test to look at. */
export interface Books {
  readonly allocated: bigint
  readonly spent: bigint
  readonly reserved: bigint
  readonly debt: bigint
  readonly remaining: bigint
  readonly isOverLimit: boolean
}

/** A reservation, for a test to look at. */
export interface ReservationView {
  readonly id: string
  readonly status: ReservationRow["status"]
  readonly idempotencyKey: string
  readonly action: ReservationRow["action"]
  readonly subject: ReservationRow["subject"]
  readonly unit: string
  readonly amount: bigint
  readonly committed: bigint | undefined
  readonly extensions: number
}

/** A request for a budget, for a rule of a test to look at. */
export type Asked = Commands.BudgetRequest

const TypeId = "~@effect-cycles/server/CyclesServer"

/** An embedded server, and a handle on it for tests. */
export interface CyclesServer {
  readonly [TypeId]: typeof TypeId
  /** The address that clients are configured with. The in-process transport ignores it. */
  readonly baseUrl: string
  readonly tenant: string
  /** The tenant's key, with all permissions of the runtime plane. */
  readonly apiKey: Redacted.Redacted
  readonly adminKey: Redacted.Redacted
  /** Answers a request; both planes. */
  readonly handle: (request: Request) => Effect.Effect<Response>
  /** The books of a budget; `scope` as in `BudgetOptions`. */
  readonly books: (unit: Amount.KnownUnit, scope?: string) => Effect.Effect<Books>
  /** All reservations, in the order in which they were made. */
  readonly reservations: Effect.Effect<ReadonlyArray<ReservationView>>
  /** Dies unless every reservation has been settled or has expired. */
  readonly assertNoneActive: Effect.Effect<void>
  /** Refuses what a rule says, with the code that it returns, until the scope of a test ends or `reset` is called. */
  readonly denyWhen: (rule: (asked: Asked) => string | undefined) => Effect.Effect<void>
  /** Forgets all rules of `denyWhen`. */
  readonly reset: Effect.Effect<void>
  readonly setCaps: (unit: Amount.KnownUnit, caps: CapsOptions | undefined, scope?: string) => Effect.Effect<void>
  readonly setStatus: (
    unit: Amount.KnownUnit,
    status: "ACTIVE" | "FROZEN" | "CLOSED",
    scope?: string
  ) => Effect.Effect<void>
  /** Adds to what is allocated. */
  readonly credit: (unit: Amount.KnownUnit, amount: number | bigint, scope?: string) => Effect.Effect<void>
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/** An embedded server, and a handle on it for tests. */
export const CyclesServer: Context.Service<CyclesServer, CyclesServer> = Context.Service(
  "@effect-cycles/server/CyclesServer"
)

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** What a server is made of. A store, where none is given, lasts as long as the process. */
export const makeServer = (options?: {
  readonly store?: Store | undefined
  readonly adminKey?: string | undefined
  readonly makeId?: (() => string) | undefined
  readonly secrets?: Secrets | undefined
}): Server => ({
  store: options?.store ?? makeMemory(),
  secrets: options?.secrets ?? makeSecure(),
  makeId: options?.makeId ?? Ids.uuidV7,
  makeRequestId: options?.makeId ?? Ids.uuidV4,
  meter: Policies.makeMeter(),
  lastSettled: new Map(),
  adminKey: options?.adminKey ?? globalThis.crypto.randomUUID(),
  denyRules: []
})

/** Makes a server in memory with one tenant, its key and its budgets. Budgets that can't be throw a `RangeError`. */
export const makeMemoryServer = (options?: MemoryOptions): Effect.Effect<CyclesServer> =>
  Effect.map(Clock.currentTimeMillis, (nowMs) => {
    const server = makeServer({ makeId: options?.makeId })
    const tenant = options?.tenant ?? "acme"
    const post = (path: string, body: object): Readonly<Record<string, unknown>> => {
      const response = Handler.handle(
        server,
        "admin",
        {
          method: "POST",
          url: path,
          headers: { "x-admin-api-key": server.adminKey, "content-type": "application/json" },
          body: Json.stringify(body)
        },
        nowMs
      )
      const json: unknown = JSON.parse(response.body)
      if (response.status >= 400 || typeof json !== "object" || json === null) {
        throw new RangeError(`The embedded server can't be made: ${response.body}`)
      }
      return { ...json }
    }
    post("/v1/admin/tenants", { tenant_id: tenant, name: tenant })
    const key = post("/v1/admin/api-keys", { tenant_id: tenant, name: "embedded" })["key_secret"]
    for (const budget of options?.budgets ?? []) {
      const scope = scopeOf(tenant, budget.scope)
      post("/v1/admin/budgets", {
        tenant_id: tenant,
        scope,
        unit: budget.unit,
        allocated: { unit: budget.unit, amount: budget.allocated },
        overdraft_limit:
          budget.overdraftLimit === undefined ? undefined : { unit: budget.unit, amount: budget.overdraftLimit }
      })
      if (budget.caps !== undefined) {
        const created = server.store.budgets.get(budgetId(scope, budget.unit))
        if (created !== undefined) server.store.budgets.put({ ...created, caps: budget.caps })
      }
    }
    return makeHandle(server, tenant, Redacted.make(String(key)))
  })

const scopeOf = (tenant: string, scope: string | undefined): string =>
  (scope === undefined || scope === "" ? `tenant:${tenant}` : `tenant:${tenant}/${scope}`).toLowerCase()

const makeHandle = (server: Server, tenant: string, apiKey: Redacted.Redacted): CyclesServer => {
  const budgetOf = (unit: string, scope: string | undefined) => {
    const budget = server.store.budgets.get(budgetId(scopeOf(tenant, scope), unit))
    if (budget === undefined) throw new Error(`There is no budget of ${unit} at ${scopeOf(tenant, scope)}`)
    return budget
  }
  const change = (
    unit: string,
    scope: string | undefined,
    f: (budget: ReturnType<typeof budgetOf>) => ReturnType<typeof budgetOf>
  ) => Effect.sync(() => server.store.budgets.put(f(budgetOf(unit, scope))))
  const swept = Effect.map(Clock.currentTimeMillis, (nowMs) => {
    while (Handler.sweep(server, nowMs));
  })
  const reservations = Effect.map(swept, () =>
    Array.from(server.store.reservations.all())
      .filter((row) => row.tenantId === tenant)
      .map((row): ReservationView => ({
        id: row.id,
        status: row.status,
        idempotencyKey: row.idempotencyKey,
        action: row.action,
        subject: row.subject,
        unit: row.unit,
        amount: row.amount,
        committed: row.committed,
        extensions: row.extensions
      }))
  )

  return CyclesServer.of({
    [TypeId]: TypeId,
    baseUrl: "http://cycles.local",
    tenant,
    apiKey,
    adminKey: Redacted.make(server.adminKey),
    handle: (request) => Effect.map(Clock.currentTimeMillis, (nowMs) => Handler.handle(server, "both", request, nowMs)),
    books: (unit, scope) =>
      Effect.map(swept, () => {
        const budget = budgetOf(unit, scope)
        const { allocated, debt, isOverLimit, reserved, spent } = budget
        return { allocated, spent, reserved, debt, remaining: remaining(budget), isOverLimit }
      }),
    reservations,
    assertNoneActive: Effect.flatMap(reservations, (rows) => {
      const active = rows.filter((row) => row.status === "ACTIVE")
      return active.length === 0
        ? Effect.void
        : Effect.die(
            new Error(`${active.length} reservations are still ACTIVE: ${active.map((row) => row.id).join(", ")}`)
          )
    }),
    denyWhen: (rule) => Effect.sync(() => void server.denyRules.push(rule)),
    reset: Effect.sync(() => void server.denyRules.splice(0)),
    setCaps: (unit, caps, scope) => change(unit, scope, (budget) => ({ ...budget, caps })),
    setStatus: (unit, status, scope) => change(unit, scope, (budget) => ({ ...budget, status })),
    credit: (unit, amount, scope) =>
      change(unit, scope, (budget) => ({ ...budget, allocated: budget.allocated + BigInt(amount) }))
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/** A server in memory, and the transport that is wired to it. Each use of the layer has books of its own. */
export const layerMemory = (options?: MemoryOptions): Layer.Layer<CyclesServer | CyclesTransport.CyclesTransport> =>
  Layer.effect(CyclesTransport.CyclesTransport, Effect.map(CyclesServer, transport)).pipe(
    Layer.provideMerge(Layer.effect(CyclesServer, makeMemoryServer(options)))
  )

/** The transport to a server in this process, whatever the address of the request. It responds at once. */
export const transport = (server: Pick<CyclesServer, "handle">): CyclesTransport.CyclesTransport =>
  CyclesTransport.make((request) =>
    Effect.map(
      server.handle({
        method: request.method,
        url: pathOf(request.url),
        headers: request.headers,
        body: request.body ?? ""
      }),
      ({ body, headers, status }) => ({ status, headers, body, attempts: 1 })
    )
  )

/** Path and query of an address. */
const pathOf = (url: string): string => {
  const { pathname, search } = new URL(url)
  return pathname + search
}

/** An `HttpClient` to a server in this process, for raw requests in tests. It responds at once, whatever the host of the request. */
export const httpClient = (server: Pick<CyclesServer, "handle">): HttpClient.HttpClient =>
  HttpClient.make((request, url) =>
    Effect.map(
      server.handle({
        method: request.method,
        url: url.pathname + url.search,
        headers: {
          ...request.headers,
          ...("contentType" in request.body && request.body.contentType !== undefined
            ? { "content-type": request.body.contentType }
            : undefined)
        },
        body: request.body._tag === "Uint8Array" ? utf8.decode(request.body.body) : ""
      }),
      (response) => {
        const hasBody = response.body !== "" && request.method !== "HEAD"
        const web = new globalThis.Response(hasBody ? response.body : null, {
          status: response.status,
          headers: response.headers
        })
        // The text is there already: reading it takes no turn of the event loop.
        return Object.defineProperties(HttpClientResponse.fromWeb(request, web), {
          text: { value: Effect.succeed(response.body) },
          headers: { value: Headers.fromInput(response.headers) }
        })
      }
    )
  )

const utf8 = new TextDecoder()
