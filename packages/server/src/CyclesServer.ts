/**
 * An embedded Cycles server in the test's process: the client's transport calls it directly, without a
 * port. Effect's `HttpClient` stays free for the program under test.
 *
 * **Details**
 *
 * - Time is Effect's `Clock`, so `TestClock` drives leases, expiry and retention.
 * - All parts of a response that a client can observe match the reference server, except for its defects.
 *
 * **Gotchas**
 *
 * - The ledger is kept in memory. `NodeCyclesServer` listens on a port and can use a data file.
 * - It has no faults. `Fault` of `@effect-cycles/testing` loses or delays requests and responses.
 *
 * @see cycles-protocol-v0.yaml (runtime plane) and the governance specification (admin plane)
 * @since 0.1.0
 */
import type * as Amount from "@effect-cycles/protocol/Amount"
import * as CyclesTransport from "@effect-cycles/protocol/CyclesTransport"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Request, Response, Server } from "./internal/call.ts"
import type * as Commands from "./internal/context.ts"
import * as Handler from "./internal/handler.ts"
import { makeHttpClient } from "./internal/httpClient.ts"
import * as Activity from "./internal/activity.ts"
import * as Ids from "./internal/ids.ts"
import type { Budget, Reservation as ReservationRow } from "./internal/model.ts"
import { remaining } from "./internal/model.ts"
import * as Policies from "./internal/policies.ts"
import type { Secrets } from "./internal/secrets.ts"
import { makeSecure } from "./internal/secrets.ts"
import * as Seed from "./internal/seed.ts"
import type { Store } from "./internal/store.ts"
import { budgetId, makeMemory } from "./internal/store.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models and service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A budget that exists when the server starts.
 *
 * @category models
 * @since 0.1.0
 */
export interface BudgetOptions {
  /** The scope below the tenant, such as `agent:planner` or `workspace:eng/app:chat`. Default: the scope of the tenant. */
  readonly scope?: string | undefined
  /** The unit of all amounts of the budget. A scope has at most one budget per unit. */
  readonly unit: Amount.KnownUnit
  /** The allocated amount in `unit`, from 0 to 2^63-1. Use a bigint above 2^53. */
  readonly allocated: number | bigint
  /** The maximum debt in `unit`, from 0 to 2^63-1. Default: 0, no overdraft. */
  readonly overdraftLimit?: number | bigint | undefined
  /** The caps of reservations on exactly this scope. Default: none. */
  readonly caps?: CapsOptions | undefined
}

/**
 * The caps of a budget, with the field names of the protocol. An absent field is not capped.
 *
 * @see Caps in cycles-protocol-v0.yaml
 * @category models
 * @since 0.1.0
 */
export interface CapsOptions {
  /** The maximum number of tokens of one call. */
  readonly max_tokens?: number
  /** The maximum number of steps that an agent may still take. */
  readonly max_steps_remaining?: number
  /** The only tools that a call may use. */
  readonly tool_allowlist?: ReadonlyArray<string>
  /** Tools that a call must not use. */
  readonly tool_denylist?: ReadonlyArray<string>
  /** The minimum delay before the next call, in milliseconds. */
  readonly cooldown_ms?: number
}

/**
 * Options of an in-memory server, which has one tenant.
 *
 * @category models
 * @since 0.1.0
 */
export interface MemoryOptions {
  /** The id of the tenant: 3 to 64 characters of `a-z`, `0-9` and `-`. Default: `acme`. */
  readonly tenant?: string | undefined
  /** The budgets of the tenant. Default: none, so that every reservation fails with 404. */
  readonly budgets?: ReadonlyArray<BudgetOptions> | undefined
  /** Generates the ids of reservations, budgets and requests; each must be unique. Default: UUIDs. */
  readonly makeId?: (() => string) | undefined
}

/**
 * The amounts of a budget, all in its unit.
 *
 * @see Balance and LEDGER INVARIANT in cycles-protocol-v0.yaml
 * @category models
 * @since 0.1.0
 */
export interface Books {
  /** The amount that the tenant may spend in total. */
  readonly allocated: bigint
  /** The committed amount. */
  readonly spent: bigint
  /** The sum of the active reservations. */
  readonly reserved: bigint
  /** The committed amount that the allocation does not cover. */
  readonly debt: bigint
  /** `allocated - spent - reserved - debt`. It can be negative. */
  readonly remaining: bigint
  /** Whether the debt exceeds the overdraft limit, or a charge was cut. New reservations are then denied. */
  readonly isOverLimit: boolean
}

