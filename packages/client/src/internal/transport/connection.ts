/** The resolved connection to a server: validated, in milliseconds, with defaults. */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { ClientConfig } from "../../CyclesConfig.ts"
import { isKey, keyRule } from "../config/apiKey.ts"
import * as BaseUrl from "../config/baseUrl.ts"
import { durationWithin } from "../config/time.ts"

/** The connection to a server. */
export interface Connection {
  readonly baseUrl: string
  readonly apiKey: Redacted.Redacted
  readonly adminKey: Redacted.Redacted | undefined
  readonly timeoutMs: number
  readonly maxConcurrency: number
  readonly idleProbeAfterMs: number
}

/**
 * Validates the configuration and adds defaults. Throws a `RangeError` with the name, the limits and the value of a
 * field that is out of range, and a `TypeError` for a key that isn't redacted.
 */
export const resolve = (config: ClientConfig): Connection => {
  const baseUrl = BaseUrl.parse(config.baseUrl)
  if (Result.isFailure(baseUrl)) {
    const got = JSON.stringify(BaseUrl.shown(String(config.baseUrl)))
    throw new RangeError(`baseUrl must be ${baseUrl.failure}, got ${got}`)
  }
  for (const name of ["apiKey", "adminKey"] as const) {
    const key = config[name]
    if (key === undefined && name === "adminKey") continue
    // The value of a key never appears in a message, not even that of a plain string.
    if (!Redacted.isRedacted(key)) throw new TypeError(`${name} must be made by Redacted.make`)
    if (!isKey(Redacted.value(key))) throw new RangeError(`${name} must be ${keyRule}`)
  }
  const maxConcurrency = config.maxConcurrency ?? 64
  if (!Number.isInteger(maxConcurrency) || maxConcurrency < 3 || maxConcurrency > 10_000) {
    throw new RangeError(`maxConcurrency must be an integer from 3 to 10000, got ${maxConcurrency}`)
  }
  return {
    baseUrl: baseUrl.success,
    apiKey: config.apiKey,
    adminKey: config.adminKey,
    timeoutMs: durationWithin("timeout", config.timeout ?? "10 seconds", 1, 3_600_000),
    maxConcurrency,
    idleProbeAfterMs: durationWithin("idleProbeAfter", config.idleProbeAfter ?? "50 seconds", 1_000, 86_400_000)
  }
}
