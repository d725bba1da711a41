/**
 * What the compiler says of the public functions. Nothing here runs: `pnpm check` compiles it, a wrong type or an error that
 * is expected and does not come fails it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { pipe } from "effect/Function"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { expectTypeOf } from "vitest"
import { Amount, Cycles, Reservation } from "effect-cycles"
import type {
  CyclesClient,
  CyclesConfig,
  CyclesError,
  CyclesTransport,
  Heartbeat,
  Settlement,
  SettlementJournal
} from "effect-cycles"

interface Reply {
  readonly text: string
  readonly usage: { readonly total: number }
}

class ModelError {
  readonly _tag = "ModelError"
}

class Model extends Context.Service<Model, { readonly name: string }>()("test/Model") {}

declare const callModel: (prompt: string) => Effect.Effect<Reply, ModelError, Model>

declare const chunks: Stream.Stream<{ readonly tokens: number }, ModelError, Model>

const action = { kind: "llm.completion", name: "openai:gpt-5" }

const estimate = Amount.tokens(100)

type Call = CyclesError.CyclesError

/** Exactly this type, neither wider nor narrower. */
const exactly = <A, E, R>(effect: Effect.Effect<A, E, R>) => expectTypeOf(effect)

// ---------------------------------------------------------------------------------------------------------------------
// withCycles: what is inferred
// ---------------------------------------------------------------------------------------------------------------------

const measured = callModel("Hello").pipe(
  Cycles.withCycles({ action, estimate, actual: (reply) => Amount.tokens(reply.usage.total) })
)
exactly(measured).toEqualTypeOf<Effect.Effect<Reply, ModelError | Call, Model | Cycles.Cycles>>()

exactly(pipe(callModel("Hello"), Cycles.withCycles({ action, estimate }))).toEqualTypeOf<
  Effect.Effect<Reply, ModelError | Call, Model | Cycles.Cycles>
>()

exactly(
  Cycles.withCycles(callModel("Hello"), {
    action,
    estimate,
    actual: (reply) => Amount.tokens(reply.usage.total),
    metrics: (reply) => ({ tokensOutput: reply.usage.total })
  })
).toEqualTypeOf<Effect.Effect<Reply, ModelError | Call, Model | Cycles.Cycles>>()

const program = Effect.gen(function* () {
  const reply = yield* Cycles.withCycles(callModel("Hello"), { action, estimate })
  expectTypeOf(reply).toEqualTypeOf<Reply>()
  return reply.text
})
exactly(program).toEqualTypeOf<Effect.Effect<string, ModelError | Call, Model | Cycles.Cycles>>()

/** A guard in a constant keeps the type of what it wraps. */
const guard = Cycles.withCycles({ action, estimate })
exactly(callModel("Hello").pipe(guard)).toEqualTypeOf<Effect.Effect<Reply, ModelError | Call, Model | Cycles.Cycles>>()
exactly(Effect.fail("boom").pipe(guard)).toEqualTypeOf<Effect.Effect<never, string | Call, Cycles.Cycles>>()

const ask = Effect.fn("ask")(
  function* (prompt: string, limit: number) {
    const reply = yield* callModel(prompt)
    const reservation = yield* Reservation.Reservation
    return { ...reply, held: reservation.estimate, limit }
  },
  Cycles.withCycles({
    action: (prompt, _limit) => ({ kind: "llm.completion", name: prompt }),
    estimate: (prompt, limit) => Amount.tokens(prompt.length + limit),
    subject: (prompt) => ({ agent: prompt }),
    actual: (reply) => Amount.tokens(reply.usage.total)
  }),
  Effect.catchTag("ModelError", () => Effect.succeed("fallback"))
)
expectTypeOf(ask).parameters.toEqualTypeOf<[prompt: string, limit: number]>()
exactly(ask("hi", 1)).toEqualTypeOf<
  Effect.Effect<
    string | { held: Amount.Amount; limit: number; text: string; usage: Reply["usage"] },
    Call,
    Model | Cycles.Cycles
  >
