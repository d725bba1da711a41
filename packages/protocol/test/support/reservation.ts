/** The smallest valid response to a get of a reservation. */
export const reservation = {
  reservation_id: "r",
  status: "ACTIVE",
  subject: { tenant: "t" },
  action: { kind: "k", name: "n" },
  reserved: { unit: "TOKENS", amount: 1 },
  created_at_ms: 1,
  expires_at_ms: 2,
  scope_path: "tenant:t",
  affected_scopes: []
}
