/** Makes a tenant for each test of a contract, and functions that send its requests. */
import * as Amount from "@effect-cycles/protocol/Amount"
import type { Balance } from "@effect-cycles/protocol/Balance"
import type { IdempotencyKey } from "@effect-cycles/protocol/Identifiers"
import * as Identifiers from "@effect-cycles/protocol/Identifiers"
import type { OveragePolicy, ReservationCreateRequest } from "@effect-cycles/protocol/Reservation"
import * as CyclesClient from "effect-cycles/CyclesClient"
import { layerHttpClient } from "effect-cycles/CyclesTransport"
import type { CyclesError } from "effect-cycles/CyclesError"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { randomUUID } from "node:crypto"
import type { Admin } from "../adminPlane.ts"
import * as AdminPlane from "../adminPlane.ts"

/** An initial budget of tokens. */
export interface BudgetOptions {
  /** Relative to the tenant, as in `agent:a`. Default: the scope of the tenant. */
  readonly scope?: string | undefined
  readonly allocated: number | bigint
  readonly overdraftLimit?: number | bigint | undefined
}

/** The balance of a budget. */
export interface TokenBalance {
  readonly allocated: bigint
  readonly spent: bigint
  readonly reserved: bigint
  readonly debt: bigint
  readonly remaining: bigint
  readonly isOverLimit: boolean
}

/** A tenant with its budgets. */
export interface Fixture {
  readonly tenant: string
  readonly admin: Admin
  readonly client: CyclesClient.CyclesClient
  /** Reserves an amount, with further fields of the request. */
  readonly reserve: (
    amount: number | bigint,
    more?: Partial<ReservationCreateRequest> & { readonly agent?: string }
  ) => ReturnType<CyclesClient.CyclesClient["reserve"]>
  /** Reserves an amount, and returns the id of the reservation. */
  readonly reserveId: (
    amount: number | bigint,
    more?: Partial<ReservationCreateRequest> & { readonly agent?: string }
  ) => Effect.Effect<Identifiers.ReservationId, CyclesError>
  readonly event: (amount: number, policy?: OveragePolicy) => ReturnType<CyclesClient.CyclesClient["event"]>
  /** The balances, by scope relative to the tenant. The ledger invariant is asserted. */
  readonly balanceAt: (scope?: string) => Effect.Effect<TokenBalance, CyclesError>
  /** Changes a budget through the administrator's API. */
  readonly manage: (what: "freeze" | "unfreeze" | "fund", body: object, scope?: string) => Effect.Effect<void>
}

/** The body of a test. */
export type Body = (fixture: Fixture) => Effect.Effect<void, unknown, Scope.Scope>

/** Declares a test: its title, its budgets, its body, and options of its tenant. */
export type Test = (what: string, budgets: ReadonlyArray<BudgetOptions>, body: Body, tenant?: object) => void

/** How tests are declared. */
export interface Declare {
  readonly test: Test
  /** A test in which time must pass. */
  readonly timed: Test
}

/** One budget, of the tenant. */
export const one = (allocated: number | bigint): ReadonlyArray<BudgetOptions> => [{ allocated }]

/** A budget of the tenant and one of its agent `a`. */
export const both = (tenant: number, agent: number): ReadonlyArray<BudgetOptions> => [
  { allocated: tenant },
  { scope: "agent:a", allocated: agent }
]

/** A random idempotency key. */
export const newKey = (): IdempotencyKey => Identifiers.IdempotencyKey.make(randomUUID())

/** The action of every test. */
export const action = { kind: "contract", name: "test" }

/** The error code of a refusal, or the tag of an error without a code. */
export const codeOf = <A>(effect: Effect.Effect<A, CyclesError>): Effect.Effect<string, A> =>
  Effect.map(Effect.flip(effect), (error) => ("code" in error ? (error.code ?? error._tag) : error._tag))

/** Makes a tenant with a random name, a key and budgets. */
export const make = (
  server: { readonly baseUrl: string; readonly admin: Admin },
  budgets: ReadonlyArray<BudgetOptions>,
  options?: object
): Effect.Effect<Fixture, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { admin, baseUrl } = server
    const tenant = `suite-${randomUUID().slice(0, 18)}`
    const apiKey = yield* AdminPlane.makeTenant(admin, tenant, options)
    for (const { allocated, overdraftLimit, scope } of budgets) {
      yield* AdminPlane.makeBudget(admin, tenant, scope ?? "", allocated, overdraftLimit)
    }
    const client = yield* CyclesClient.make({ baseUrl, apiKey, adminKey: admin.key })
    const pathOf = (scope: string | undefined) => `tenant:${tenant}${scope === undefined ? "" : `/${scope}`}`
    const reserve: Fixture["reserve"] = (amount, { agent, ...more } = {}) =>
      client.reserve({
        idempotencyKey: newKey(),
        subject: { tenant, ...(agent === undefined ? undefined : { agent }) },
        action,
        estimate: Amount.tokens(amount),
        ...more
      })
    const fixture: Fixture = {
      tenant,
      admin,
      client,
      reserve,
      reserveId: (amount, more) =>
        Effect.flatMap(reserve(amount, more), ({ reservationId }) =>
          reservationId === undefined
            ? Effect.die(new Error("the response has no reservation id"))
            : Effect.succeed(reservationId)
        ),
      event: (amount, overagePolicy) =>
        client.event({
          idempotencyKey: newKey(),
          subject: { tenant },
          action,
          actual: Amount.tokens(amount),
          overagePolicy
        }),
      balanceAt: (scope) =>
        Effect.map(client.balances({ tenant }), ({ balances }) => {
          const found = balances.find((balance) => balance.scopePath === pathOf(scope))
          if (found === undefined) throw new Error(`there is no budget at ${pathOf(scope)}`)
          return checkedBalance(found)
        }),
      manage: (what, body, scope) =>
        Effect.asVoid(
          AdminPlane.send(
            admin,
            "POST",
            `/budgets/${what}?tenant_id=${tenant}&scope=${encodeURIComponent(pathOf(scope))}&unit=TOKENS`,
            body
          )
        )
    }
    return fixture
  }).pipe(Effect.provide(overFetch))

const checkedBalance = (balance: Balance): TokenBalance => {
  const allocated = balance.allocated?.amount ?? 0n
  const spent = balance.spent?.amount ?? 0n
  const reserved = balance.reserved?.amount ?? 0n
  const debt = balance.debt?.amount ?? 0n
  const remaining = balance.remaining.amount
  if (remaining !== allocated - spent - reserved - debt) {
    throw new Error(
      `${balance.scopePath} violates the ledger invariant: ${remaining} = ${allocated} - ${spent} - ${reserved} - ${debt}`
    )
  }
  return { allocated, spent, reserved, debt, remaining, isOverLimit: balance.isOverLimit === true }
}

const overFetch = Layer.provide(layerHttpClient, FetchHttpClient.layer)

/** A client of the same server with an unknown key. */
export const clientWithUnknownKey = (baseUrl: string): Effect.Effect<CyclesClient.CyclesClient, never, Scope.Scope> =>
  Effect.provide(CyclesClient.make({ baseUrl, apiKey: Redacted.make("cyc_live_0") }), overFetch)

/** The id of a reservation that doesn't exist. */
export const unknownId = Effect.sync(() => Identifiers.ReservationId.make(randomUUID()))