>()

exactly(Cycles.withCyclesSettled(callModel("x"), { action, estimate })).toEqualTypeOf<
  Effect.Effect<readonly [Settlement.Settlement, Reply], ModelError | Call, Model | Cycles.Cycles>
>()

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

exactly(measured.pipe(Effect.catchTag("BudgetExceeded", () => Effect.succeed(0)))).toEqualTypeOf<
  Effect.Effect<Reply | number, ModelError | Exclude<Call, CyclesError.BudgetExceeded>, Model | Cycles.Cycles>
>()

const handled = measured.pipe(
  Effect.catchTags({
    BudgetExceeded: (error) => Effect.succeed(error.code),
    ApiError: (error) => Effect.succeed(error.status),
    TransportError: (error) => Effect.succeed(error.mayHaveArrived),
    ProtocolError: (error) => Effect.succeed(error.problem),
    InvalidRequest: (error) => Effect.succeed(error.fields)
  })
)
expectTypeOf<Effect.Error<typeof handled>>().toEqualTypeOf<ModelError>()

exactly(measured.pipe(Cycles.orElseDenied(() => callModel("cheap")))).toEqualTypeOf<
  Effect.Effect<Reply, ModelError | Exclude<Call, CyclesError.BudgetExceeded>, Model | Cycles.Cycles>
>()

/** Stricter policies add their error, and only they do. */
exactly(Effect.void.pipe(Cycles.withCycles({ action, estimate, heartbeat: "cancel" }))).toEqualTypeOf<
  Effect.Effect<void, Call | Heartbeat.LeaseLost, Cycles.Cycles>
>()
exactly(Effect.void.pipe(Cycles.withCycles({ action, estimate, heartbeat: "warn" }))).toEqualTypeOf<
  Effect.Effect<void, Call, Cycles.Cycles>
>()
exactly(Effect.void.pipe(Cycles.withCycles({ action, estimate, onUnsettled: "fail" }))).toEqualTypeOf<
  Effect.Effect<void, Call | Settlement.Unsettled, Cycles.Cycles>
>()
exactly(Effect.void.pipe(Cycles.withCycles({ action, estimate, idempotencyKey: "job-1" }))).toEqualTypeOf<
  Effect.Effect<void, Call | CyclesError.AlreadySettled, Cycles.Cycles>
>()

/** The seventeen codes are suggested and told apart; one that is not known is a text. */
const explain = (error: CyclesError.BudgetExceeded): string => {
  switch (error.code) {
    case "BUDGET_EXCEEDED":
    case "BUDGET_FROZEN":
      return "known"
    default:
      expectTypeOf(error.code).toExtend<string>()
      return error.code
  }
}
expectTypeOf(explain).returns.toBeString()

// ---------------------------------------------------------------------------------------------------------------------
// the reservation
// ---------------------------------------------------------------------------------------------------------------------

const recording = Reservation.record({ actual: estimate })
exactly(recording).toEqualTypeOf<Effect.Effect<void, Amount.UnitMismatch, Reservation.Reservation>>()
exactly(recording.pipe(guard)).toEqualTypeOf<Effect.Effect<void, Amount.UnitMismatch | Call, Cycles.Cycles>>()

/** Without a guard a body that asks for its reservation is no program that can run; with one it is. */
declare const cyclesLayer: Layer.Layer<Cycles.Cycles>
expectTypeOf(recording.pipe(Effect.provide(cyclesLayer))).not.toExtend<Effect.Effect<unknown, unknown>>()
expectTypeOf(recording.pipe(guard, Effect.provide(cyclesLayer))).toExtend<Effect.Effect<unknown, unknown>>()
expectTypeOf(Effect.void.pipe(guard)).not.toExtend<Effect.Effect<unknown, unknown>>()

declare const inside: Reservation.Shape
// @ts-expect-error the guard commits; the body can't
expectTypeOf(inside.commit)
// @ts-expect-error the guard releases; the body can't
expectTypeOf(inside.release)

