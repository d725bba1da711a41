/**
 * The runtime of a client together with what only reservations need.
 */
import type { Heartbeat } from "../lease/heartbeat.ts"
import type { Runtime } from "../runtime/runtime.ts"
import type { KeysInUse } from "./keys.ts"
import type { Observer } from "./lifecycle.ts"
import type { Resolved } from "./policies.ts"

/** What guards, reservations and settlements work with. */
export interface Engine extends Runtime {
  readonly config: Resolved
  readonly heartbeat: Heartbeat
  readonly keys: KeysInUse
  /** Makes an idempotency key. */
  readonly makeKey: () => string
  readonly observer: Observer | undefined
}
