/** The services that the parts of a client share. State that several modules change is an object with methods. */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { SettlementEvent } from "../../Settlement.ts"
import type { JournalOwner, SettlementJournal } from "../../SettlementJournal.ts"
import { nowMs } from "../config/time.ts"
import type { Classification } from "../protocol/classify.ts"
import type { Sender } from "../transport/send.ts"
import type { Timer, TimerQueue } from "../transport/timerQueue.ts"
import * as TimerQueueModule from "../transport/timerQueue.ts"
import { ServerBackoff } from "./backoff.ts"
import type { Background } from "./background.ts"
import * as BackgroundModule from "./background.ts"
import * as Metrics from "./metrics.ts"
import * as Listeners from "./listeners.ts"
import type { Outbox } from "./outbox.ts"
import * as OutboxModule from "./outbox.ts"

/** The configuration that the parts share, in milliseconds. */
export interface RuntimeConfig {
  readonly baseUrl: string
  readonly retry: Schedule.Schedule<unknown>
  readonly timeoutMs: number
  readonly flushTimeoutMs: number
  readonly scanIntervalMs: number
}

/** The services that the parts of a client share. */
export interface Runtime {
  readonly config: RuntimeConfig
  readonly sender: Sender
  readonly timers: TimerQueue<Timer>
  readonly background: Background
  readonly outbox: Outbox
  readonly backoff: ServerBackoff
  /** Counts a settlement and publishes it to `settlements`. */
  readonly announce: (event: SettlementEvent) => Effect.Effect<void>
  readonly settlements: Stream.Stream<SettlementEvent>
}

/**
 * Makes the runtime in the scope of a layer. Closing the scope retries the open work once and waits for it up to
 * `flushTimeout`.
 */
export const make = (options: {
  readonly config: RuntimeConfig
  readonly sender: Sender
  readonly journal: SettlementJournal
  readonly owner: JournalOwner
}): Effect.Effect<Runtime, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { config, sender } = options
    const scope = yield* Effect.scope
    const listeners = Listeners.make<SettlementEvent>(1_024)
    yield* Scope.addFinalizer(scope, Effect.sync(listeners.end))
    const timers = yield* TimerQueueModule.make<Timer>((timer) => timer.expire(), { outlivesScope: true })
    const outbox = yield* OutboxModule.make({ store: options.journal, owner: options.owner, timers })
    const background = yield* BackgroundModule.make(config.flushTimeoutMs)
    return {
      config,
      sender,
      timers,
      background,
      outbox,
      backoff: new ServerBackoff(),
      announce: (event) =>
        Effect.withFiber((fiber) => {
          Metrics.settlement(event.settlement, fiber.context)
          listeners.publish(event)
          return Effect.void
        }),
      settlements: listeners.stream
    }
  })

/**
 * Updates the shared backoff after an error of a request that the client sent on its own: a throttled one delays the
 * others.
 */
export const updateBackoff = (runtime: Runtime, clock: Clock.Clock, classification: Classification): void => {
  if (classification.class !== "throttled") return
  const now = nowMs(clock)
  runtime.backoff.throttled(now, classification.minimumDelayMs)
  runtime.sender.delaySettlements(runtime.backoff.remainingMs(now))
}
