/**
 * The reference server's responses to reserve, extend and commit, for the bare server and for transports without HTTP.
 */
import { randomUUID } from "node:crypto"
import { tenant } from "./plain.ts"

const money = (amount: number) => ({ unit: "TOKENS", amount })

const balance = (tenant: string, reserved: number, spent: number) => ({
  scope: `tenant:${tenant}`,
  scope_path: `tenant:${tenant}`,
  remaining: money(1_000_000_000 - reserved - spent),
  reserved: money(reserved),
  spent: money(spent),
  allocated: money(1_000_000_000)
})

/** The response to the request with a URL and a body. */
export const of = (url: string, body: unknown): object => {
  if (url.endsWith("/commit")) return committed(tenant, Number(field(field(body, "actual"), "amount")))
  if (url.endsWith("/extend")) return extended(tenant, Date.now())
  if (url.endsWith("/release")) return released()
  return reserved(tenant, randomUUID(), Number(field(field(body, "estimate"), "amount")), Date.now())
}

const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined

const reserved = (tenant: string, id: string, amount: number, nowMs: number): object => ({
  decision: "ALLOW",
  reservation_id: id,
  affected_scopes: [`tenant:${tenant}`],
  expires_at_ms: nowMs + 60_000,
  remaining_ttl_ms: 60_000,
  scope_path: `tenant:${tenant}`,
  reserved: money(amount),
  balances: [balance(tenant, amount, 0)]
})

const extended = (tenant: string, nowMs: number): object => ({
  status: "ACTIVE",
  expires_at_ms: nowMs + 60_000,
  remaining_ttl_ms: 60_000,
  balances: [balance(tenant, 1_000, 0)]
})

const released = (): object => ({ status: "RELEASED", released: money(1000), balances: [] })

/** The response to a commit of a reservation of 1,000. */
const committed = (tenant: string, amount: number): object => ({
  status: "COMMITTED",
  charged: money(amount),
  released: money(1000 - amount),
  balances: [balance(tenant, 0, amount)]
})
