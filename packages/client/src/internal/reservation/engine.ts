/** The runtime of a client, with the parts that only reservations need. */
import type { Amount } from "@effect-cycles/protocol/Amount"
import type { EventCreateResponse } from "@effect-cycles/protocol/Event"
import type { Subject } from "@effect-cycles/protocol/Subject"
import type * as Effect from "effect/Effect"
import type { InvalidRequest } from "../../CyclesError.ts"
import type { WithMeta } from "../transport/call.ts"
import type { Handle } from "./handle.ts"
import type { Prepared } from "./options.ts"
import type { Heartbeat } from "../lease/heartbeat.ts"
import type { Reachability } from "../runtime/reachability.ts"
import type { Restore } from "../run/waiting.ts"
import type { Runtime } from "../runtime/runtime.ts"
import type { KeysInUse } from "./keys.ts"
import type { Observer } from "./lifecycle.ts"
import type { Resolved } from "./policies.ts"
import type { SpendHooks } from "./view.ts"

/** The guards of a client in shadow mode. They deny nothing and charge nothing. */
export interface Shadow {
  /** Asks whether the call would be denied, and lets it run. Only the wait for the server is interruptible. */
  readonly acquire: (restore: Restore, prepared: Prepared) => Effect.Effect<Handle>
  /** The response to an event, which isn't sent. `invalid` is the reason why it couldn't be sent. */
  readonly event: (
    subject: Subject,
    actual: Amount,
    invalid: InvalidRequest | undefined
  ) => Effect.Effect<WithMeta<EventCreateResponse>>
}

/** The services of guards, reservations and settlements. */
export interface Engine extends Runtime {
  readonly config: Resolved
  readonly heartbeat: Heartbeat
  readonly keys: KeysInUse
  /** Returns a new idempotency key. */
  readonly makeKey: () => string
  readonly observer: Observer | undefined
  /** The effects of recording spend. */
  readonly hooks: SpendHooks
  /** Whether the server could be reached recently. */
  readonly reachability: Reachability
  /** Only in shadow mode. */
  readonly shadow: Shadow | undefined
}
