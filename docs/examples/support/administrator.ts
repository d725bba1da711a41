/**
 * The requests of an administrator: a tenant, its key and its budget.
 */

/** The admin plane of a server. */
export interface AdminPlane {
  readonly adminUrl: string
  readonly adminKey: string
}

/**
 * Sends a request to a path below `/v1/admin/`, and returns the JSON of the response. Rejects if the request is
 * refused.
 */
export const post = async (
  { adminKey, adminUrl }: AdminPlane,
  path: string,
  body: object
): Promise<{ readonly [field: string]: unknown }> => {
  const url = `${adminUrl}/v1/admin/${path}`
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", "x-admin-api-key": adminKey },
    body: JSON.stringify(body)
  })
  const text = await response.text()
  if (!/^\s*\{/.test(text)) throw new Error(`${url} isn't a response of a Cycles server: ${text.slice(0, 60)}`)
  if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${text}`)
  return Object(JSON.parse(text))
}

/** Makes a tenant with a key and a budget, and returns the key. */
export const makeTenant = async (
  plane: AdminPlane,
  tenant: string,
  allocated: { readonly unit: string; readonly amount: number }
): Promise<string> => {
  await post(plane, "tenants", { tenant_id: tenant, name: tenant })
  await post(plane, "budgets", { tenant_id: tenant, scope: `tenant:${tenant}`, unit: allocated.unit, allocated })
  const { key_secret: secret } = await post(plane, "api-keys", { tenant_id: tenant, name: "program" })
  return String(secret)
}
