/**
 * Error responses of both planes.
 */

/** An error response. Commands throw it before they change anything. */
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

/** 400: the request is malformed or exceeds a limit. */
export const invalidRequest = (message: string): ErrorResponse => new ErrorResponse(400, "INVALID_REQUEST", message)

/** 404: the object does not exist. */
export const notFound = (what: string): ErrorResponse =>
  new ErrorResponse(404, "NOT_FOUND", `Resource not found: ${what}`)

/** 403: the object belongs to another tenant, or the key lacks a permission. */
export const forbidden = (message: string): ErrorResponse => new ErrorResponse(403, "FORBIDDEN", message)

/** 403: the request names a tenant other than that of the key. */
export const tenantMismatch = (): ErrorResponse =>
  forbidden("Tenant provided in the request body does not match tenant resolved from authorization token")

/** 409: the objects of a closed tenant are read-only. */
export const tenantClosed = (id: string): ErrorResponse =>
  new ErrorResponse(409, "TENANT_CLOSED", `Tenant ${id} is closed; owned objects are read-only`)

/** 401: the key is missing, unknown, expired or revoked. */
export const unauthorized = (message: string): ErrorResponse => new ErrorResponse(401, "UNAUTHORIZED", message)
