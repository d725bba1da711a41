/** Assembles a client from a sender and a runtime, and implements the operations without a reservation. */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount } from "@effect-cycles/protocol/Amount"
import type { BalanceQuery } from "@effect-cycles/protocol/Balance"
import type { CyclesTransport } from "@effect-cycles/protocol/CyclesTransport"
import * as Operations from "@effect-cycles/protocol/Operations"
import type { Subject } from "@effect-cycles/protocol/Subject"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CyclesConfig } from "../../CyclesConfig.ts"
import { SettlementJournal } from "../../SettlementJournal.ts"
import { CurrentSubject } from "../../Subject.ts"
import * as Connection from "../transport/connection.ts"
import { fingerprint } from "../config/fingerprint.ts"
import { messageOf } from "../config/time.ts"
import * as Heartbeat from "../lease/heartbeat.ts"
import { combine, isAmbiguous } from "../protocol/classify.ts"
import { balancesOf } from "../protocol/client.ts"
import * as Calls from "../protocol/operations.ts"
import { pages } from "../protocol/pages.ts"
import * as Requests from "../protocol/requests.ts"
import type { Engine } from "../reservation/engine.ts"
import { KeysInUse } from "../reservation/keys.ts"
import { CurrentObserver } from "../reservation/lifecycle.ts"
import * as Limits from "../reservation/limits.ts"
import { subjectOf } from "../reservation/options.ts"
import * as Policies from "../reservation/policies.ts"
import { CurrentRun, CurrentStep, TypeId } from "../run/current.ts"
import { chargeEvent } from "../run/uncovered.ts"
import { exitWithin } from "../runtime/bounded.ts"
import * as Retry from "../runtime/retry.ts"
import { Reachability } from "../runtime/reachability.ts"
import * as Runtime from "../runtime/runtime.ts"
import * as Recovery from "../settlement/recovery.ts"
import { hooksOf } from "../settlement/settle.ts"
import * as Sender from "../transport/send.ts"
import * as Shadow from "./shadow.ts"

/** The generator of idempotency keys: a random UUID from a secure source. */
export const KeyGenerator = Context.Reference<() => string>("effect-cycles/Cycles/IdempotencyKeyGenerator", {
  defaultValue: () => () => globalThis.crypto.randomUUID()
})

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Makes the engine of a client in the current scope, and starts to scan its journal. */
export const make = (
  config: CyclesConfig
): Effect.Effect<Engine, never, CyclesTransport | SettlementJournal | Scope.Scope> =>
  Effect.gen(function* () {
    const connection = Connection.resolve(config)
    const { baseUrl } = connection
    const resolved = Policies.resolve(config, connection)
    const sender = yield* Sender.make(connection)
    const makeKey = yield* KeyGenerator
    const runtime = yield* Runtime.make({
      config: resolved,
      sender,
      journal: yield* SettlementJournal,
      owner: {
        baseUrl,
        fingerprint: yield* fingerprint({
          baseUrl,
          tenant: resolved.subject.tenant,
          apiKey: config.apiKey
        })
      }
    })
    const heartbeat = yield* Heartbeat.make(runtime, makeKey)
    const observer = yield* CurrentObserver
    const enforcing: Omit<Engine, "shadow"> = {
      ...runtime,
      config: resolved,
      heartbeat,
      keys: new KeysInUse(),
      makeKey,
      observer,
      hooks: hooksOf(() => engine),
      reachability: new Reachability()
    }
    const engine: Engine = { ...enforcing, shadow: resolved.mode === "shadow" ? Shadow.make(enforcing) : undefined }
    yield* Effect.forkScoped(Recovery.forever(engine), { startImmediately: true })
    return engine
  })

// ---------------------------------------------------------------------------------------------------------------------
// operations without a reservation
// ---------------------------------------------------------------------------------------------------------------------

interface Request {
  readonly action: Action
  readonly subject?: Subject | undefined
  readonly idempotencyKey?: string | undefined
}

/** Adds the ambient subject and an idempotency key to a request. */
const completed = <A extends Request>(engine: Engine, options: A) =>
  Effect.map(CurrentSubject, (ambient) => ({
    ...options,
    idempotencyKey: options.idempotencyKey ?? engine.makeKey(),
    subject: subjectOf(engine.config.subject, ambient, options.subject)
  }))

/** Returns the decision that a reserve would get now. */
export const decide = (engine: Engine, options: Request & { readonly estimate: Amount }) =>
  Effect.gen(function* () {
    const body = yield* Requests.bodyOf(Operations.decide, yield* completed(engine, options))
    const call = engine.sender.send(Calls.decide(body, { action: options.action, requested: options.estimate }))
    return yield* Retry.waitingAtMost(call, engine.config.policies.maxRetryAfterMs)
  })

/**
 * Charges spend that was never reserved, to the run of the caller as well. After an ambiguous response it repeats the
 * request once with the same key. In shadow mode it sends nothing.
 */
export const event = (engine: Engine, options: Request & { readonly actual: Amount }) =>
  Effect.gen(function* () {
    const run = (yield* CurrentRun)?.[TypeId]
    const sent = yield* eventOf(engine, yield* completed(engine, options))
    if (run === undefined) return yield* sent
    const call = { action: options.action, amount: options.actual, step: (yield* CurrentStep) ?? run.steps }
    return yield* Effect.onExit(sent, (exit) => (Exit.isFailure(exit) ? Effect.void : chargeEvent(run, call)))
  })

/** The effect that sends an event. Fails if the event is invalid, except in shadow mode. */
const eventOf = (engine: Engine, event: Request & { readonly actual: Amount; readonly subject: Subject }) => {
  const body = Requests.bodyOf(Operations.event, event)
  const { shadow } = engine
  if (shadow !== undefined) {
    return Effect.map(Effect.match(body, { onFailure: (invalid) => invalid, onSuccess: () => undefined }), (invalid) =>
      shadow.event(event.subject, event.actual, invalid)
    )
  }
  return Effect.map(body, (text) => {
    const call = engine.sender.send(Calls.event(text, "caller", { action: event.action, requested: event.actual }))
    return Effect.catchIf(call, isAmbiguous, (first) => Effect.mapError(call, (second) => combine([first, second])))
  })
}

/** Emits the balances of the ambient subject, all pages. */
export const balances = (engine: Engine, query: BalanceQuery | undefined) =>
  Stream.unwrap(
    Effect.map(CurrentSubject, (ambient) => {
      const { dimensions: _, ...subject } = subjectOf(engine.config.subject, ambient, undefined)
      return pages(
        "balances",
        { ...subject, ...query },
        balancesOf(engine.sender.send),
        (response) => response.balances
      )
    })
  )

/** Retries everything that is unsettled, in this process and in the journal, and counts the rest. */
export const flush = (engine: Engine, timeout: Duration.Input | undefined) =>
  Effect.gen(function* () {
    const given = timeout === undefined ? engine.config.flushTimeoutMs : Limits.durationOf("flushTimeout", timeout)
    if (typeof given !== "number") {
      return yield* Effect.die(new RangeError(messageOf([{ ...given, field: "timeout" }])))
    }
    yield* engine.background.wake
    let hasSeenAll = false
    const scanned = Effect.map(Recovery.scan(engine), (isWhole) => {
      hasSeenAll = isWhole
    })
    yield* exitWithin(engine.timers, given, Effect.andThen(scanned, engine.background.idle(given)))
    const { isKnown, pending } = yield* engine.outbox.count(Math.max(1_000, given))
    const open = Math.max(pending, yield* engine.background.size)
    return { isComplete: hasSeenAll && isKnown && open === 0, pending: open }
  })
