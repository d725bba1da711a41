/**
 * How the server says no.
 */

/** A refusal: thrown by a command, before it has changed anything. */
export class ErrorResponse extends Error {
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
export const invalidRequest = (message: string): ErrorResponse => new ErrorResponse(400, "INVALID_REQUEST", message)

/** There is no such thing. */
export const notFound = (what: string): ErrorResponse =>
  new ErrorResponse(404, "NOT_FOUND", `Resource not found: ${what}`)

/** It belongs to somebody else, or is not allowed. */
export const forbidden = (message: string): ErrorResponse => new ErrorResponse(403, "FORBIDDEN", message)

/** It is asked for in the name of a tenant that isn't the key's. */
export const tenantMismatch = (): ErrorResponse =>
  forbidden("Tenant provided in the request body does not match tenant resolved from authorization token")

/** The tenant has been closed: what is its own can be read, and that is all. */
export const tenantClosed = (id: string): ErrorResponse =>
  new ErrorResponse(409, "TENANT_CLOSED", `Tenant ${id} is closed; owned objects are read-only`)

/** No key, a wrong key, or one that has ended. */
export const unauthorized = (message: string): ErrorResponse => new ErrorResponse(401, "UNAUTHORIZED", message)