/**
 * The state of a reservation.
 *
 * @see ReservationDetail in cycles-protocol-v0.yaml
 * @category models
 * @since 0.1.0
 */
export interface ReservationView {
  /** The id that the server generated. */
  readonly id: string
  /** `ACTIVE` until it is committed, released or expired. */
  readonly status: ReservationRow["status"]
  /** The idempotency key of the reserve request. */
  readonly idempotencyKey: string
  /** The action of the reserve request. */
  readonly action: ReservationRow["action"]
  /** The subject of the reserve request. */
  readonly subject: ReservationRow["subject"]
  /** The unit of `amount` and `committed`. */
  readonly unit: string
  /** The reserved amount. */
  readonly amount: bigint
  /** The charged amount, if the reservation was committed. */
  readonly committed: bigint | undefined
  /** How often the lease was extended. */
  readonly extensions: number
}

/**
 * A reserve or decide request, as passed to the rules of `denyWhen`.
 *
 * @category models
 * @since 0.1.0
 */
export type Asked = Commands.BudgetRequest

const TypeId = "~@effect-cycles/server/CyclesServer"

/**
 * An embedded server: its credentials, and functions for tests that inspect and change its state.
 *
 * **Details**
 *
 * Reads expire overdue reservations first. Changes take effect with the next request. The parameter `scope` is relative to
 * the tenant, as in `BudgetOptions`.
 * A function that names a missing budget dies with an `Error`.
 *
 * @category models
 * @since 0.1.0
 */
export interface CyclesServer {
  /** Identifies the service type. */
  readonly [TypeId]: typeof TypeId
  /** A URL for the configuration of clients. The in-process transport ignores its host. */
  readonly baseUrl: string
  /** The id of the tenant. */
  readonly tenant: string
  /** An API key of the tenant with the default permissions: all operations of the runtime plane. */
  readonly apiKey: Redacted.Redacted
  /** The admin key, for the paths below `/v1/admin/` and for releases on behalf of a tenant. */
  readonly adminKey: Redacted.Redacted
  /** Handles a request to either plane. It never fails: errors are responses. */
  readonly handle: (request: Request) => Effect.Effect<Response>
  /** Returns the amounts of a budget. */
  readonly books: (unit: Amount.KnownUnit, scope?: string) => Effect.Effect<Books>
  /** Returns all reservations of the tenant, ordered by creation. */
  readonly reservations: Effect.Effect<ReadonlyArray<ReservationView>>
  /** Dies with an `Error` that lists the active reservations, if there are any. */
  readonly assertNoneActive: Effect.Effect<void>
  /**
   * Adds a rule that denies reserve and decide requests. A rule returns an error code to deny a request, or `undefined`. The
   * first code is used. A missing budget is reported before any rule runs. Rules apply until `reset`.
   */
  readonly denyWhen: (rule: (asked: Asked) => string | undefined) => Effect.Effect<void>
  /** Removes all rules of `denyWhen`. It changes no budget and no reservation. */
  readonly reset: Effect.Effect<void>
  /** Replaces the caps of a budget; `undefined` removes them. */
  readonly setCaps: (unit: Amount.KnownUnit, caps: CapsOptions | undefined, scope?: string) => Effect.Effect<void>
  /** Sets the status of a budget. A `FROZEN` or `CLOSED` budget denies reservations and events, but not commits. */
  readonly setStatus: (
    unit: Amount.KnownUnit,
    status: "ACTIVE" | "FROZEN" | "CLOSED",
    scope?: string
  ) => Effect.Effect<void>
  /** Adds an integer amount to the allocation of a budget. A negative amount reduces it. */
  readonly credit: (unit: Amount.KnownUnit, amount: number | bigint, scope?: string) => Effect.Effect<void>
}

/**
 * The service of the embedded server.
 *
 * @category services
 * @since 0.1.0
 */
