/**
 * How the server says no.
 */

/** A refusal: thrown by a command, before it has changed anything. */
export class Refusal extends Error {
  readonly status: number
  readonly code: string
  readonly details: Readonly<Record<string, unknown>> | undefined
  readonly headers: Readonly<Record<string, string>> | undefined

  constructor(
    status: number,
    code: string,
    message: string,
    options?: {
      readonly details?: Readonly<Record<string, unknown>> | undefined
      readonly headers?: Readonly<Record<string, string>> | undefined
    }
  ) {
    super(message)
    this.status = status
    this.code = code
    this.details = options?.details
    this.headers = options?.headers
  }
}

/** What was sent can't be understood, or breaks a limit. */
export const invalid = (message: string): Refusal => new Refusal(400, "INVALID_REQUEST", message)

/** There is no such thing. */
export const notFound = (what: string): Refusal => new Refusal(404, "NOT_FOUND", `Resource not found: ${what}`)

/** It belongs to somebody else, or is not allowed. */
export const forbidden = (message: string): Refusal => new Refusal(403, "FORBIDDEN", message)

/** It is asked for in the name of a tenant that isn't the key's. */
export const otherTenant = (): Refusal =>
  forbidden("Tenant provided in the request body does not match tenant resolved from authorization token")

/** The tenant has been closed: what is its own can be read, and that is all. */
export const tenantClosed = (id: string): Refusal =>
  new Refusal(409, "TENANT_CLOSED", `Tenant ${id} is closed; owned objects are read-only`)

/** No key, a wrong key, or one that has ended. */
export const unauthorized = (message: string): Refusal => new Refusal(401, "UNAUTHORIZED", message)