const byHand = Cycles.reserve({ action, estimate })
exactly(byHand).toEqualTypeOf<Effect.Effect<Reservation.Active, Call, Cycles.Cycles | Scope.Scope>>()
exactly(Cycles.reserve({ action, estimate, heartbeat: "failOnFinalize" })).toEqualTypeOf<
  Effect.Effect<Reservation.Active<Heartbeat.LeaseLost>, Call, Cycles.Cycles | Scope.Scope>
>()
exactly(Effect.scoped(byHand)).toEqualTypeOf<Effect.Effect<Reservation.Active, Call, Cycles.Cycles>>()
exactly(Effect.flatMap(byHand, (reservation) => reservation.commit({ actual: estimate }))).toEqualTypeOf<
  Effect.Effect<
    Settlement.Settlement,
    Call | CyclesError.AlreadySettled | Amount.UnitMismatch,
    Cycles.Cycles | Scope.Scope
  >
>()

// ---------------------------------------------------------------------------------------------------------------------
// streams, decisions, layers
// ---------------------------------------------------------------------------------------------------------------------

const poem = chunks.pipe(Cycles.withCyclesStream({ action, estimate, usage: (chunk) => Amount.tokens(chunk.tokens) }))
expectTypeOf(poem).toEqualTypeOf<Stream.Stream<{ readonly tokens: number }, ModelError | Call, Model | Cycles.Cycles>>()
expectTypeOf(Cycles.withCyclesStream(chunks, { action, estimate, heartbeat: "cancel" })).toEqualTypeOf<
  Stream.Stream<{ readonly tokens: number }, ModelError | Call | Heartbeat.LeaseLost, Model | Cycles.Cycles>
>()
expectTypeOf(
  Stream.mapEffect(chunks, (chunk) => Reservation.add(Amount.tokens(chunk.tokens))).pipe(
    Cycles.withCyclesStream({ action, estimate })
  )
).toEqualTypeOf<Stream.Stream<void, ModelError | Amount.UnitMismatch | Call, Model | Cycles.Cycles>>()

const decision = Cycles.decide({ action, estimate })
expectTypeOf<Effect.Error<typeof decision>>().toEqualTypeOf<Call>()

declare const config: CyclesConfig.CyclesConfig
expectTypeOf(Cycles.layer(config)).toEqualTypeOf<
  Layer.Layer<
    Cycles.Cycles | CyclesClient.CyclesClient,
    never,
    CyclesTransport.CyclesTransport | SettlementJournal.SettlementJournal
  >
>()

// ---------------------------------------------------------------------------------------------------------------------
// what is refused
// ---------------------------------------------------------------------------------------------------------------------

declare const perhaps: (reply: Reply) => Amount.Amount | undefined

/** Each line has exactly the mistake that it names. */
export const refused = [
  // @ts-expect-error an amount has a unit
  Cycles.withCycles({ action, estimate: 100 }),
  // @ts-expect-error there is no default for how much to hold
  Cycles.withCycles({ action }),
  // @ts-expect-error there is no default for what is done
  Cycles.withCycles({ estimate }),
  // @ts-expect-error a misspelt option
  Cycles.withCycles({ action, estimate, estimated: estimate }),
  // @ts-expect-error no such policy
  Cycles.withCycles({ action, estimate, heartbeat: "never" }),
  // @ts-expect-error only the arguments of Effect.fn are handed on; a pipe has none
  Effect.void.pipe(Cycles.withCycles({ action, estimate: (prompt: string) => Amount.tokens(prompt.length) })),
  // @ts-expect-error an actual that may be nothing
  callModel("x").pipe(Cycles.withCycles({ action, estimate, actual: perhaps })),
  // @ts-expect-error data-first has no arguments to make an estimate from
  Cycles.withCycles(Effect.void, { action, estimate: (n: number) => Amount.tokens(n) })
]
