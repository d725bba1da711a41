/**
 * The types that the compiler infers for the public functions. `pnpm check` compiles this file, and fails if a type is
 * wrong or an expected error is missing. The file is never run.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { pipe } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CyclesClient } from "effect-cycles/CyclesClient"
import type { CyclesConfig } from "effect-cycles/CyclesConfig"
import type { AlreadySettled, BudgetExceeded, CyclesError, InvalidRequest } from "effect-cycles/CyclesError"
import type { CyclesTransport } from "effect-cycles/CyclesTransport"
import type { LeaseLost } from "effect-cycles/Heartbeat"
import { Amount, Cycles, Reservation, Run } from "effect-cycles"
import type { Settlement, Unsettled } from "effect-cycles/Settlement"
import type { SettlementJournal } from "effect-cycles/SettlementJournal"

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <Actual>(_: Actual) => ({
  as: <Expected>(..._ok: Equal<Actual, Expected> extends true ? [] : [never, Actual, Expected]): void => {}
})

interface Reply {
  readonly text: string
  readonly usage: { readonly total: number }
}
class ModelError {
  readonly _tag = "ModelError"
}
class Model extends Context.Service<Model, { readonly name: string }>()("test/Model") {}
class Audit extends Context.Service<Audit, { readonly write: (s: Settlement) => Effect.Effect<boolean> }>()(
  "test/Audit"
) {}
declare const callModel: (prompt: string) => Effect.Effect<Reply, ModelError, Model>
declare const chunks: Stream.Stream<{ readonly tokens: number }, ModelError, Model>
declare const dynamic: Amount.Amount
declare const config: CyclesConfig
const action = { kind: "llm.completion", name: "openai:gpt-5" }
const estimate = Amount.tokens(100)
type Guarded<A, E = never, R = never> = Effect.Effect<A, E | CyclesError, R | Cycles.Cycles>

// ---- inference of A
same(callModel("x").pipe(Cycles.withCycles({ action, estimate, actual: (r) => Amount.tokens(r.usage.total) }))).as<
  Guarded<Reply, ModelError, Model>
>()
same(
  pipe(
    callModel("x"),
    Cycles.withCycles({
      action,
      estimate,
      actual: (r) => Amount.tokens(r.usage.total),
      metrics: (r) => ({ tokensOutput: r.usage.total })
    })
  )
).as<Guarded<Reply, ModelError, Model>>()
same(Cycles.withCycles(callModel("x"), { action, estimate, actual: (r) => Amount.tokens(r.usage.total) })).as<
  Guarded<Reply, ModelError, Model>
>()
same(callModel("x").pipe(Cycles.withCycles({ action, actual: (r) => Amount.tokens(r.usage.total), estimate }))).as<
  Guarded<Reply, ModelError, Model>
>()
same(
  callModel("x").pipe(
    Effect.map((r) => r.text),
    Cycles.withCycles({ action, estimate, actual: (text) => Amount.tokens(text.length) }),
    Effect.map((s) => s.trim())
  )
).as<Guarded<string, ModelError, Model>>()
same(Effect.void.pipe(Cycles.withCycles({ action, estimate: () => estimate, actual: estimate }))).as<Guarded<void>>()

// ---- a guard in a constant keeps the types of its body
const guard = Cycles.withCycles({ action, estimate })
same(callModel("x").pipe(guard)).as<Guarded<Reply, ModelError, Model>>()
same(guard(callModel("x"))).as<Guarded<Reply, ModelError, Model>>()
same(Effect.fail("boom").pipe(guard)).as<Guarded<never, string>>()
same(Effect.never.pipe(guard)).as<Guarded<never>>()
const annotated = Cycles.withCycles({
  action,
  estimate,
  actual: (r: { readonly usage: { readonly total: number } }) => Amount.tokens(r.usage.total)
})
same(callModel("x").pipe(annotated)).as<Guarded<Reply, ModelError, Model>>() // Reply, not only the field that the callback uses
// @ts-expect-error a guard that measures a reply can't wrap text
Effect.succeed("text").pipe(annotated)

// ---- Effect.fn
const ask = Effect.fn("ask")(
  function* (prompt: string, limit: number) {
    const reply = yield* callModel(prompt)
    yield* Reservation.record({ actual: Amount.tokens(limit) })
    return reply
  },
  Cycles.withCycles({
    action: (prompt) => ({ kind: "llm", name: prompt }),
    estimate: (prompt, limit) => Amount.tokens(prompt.length + limit),
    subject: (prompt) => ({ agent: prompt }),
    idempotencyKey: (prompt, limit) => `${prompt}-${limit}`,
    actual: (reply) => Amount.tokens(reply.usage.total)
  }),
  Effect.catchTag("ModelError", () => Effect.succeed("fallback"))
)
same(ask).as<
  (
    prompt: string,
    limit: number
  ) => Effect.Effect<Reply | string, CyclesError | AlreadySettled | Amount.UnitMismatch, Model | Cycles.Cycles>
>()
const plain = Effect.fnUntraced(
  function* (prompt: string) {
    return yield* callModel(prompt)
  },
  Cycles.withCycles({ action, estimate, heartbeat: "cancel" })
)
same(plain).as<(prompt: string) => Effect.Effect<Reply, ModelError | CyclesError | LeaseLost, Model | Cycles.Cycles>>()
// a guard in a constant whose estimate comes from the arguments
const perPrompt = Cycles.withCycles<Reply, [prompt: string]>({
  action,
  estimate: (prompt) => Amount.tokens(prompt.length)
})
// @ts-expect-error the arguments of a guard in a constant must be annotated
Cycles.withCycles({ action, estimate: (prompt: string) => Amount.tokens(prompt.length) })
same(
  Effect.fn("x")(
    function* (prompt: string, limit: number) {
      return yield* callModel(prompt + limit)
    },
    Cycles.withCycles({ action, estimate: (prompt) => Amount.tokens(prompt.length) })
  )
).as<(prompt: string, limit: number) => Guarded<Reply, ModelError, Model>>()
same(
  Effect.fn("x")(
    function* (prompt: string, limit: number) {
      return yield* callModel(prompt + limit)
    },
    Cycles.withCycles({
      action,
      estimate: (_, limit: number) => Amount.tokens(limit),
      actual: (r) => Amount.tokens(r.usage.total)
    })
  )
).as<(prompt: string, limit: number) => Guarded<Reply, ModelError, Model>>()
same(
  Effect.fn("x")(
    function* (job: { readonly id: string }, ...prompts: ReadonlyArray<string>) {
      return yield* callModel(job.id + prompts.length)
    },
    Cycles.withCycles({
      action,
      estimate: (_, ...prompts) => Amount.tokens(prompts.length),
      idempotencyKey: (job) => job.id
    })
  )
).as<
  (
    job: { readonly id: string },
    ...prompts: ReadonlyArray<string>
  ) => Guarded<Reply, ModelError | AlreadySettled, Model>
>()
same(
  Effect.fn("x")(
    function* (prompt: string, limit?: number) {
      return yield* callModel(prompt + limit)
    },
    Effect.map((r) => r.usage),
    Cycles.withCycles({
      action,
      estimate: (prompt, limit = 10) => Amount.tokens(limit),
      actual: (usage) => Amount.tokens(usage.total)
    }),
    Effect.map((u) => u.total)
  )
).as<(prompt: string, limit?: number) => Guarded<number, ModelError, Model>>()
same(
  Effect.fn("x")(function* (prompt: string) {
    return yield* callModel(prompt)
  }, perPrompt)
).as<(prompt: string) => Guarded<Reply, ModelError, Model>>()

// ---- the errors that the policies add
same(Effect.void.pipe(Cycles.withCycles({ action, estimate, heartbeat: "cancel" }))).as<Guarded<void, LeaseLost>>()
same(Effect.void.pipe(Cycles.withCycles({ action, estimate, heartbeat: "failOnFinalize" }))).as<
  Guarded<void, LeaseLost>
>()
same(Effect.void.pipe(Cycles.withCycles({ action, estimate, heartbeat: "warn" }))).as<Guarded<void>>()
same(Effect.void.pipe(Cycles.withCycles({ action, estimate, heartbeat: undefined }))).as<Guarded<void, LeaseLost>>() // an explicit undefined allows any policy
declare const policy: Cycles.Heartbeat | undefined
same(Effect.void.pipe(Cycles.withCycles({ action, estimate, heartbeat: policy }))).as<Guarded<void, LeaseLost>>()
same(Effect.void.pipe(Cycles.withCycles({ action, estimate, onUnsettled: "fail" }))).as<Guarded<void, Unsettled>>()
declare const key: string | undefined
same(Effect.void.pipe(Cycles.withCycles({ action, estimate, idempotencyKey: key }))).as<Guarded<void, AlreadySettled>>()
same(Effect.void.pipe(Cycles.withCycles({ action, estimate, idempotencyKey: key, onRepeat: "again" }))).as<
  Guarded<void, AlreadySettled>
>()
same(Cycles.reserve({ action, estimate, idempotencyKey: "job", onRepeat: "ifReleased" })).as<
  Effect.Effect<Reservation.Active<"TOKENS">, CyclesError | AlreadySettled, Cycles.Cycles | Scope.Scope>
>()
export const withoutKey = [
  // @ts-expect-error onRepeat needs a caller-supplied key
  Effect.void.pipe(Cycles.withCycles({ action, estimate, onRepeat: "again" })),
  // @ts-expect-error onRepeat needs a caller-supplied key
  Cycles.reserve({ action, estimate, onRepeat: "again" }),
  // @ts-expect-error onRepeat needs a caller-supplied key
  Cycles.withCyclesStream(Stream.make(1), { action, estimate, onRepeat: "again" })
]
declare const stored: Cycles.GuardOptions<void, [], "TOKENS">
same(Effect.void.pipe(Cycles.withCycles(stored))).as<Guarded<void, LeaseLost | Unsettled | AlreadySettled>>()

// ---- onSettled
same(
  Effect.gen(function* () {
    const ref = yield* Ref.make<Option.Option<Settlement>>(Option.none())
    const once = yield* Deferred.make<Settlement>()
    yield* Effect.void.pipe(Cycles.withCycles({ action, estimate, onSettled: (s) => Ref.set(ref, Option.some(s)) }))
    yield* Effect.void.pipe(Cycles.withCycles({ action, estimate, onSettled: (s) => Deferred.succeed(once, s) }))
  })
).as<Guarded<void>>()
same(
  callModel("x").pipe(
    Cycles.withCycles({
      action,
      estimate,
      actual: (r) => Amount.tokens(r.usage.total),
      onSettled: (s) => Effect.flatMap(Audit, (_) => _.write(s))
    })
  )
).as<Guarded<Reply, ModelError, Model | Audit>>()
type Fails = (settlement: Settlement) => Effect.Effect<void, string>
same<Fails extends NonNullable<Cycles.GuardOptions["onSettled"]> ? true : false>(false).as<false>()
same(
  chunks.pipe(
    Cycles.withCyclesStream({
      action,
      estimate,
      usage: (c) => Amount.tokens(c.tokens),
      onSettled: (s) => Effect.flatMap(Audit, (_) => _.write(s))
    })
  )
).as<Stream.Stream<{ readonly tokens: number }, ModelError | CyclesError, Model | Audit | Cycles.Cycles>>()

// ---- units
same(estimate).as<Amount.Amount<"TOKENS">>()
same(Amount.make("WIDGETS", 3)).as<Amount.Amount<"WIDGETS">>()
same(Amount.sum(estimate, estimate)).as<Amount.Amount<"TOKENS">>()
same(pipe(estimate, Amount.sum(Amount.tokens(1)), Amount.subtract(Amount.tokens(2)))).as<Amount.Amount<"TOKENS">>()
export const wide: Amount.Amount = estimate
export const open: Amount.Amount<string> = estimate
export const back: Amount.Amount = open
if (Amount.hasUnit(dynamic, "TOKENS")) same(Amount.sum(estimate, dynamic)).as<Amount.Amount<"TOKENS">>()
// @ts-expect-error units differ
pipe(estimate, Amount.sum(Amount.usd(1)))
// @ts-expect-error the unit is known only at run time
Amount.sum(estimate, dynamic)
// @ts-expect-error a literal isn't an amount
export const literal: Amount.Amount = { unit: "TOKENS", amount: -10n, toString: () => "" }
same(Effect.void.pipe(Cycles.withCycles({ action, estimate: dynamic, actual: estimate }))).as<Guarded<void>>() // checked at run time
export const anyUnit = Effect.void.pipe(
  // @ts-expect-error the estimate is in tokens, the actual amount may be in any unit
  Cycles.withCycles({ action, estimate, actual: dynamic })
)

// ---- streams
same(
  chunks.pipe(
    Cycles.withCyclesStream({
      action,
      estimate: Amount.usd("0.1"),
      usage: (c) => Amount.tokens(c.tokens),
      cost: (used) => Amount.usd(Number(used.amount) * 0.000003)
    })
  )
).as<Stream.Stream<{ readonly tokens: number }, ModelError | CyclesError, Model | Cycles.Cycles>>()
same(
  Cycles.withCyclesStream(chunks, {
    action,
    estimate,
    usage: (c) => (c.tokens > 0 ? Amount.tokens(c.tokens) : undefined),
    heartbeat: "cancel"
  })
).as<Stream.Stream<{ readonly tokens: number }, ModelError | CyclesError | LeaseLost, Model | Cycles.Cycles>>()
const streamGuard = Cycles.withCyclesStream({ action, estimate })
same(chunks.pipe(streamGuard)).as<
  Stream.Stream<{ readonly tokens: number }, ModelError | CyclesError, Model | Cycles.Cycles>
>()
same(
  chunks.pipe(
    Stream.mapEffect((c) => Reservation.record({ actual: Amount.tokens(c.tokens) })),
    Cycles.withCyclesStream({ action, estimate })
  )
).as<Stream.Stream<void, ModelError | Amount.UnitMismatch | CyclesError, Model | Cycles.Cycles>>()

// ---- reservations without a guard
const held = Cycles.reserve({ action, estimate })
same(held).as<Effect.Effect<Reservation.Active<"TOKENS">, CyclesError, Cycles.Cycles | Scope.Scope>>()
same(Effect.flatMap(held, (_) => _.commit({ actual: estimate }))).as<
  Effect.Effect<Settlement, CyclesError | AlreadySettled | InvalidRequest, Cycles.Cycles | Scope.Scope>
>()
same(Effect.flatMap(Cycles.reserve({ action, estimate: dynamic }), (_) => _.commit({ actual: estimate }))).as<
  Effect.Effect<
    Settlement,
    CyclesError | AlreadySettled | InvalidRequest | Amount.UnitMismatch,
    Cycles.Cycles | Scope.Scope
  >
>()
same(Cycles.reserve({ action, estimate, heartbeat: "cancel", idempotencyKey: "job" })).as<
  Effect.Effect<Reservation.Active<"TOKENS", LeaseLost>, CyclesError | AlreadySettled, Cycles.Cycles | Scope.Scope>
>()
export const provided = Effect.flatMap(held, (reservation) =>
  Effect.provideService(Reservation.record({ actual: estimate }), Reservation.Reservation, reservation)
)

// ---- generic code
export const metered = <A extends { readonly usage: { readonly total: number } }, E, R>(self: Effect.Effect<A, E, R>) =>
  Cycles.withCycles(self, { action, estimate, actual: (a) => Amount.tokens(a.usage.total) })
same(metered(callModel("x"))).as<Guarded<Reply, ModelError, Model>>()
export const meteredLast = <A extends { readonly usage: { readonly total: number } }, E, R>(
  self: Effect.Effect<A, E, R>
) => self.pipe(Cycles.withCycles({ action, estimate, actual: (a) => Amount.tokens(a.usage.total) }))
same(meteredLast(callModel("x"))).as<Guarded<Reply, ModelError, Model>>()
export const ofUnit = <U extends Amount.Unit>(estimate: Amount.Amount<U>, actual: Amount.Amount<U>) =>
  Effect.void.pipe(Cycles.withCycles({ action, estimate, actual }))
export const never = Effect.void.pipe(
  Cycles.withCycles({
    action,
    estimate,
    actual: (_) => {
      throw new Error("x")
    }
  })
)

// ---- requirements
declare const cyclesLayer: Layer.Layer<Cycles.Cycles>
declare const modelLayer: Layer.Layer<Model>
same(callModel("x").pipe(guard, Effect.provide([cyclesLayer, modelLayer]))).as<
  Effect.Effect<Reply, ModelError | CyclesError>
>()
same(Reservation.record({ actual: estimate }).pipe(guard)).as<Guarded<void, Amount.UnitMismatch>>()

// ---- options that several guards share
const shared = { heartbeat: "cancel", onUnsettled: "fail" } as const
same(
  callModel("x").pipe(Cycles.withCycles({ ...shared, action, estimate, actual: (r) => Amount.tokens(r.usage.total) }))
).as<Guarded<Reply, ModelError | LeaseLost | Unsettled, Model>>()
export const strictly = <A, Args extends ReadonlyArray<unknown> = [], U extends Amount.Unit = Amount.Unit>(
  options: Cycles.GuardOptions<A, Args, U, "cancel", "report", never>
) => Cycles.withCycles({ ...options, heartbeat: "cancel" })
same(callModel("x").pipe(strictly({ action, estimate, actual: (r) => Amount.tokens(r.usage.total) }))).as<
  Guarded<Reply, ModelError | LeaseLost, Model>
>()

// ---- declarations that users export
export const exportedGuard = guard
export const exportedCall = ask
export const exportedReservation = held
export const anyKey = <const K extends string>(idempotencyKey: K) =>
  Effect.void.pipe(Cycles.withCycles({ action, estimate, idempotencyKey }))
export const anyHeartbeat = <const H extends Cycles.Heartbeat>(heartbeat: H) =>
  Effect.void.pipe(Cycles.withCycles({ action, estimate, heartbeat }))

// ---- special cases
same(
  Effect.fn("x")(
    function* (n: number) {
      return n
    },
    Cycles.withCycles({ action, estimate: (n) => Amount.tokens(n), actual: (n) => Amount.tokens(n) })
  )
).as<(n: number) => Guarded<number>>()
same(
  callModel("x").pipe(
    Cycles.withCycles({ action, estimate, actual: (r) => Amount.tokens(r.usage.total) }),
    Cycles.withCycles({ action, estimate: Amount.usd("0.1"), actual: (r) => Amount.usd(r.usage.total * 0.000003) })
  )
).as<Guarded<Reply, ModelError, Model>>()
same(Exit.succeed(1).pipe(Cycles.withCycles({ action, estimate, actual: (n) => Amount.tokens(n) }))).as<
  Guarded<number>
>()
same(
  Effect.forEach([1, 2], (n) =>
    Effect.succeed(n).pipe(Cycles.withCycles({ action, estimate, actual: (m) => Amount.tokens(m) }))
  )
).as<Guarded<Array<number>>>()
same(Effect.retry(callModel("x").pipe(guard), { times: 2, while: (e) => e._tag === "TransportError" })).as<
  Guarded<Reply, ModelError, Model>
>()
same(
  Stream.fromIterable(["a"]).pipe(
    Cycles.withCyclesStream({ action, estimate, usage: (s) => Amount.tokens(s.length), finalUsage: () => undefined }),
    Stream.map((s) => s.length)
  )
).as<Stream.Stream<number, CyclesError, Cycles.Cycles>>()
declare const flag: boolean
// a known gap: an estimate of one of two units accepts an actual amount of either unit
export const gap = Effect.void.pipe(
  Cycles.withCycles({ action, estimate: flag ? Amount.tokens(1) : Amount.usd(1), actual: Amount.tokens(1) })
)

// ---- errors
same(
  callModel("x").pipe(
    guard,
    Effect.catchTag("BudgetExceeded", () => Effect.succeed(0))
  )
).as<Effect.Effect<Reply | number, ModelError | Exclude<CyclesError, BudgetExceeded>, Model | Cycles.Cycles>>()
same(
  callModel("x").pipe(
    guard,
    Cycles.orElseDenied(() => callModel("cheap"))
  )
).as<Effect.Effect<Reply, ModelError | Exclude<CyclesError, BudgetExceeded>, Model | Cycles.Cycles>>()
export const byReason = callModel("x").pipe(
  guard,
  Effect.catchReason("ApiError", "RateLimited", (reason) => Effect.succeed(reason.retryAfter))
)
// @ts-expect-error there is no such reason
export const noReason = Effect.catchReason(callModel("x").pipe(guard), "ApiError", "RateLimit", () => Effect.void)
same(
  callModel("x").pipe(
    guard,
    Effect.catchTags({
      BudgetExceeded: (error) => Effect.succeed(error.code),
      ApiError: (error) => Effect.succeed(error.reason._tag),
      TransportError: (error) => Effect.succeed(error.mayHaveArrived),
      ProtocolError: (error) => Effect.succeed(error.problem),
      InvalidRequest: (error) => Effect.succeed(error.fields.length)
    }),
    Effect.as(1)
  )
).as<Effect.Effect<number, ModelError, Model | Cycles.Cycles>>()

// ---- the body can't settle
declare const inside: Reservation.Reservation
// @ts-expect-error the guard commits, not the body
export const commitInside = inside.commit
// @ts-expect-error the guard releases, not the body
export const releaseInside = inside.release

// ---- runs
same(callModel("x").pipe(Cycles.withBudget(Amount.tokens(1)))).as<
  Effect.Effect<Reply, ModelError | BudgetExceeded, Model>
>()
same(Cycles.withBudget(Effect.scope, [Amount.tokens(1), Amount.credits(1)], { share: "carve" })).as<
  Effect.Effect<Scope.Scope, BudgetExceeded, Scope.Scope>
>()
same(Run.make({ budget: Amount.tokens(1) })).as<Effect.Effect<Run.Run, BudgetExceeded, Scope.Scope>>()
declare const run: Run.Run
same(callModel("x").pipe(Run.within(run))).as<Effect.Effect<Reply, ModelError, Model>>()
same(Run.withinStream(Stream.fromEffect(callModel("x")), run)).as<Stream.Stream<Reply, ModelError, Model>>()
same(callModel("x").pipe(Run.outside)).as<Effect.Effect<Reply, ModelError, Model>>()

// ---- layers
same(Cycles.layer(config)).as<Layer.Layer<Cycles.Cycles | CyclesClient, never, CyclesTransport | SettlementJournal>>()

// ---- mistakes
declare const perhaps: (reply: Reply) => Amount.Amount<"TOKENS"> | undefined
export const refused = [
  // @ts-expect-error an amount has a unit
  Cycles.withCycles({ action, estimate: 100 }),
  // @ts-expect-error there is no default estimate
  Cycles.withCycles({ action }),
  // @ts-expect-error there is no default action
  Cycles.withCycles({ estimate }),
  // @ts-expect-error a misspelt option
  Cycles.withCycles({ action, estimate, estimated: estimate }),
  // @ts-expect-error no such policy
  Cycles.withCycles({ action, estimate, heartbeat: "never" }),
  // @ts-expect-error an actual amount that may be absent
  callModel("x").pipe(Cycles.withCycles({ action, estimate, actual: perhaps })),
  // @ts-expect-error data-first passes no arguments on
  Cycles.withCycles(Effect.void, { action, estimate: (n: number) => Amount.tokens(n) })
]

// ---- Run.outcome: the value and the errors of the job, and no scope
declare const wrapped: (error: ModelError) => BudgetExceeded | undefined
declare const anyDenial: (error: unknown) => BudgetExceeded | undefined
type Ended = Effect.Effect<Run.Outcome<Reply, ModelError>, BudgetExceeded, Model>
same(callModel("x").pipe(Run.outcome({ budget: estimate }))).as<Ended>()
same(callModel("x").pipe(Run.outcome({ denialOf: wrapped }))).as<Ended>()
same(callModel("x").pipe(Run.outcome({ denialOf: anyDenial }))).as<Ended>()
same(Run.outcome(callModel("x"), { limits: { steps: 3, repeats: { default: 3, CheckStatus: 100 } } })).as<Ended>()
same(Run.outcome(callModel("x"), { denialOf: wrapped })).as<Ended>()
same(Run.outcome(callModel("x"), { denialOf: anyDenial })).as<Ended>()
same(
  Run.outcome(callModel("x"), {
    denialOf: (error) => {
      same(error).as<ModelError>()
      return undefined
    }
  })
).as<Ended>()
// @ts-expect-error The job has errors that denialOf doesn't accept.
void ({ denialOf: (_: "other") => undefined } satisfies Run.OutcomeOptions<ModelError>)
// @ts-expect-error The scope of the job stays in its requirements.
same(Run.outcome(Effect.as(Effect.scope, 1), {})).as<Effect.Effect<Run.Outcome<number>, BudgetExceeded>>()
// @ts-expect-error Repeats by tool need a default.
void Run.make({ limits: { repeats: { CheckStatus: 100 } } })

// ---- Run with hold: the client, and the errors of its reserve

same(Run.make({ budget: Amount.tokens(1), hold: true })).as<
  Effect.Effect<Run.Run, CyclesError, Scope.Scope | Cycles.Cycles>
>()
same(Run.make({ budget: Amount.tokens(1), hold: false })).as<Effect.Effect<Run.Run, BudgetExceeded, Scope.Scope>>()
same(Cycles.withBudget(Effect.scope, Amount.tokens(1), { hold: true })).as<
  Effect.Effect<Scope.Scope, CyclesError, Scope.Scope | Cycles.Cycles>
>()
same(Effect.succeed(1).pipe(Run.outcome({ budget: Amount.tokens(1), hold: true }))).as<
  Effect.Effect<Run.Outcome<number>, CyclesError, Cycles.Cycles>
>()
declare const maybe: boolean
same(Run.make({ hold: maybe })).as<Effect.Effect<Run.Run, CyclesError, Scope.Scope | Cycles.Cycles>>()
