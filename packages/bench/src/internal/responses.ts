/**
 * The reference server's responses to reserve and commit, for the bare server.
 */

const money = (amount: number) => ({ unit: "TOKENS", amount })

const balance = (tenant: string, reserved: number, spent: number) => ({
  scope: `tenant:${tenant}`,
  scope_path: `tenant:${tenant}`,
  remaining: money(1_000_000_000 - reserved - spent),
  reserved: money(reserved),
  spent: money(spent),
  allocated: money(1_000_000_000)
})

/** The response to a reserve. */
export const reserved = (tenant: string, id: string, amount: number, nowMs: number): object => ({
  decision: "ALLOW",
  reservation_id: id,
  affected_scopes: [`tenant:${tenant}`],
  expires_at_ms: nowMs + 60_000,
  remaining_ttl_ms: 60_000,
  scope_path: `tenant:${tenant}`,
  reserved: money(amount),
  balances: [balance(tenant, amount, 0)]
})

/** The response to a commit of a reservation of 1,000. */
export const committed = (tenant: string, amount: number): object => ({
  status: "COMMITTED",
  charged: money(amount),
  released: money(1000 - amount),
  balances: [balance(tenant, 0, amount)]
})
