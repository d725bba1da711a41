/** The runtime of a client, with the parts that only reservations need. */
import type { Heartbeat } from "../lease/heartbeat.ts"
import type { Runtime } from "../runtime/runtime.ts"
import type { KeysInUse } from "./keys.ts"
import type { Observer } from "./lifecycle.ts"
import type { Resolved } from "./policies.ts"

/** The services of guards, reservations and settlements. */
export interface Engine extends Runtime {
  readonly config: Resolved
  readonly heartbeat: Heartbeat
  readonly keys: KeysInUse
  /** Returns a new idempotency key. */
  readonly makeKey: () => string
  readonly observer: Observer | undefined
}