export const CyclesServer: Context.Service<CyclesServer, CyclesServer> = Context.Service(
  "@effect-cycles/server/CyclesServer"
)

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Assembles the parts of a server without a tenant. `makeMemoryServer` and `NodeCyclesServer.make` are built on it.
 * Defaults: a store in memory, a random admin key, UUIDs as ids, and API keys from a secure random source.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeServer = (options?: {
  readonly store?: Store | undefined
  readonly adminKey?: string | undefined
  readonly makeId?: (() => string) | undefined
  readonly secrets?: Secrets | undefined
  readonly warn?: ((message: string) => void) | undefined
  readonly isSweptByTimer?: boolean | undefined
}): Server => ({
  store: options?.store ?? makeMemory(),
  secrets: options?.secrets ?? makeSecure(),
  makeId: options?.makeId ?? Ids.uuidV7,
  makeRequestId: options?.makeId ?? Ids.uuidV4,
  meter: Policies.makeMeter(),
  activity: Activity.make(),
  lastSettled: new Map(),
  adminKey: options?.adminKey ?? globalThis.crypto.randomUUID(),
  warn: options?.warn ?? (() => {}),
  isSweptByTimer: options?.isSweptByTimer ?? false,
  denyRules: []
})

/**
 * Creates a server in memory with one tenant, an API key and budgets.
 *
 * **Gotchas**
 *
 * Invalid options, such as a negative amount or two budgets of one scope and unit, die with a `RangeError` that contains the
 * error of the server.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeMemoryServer = (options?: MemoryOptions): Effect.Effect<CyclesServer> =>
  Effect.map(currentTime, (nowMs) => {
    const server = makeServer({ makeId: options?.makeId })
    const tenant = options?.tenant ?? "acme"
    const apiKey = Seed.seed(server, tenant, options?.budgets ?? [], nowMs)
    return makeHandle(server, tenant, Redacted.make(apiKey))
  })

const makeHandle = (server: Server, tenant: string, apiKey: Redacted.Redacted): CyclesServer => {
  const budgetOf = (unit: string, scope: string | undefined): Budget => {
    const budget = server.store.budgets.get(budgetId(Seed.scopeOf(tenant, scope), unit))
    if (budget === undefined) throw new Error(`No ${unit} budget at ${Seed.scopeOf(tenant, scope)}`)
    return budget
  }
  const change = (unit: string, scope: string | undefined, f: (budget: Budget) => Budget) =>
    Effect.sync(() => server.store.budgets.put(f(budgetOf(unit, scope))))
  const swept = Effect.map(currentTime, (nowMs) => {
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
    handle: (request) => Effect.map(currentTime, (nowMs) => Handler.handle(server, "both", request, nowMs)),
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

/**
 * Provides a server in memory, and the client's transport to it.
 *
 * **Details**
 *
 * Each build of the layer has its own ledger. Provide it to `Cycles.layer` of `effect-cycles`, with the server's `baseUrl`
 * and `apiKey`. Invalid options die with a `RangeError`.
 *
 * @example
 * ```ts
 * import { CyclesServer } from "@effect-cycles/server"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const server = yield* CyclesServer.CyclesServer
 *   yield* server.credit("TOKENS", 500)
 *   yield* server.assertNoneActive
 *   const { remaining } = yield* server.books("TOKENS")
 *   console.log(remaining) // 1500n
 * })
 *
 * const TestServer = CyclesServer.layerMemory({ tenant: "acme", budgets: [{ unit: "TOKENS", allocated: 1_000 }] })
 *
 * Effect.runPromise(Effect.provide(program, TestServer))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory = (options?: MemoryOptions): Layer.Layer<CyclesServer | CyclesTransport.CyclesTransport> =>
  Layer.effect(CyclesTransport.CyclesTransport, Effect.map(CyclesServer, transport)).pipe(
    Layer.provideMerge(Layer.effect(CyclesServer, makeMemoryServer(options)))
  )

/**
 * Creates a client transport that calls a server in this process.
 *
 * **Details**
 *
 * It ignores the host of the URL, responds without delay, and reports one attempt per request.
 *
 * @category constructors
 * @since 0.1.0
 */
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

const pathOf = (url: string): string => {
  const { pathname, search } = new URL(url)
  return pathname + search
}

/** The time of the clock in whole milliseconds: a `TestClock` may be in between. */
const currentTime = Effect.map(Clock.currentTimeMillis, Math.floor)

/**
 * Creates an `HttpClient` that calls a server in this process, for raw requests in tests.
 *
 * **Details**
 *
 * It ignores the host of the URL and responds without delay. Only empty and `Uint8Array` bodies are passed on, which
 * includes text and JSON bodies.
 *
 * @category constructors
 * @since 0.1.0
 */
export const httpClient = (server: Pick<CyclesServer, "handle">): HttpClient.HttpClient => makeHttpClient(server.handle)
