/** Values of callers in every option of the API, as programs in JavaScript can pass them. On virtual time. */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Arbitrary from "effect/Arbitrary"
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Cycles from "effect-cycles/Cycles"
import type { CyclesConfig } from "effect-cycles/CyclesConfig"
import { isCyclesError } from "effect-cycles/CyclesError"
import * as Reservation from "effect-cycles/Reservation"
import * as Run from "effect-cycles/Run"
import { CyclesTransport } from "effect-cycles/CyclesTransport"
import * as SettlementJournal from "effect-cycles/SettlementJournal"
import { withSubject } from "effect-cycles/Subject"
import * as Processes from "../injection/process.ts"
import type { Area } from "./area.ts"
import type { HostileName } from "./hostileValues.ts"
import { Hostile, hostileValues } from "./hostileValues.ts"
import * as Watch from "./watch.ts"

const forms = [
  "withCycles",
  "stream",
  "reserve",
  "decide",
  "event",
  "record",
  "add",
  "commit",
  "release",
  "extend",
  "run",
  "balances",
  "withSubject",
  "layer"
] as const

type Form = (typeof forms)[number]

const names = Object.keys(hostileValues).filter((name): name is HostileName => Object.hasOwn(hostileValues, name))

const Case = Schema.Struct({
  form: Schema.Literals(forms),
  /** The option, modulo the number of options of the form. 0 replaces all options. */
  place: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 59 })),
  value: Schema.Literals(names),
  /** Whether a function returns the value, for the options that take one. */
  isReturned: Schema.Boolean
})

type Case = typeof Case.Type

const spend = 42

const action = { kind: "llm.completion", name: "fuzz" }
const estimate = Amount.tokens(100)
const actual = Amount.tokens(spend)
const metrics = { tokensInput: 1, tokensOutput: 2, latencyMs: 3, modelVersion: "m", custom: { a: 1 } }
const metadata = { a: [1, "b", null] }
const subject = { workspace: "w", agent: "planner", dimensions: { a: "b" } }

const lease = {
  ttl: "60 seconds",
  extendBy: "60 seconds",
  gracePeriod: "5 seconds",
  overagePolicy: "ALLOW_IF_AVAILABLE",
  dryRun: false,
  onFailure: "partial",
  onCrash: "expire",
  settle: "attempt",
  maxRetryAfter: "1 second",
  heartbeat: "warn",
  onSettled: () => Effect.void
}

/** The valid options of each form. */
const valid: { readonly [F in Form]: Readonly<Record<string, unknown>> } = {
  withCycles: {
    action,
    estimate,
    actual,
    metrics,
    subject,
    metadata,
    idempotencyKey: "k",
    onUnsettled: "report",
    ...lease
  },
  stream: {
    action,
    estimate,
    subject,
    metadata,
    idempotencyKey: "k",
    usage: () => actual,
    finalUsage: () => actual,
    cost: () => actual,
    ...lease
  },
  reserve: { action, estimate, subject, metadata, idempotencyKey: "k", ...lease },
  decide: { action, estimate, subject, metadata, idempotencyKey: "k" },
  event: { action, actual, subject, metadata, metrics, idempotencyKey: "k", overagePolicy: "REJECT" },
  record: { actual, isEstimated: false, metrics },
  add: { ...actual },
  commit: { actual, isEstimated: false, metrics, metadata },
  release: { reason: "why" },
  extend: { by: "1 minute" },
  run: {
    name: "n",
    id: "i",
    budget: Amount.tokens(1_000),
    parent: "ambient",
    share: "remaining",
    uncovered: "deny",
    thresholds: [0.5],
    onThreshold: () => Effect.void
  },
  balances: { tenant: "acme", agent: "planner", includeChildren: true, limit: 10, cursor: "c" },
  withSubject: subject,
  layer: {
    timeout: "10 seconds",
    maxConcurrency: 16,
    idleProbeAfter: "1 minute",
    subject: { tenant: "acme" },
    ttl: "60 seconds",
    extendBy: "60 seconds",
    gracePeriod: "5 seconds",
    overagePolicy: "REJECT",
    onFailure: "partial",
    onCrash: "expire",
    settle: "attempt",
    retry: undefined,
    maxRetryAfter: "1 second",
    flushTimeout: "1 second",
    scanInterval: "1 minute",
    baseUrl: "http://cycles.local",
    adminKey: undefined
  }
}

/** The options of a case, with one of them, or one field of it, replaced. */
const optionsOf = ({ form, isReturned, place, value }: Case): unknown => {
  const options = valid[form]
  const keys = Object.keys(unchecked(options))
  const make = hostileValues[value]
  const index = place % (keys.length + 1)
  const key = keys[index - 1]
  if (key === undefined) return make(unchecked(options))
  const good = options[key]
  const made = isInner(place, good)
    ? { ...Object(good), [Object.keys(Object(good))[place % Object.keys(Object(good)).length] ?? "x"]: make("text") }
    : make(good)
  return { ...options, [key]: isReturned ? () => made : made }
}

const isInner = (place: number, good: unknown): boolean => place >= 30 && typeof good === "object" && good !== null

/** The area. */
export const userValues: Area<Case> = {
  name: "user-values",
  weight: 2,
  concurrency: 1,
  cases: Arbitrary.schema(Case),
  start: (scan) =>
    Effect.succeed((value) =>
      Watch.within(
        limits,
        scan.watch(Effect.scoped(play(value, scan))).pipe(Effect.provide(TestClock.layer())),
        // An async function of the caller, in place of a function that returns at once.
        { rejection: (reason) => reason instanceof Hostile }
      )
    )
}

const limits: Watch.Limits = { timeMs: 30_000, bytes: 400 * 1_048_576 }

const play = (
  value: Case,
  scan: { readonly hide: (secret: string) => void; readonly see: (where: string, value: unknown) => void }
) =>
  Effect.gen(function* () {
    const violations: Array<string> = []
    const server = yield* CyclesServer.makeMemoryServer({ budgets: [{ unit: "TOKENS", allocated: 1_000_000 }] })
    scan.hide(Redacted.value(server.apiKey))
    const scope = yield* Scope.make()
    const common = { baseUrl: server.baseUrl, apiKey: server.apiKey, subject: { tenant: server.tenant } }
    const config = () =>
      value.form === "layer" ? unchecked<CyclesConfig>({ ...common, ...Object(optionsOf(value)) }) : common
    const build = Effect.suspend(() =>
      Layer.buildWithScope(
        Layer.provide(Cycles.layer(config()), [
          Layer.succeed(CyclesTransport, CyclesServer.transport(server)),
          SettlementJournal.layerMemory
        ]),
        scope
      )
    )
    const built = yield* Effect.exit(build)
    if (Exit.isFailure(built)) {
      scan.see("error", built)
      return violationsOf(built)
    }
    let hasBegun = false
    const began = Effect.sync(() => void (hasBegun = true))
    const call = Effect.provideContext(
      Effect.suspend(() => callOf(value, began)),
      built.value
    )
    const ended = yield* Processes.until(300_000, call)
    if (ended === undefined) violations.push("the call never ended")
    else {
      scan.see("error", ended.exit)
      violations.push(...violationsOf(ended.exit))
    }
    yield* TestClock.adjust("5 minutes")
    const flushed = yield* Processes.until(60_000, Effect.provideContext(Cycles.flush("10 seconds"), built.value))
    if (flushed?.exit._tag !== "Success" || !flushed.exit.value.isComplete) {
      violations.push(`flush returned ${JSON.stringify(flushed?.exit)}`)
    }
    const letters = yield* Effect.orDie(Effect.provideContext(Stream.runCollect(Cycles.deadLetters), built.value))
    const { reserved, spent } = yield* server.books("TOKENS")
    if (reserved > 0n) violations.push(`${reserved} are reserved at the end`)
    if (!hasBegun && spent > 0n && value.form !== "event") violations.push(`${spent} were charged without a call`)
    if (hasBegun && spent === 0n && letters.length === 0 && !mayBeFree(value)) violations.push("known spend was lost")
    if ((yield* Processes.until(120_000, Scope.close(scope, Exit.void))) === undefined) {
      violations.push("closing the layer never ended")
    }
    return violations
  })

/** A dry run charges nothing, and a zero is a valid amount. */
const mayBeFree = ({ form, value }: Case): boolean => form === "release" || value === "true" || value === "zero"

/**
 * Typed errors, and the defects of a wrong program: an `InvalidRequest`, a `RangeError` or a `TypeError` of a check
 * that names the option, or an error that the value of the caller throws.
 */
const violationsOf = (exit: Exit.Exit<unknown, unknown>): ReadonlyArray<string> => {
  if (Exit.isSuccess(exit)) return []
  return exit.cause.reasons.flatMap((reason) => {
    if (reason._tag === "Interrupt") return []
    if (reason._tag === "Fail") return isTagged(reason.error) ? [] : [`not a typed error: ${Cause.pretty(exit.cause)}`]
    const { defect } = reason
    if (defect instanceof Hostile || isCyclesError(defect)) return []
    const isRefusal =
      (defect instanceof RangeError || defect instanceof TypeError) &&
      [refusal, ...exceptions].some((pattern) => pattern.test(defect.message))
    return isRefusal ? [] : [`a defect that names no option: ${Cause.pretty(exit.cause)}`]
  })
}

const isTagged = (error: unknown): boolean => typeof error === "object" && error !== null && "_tag" in error

const optionNames = Array.from(new Set(Object.values(valid).flatMap((options) => Object.keys(options))))

const functions = ["usage", "finalUsage", "cost", "onSettled", "onThreshold"]

/** The messages of checks: the option, what it must be, and what it is. Those of the engine have another form. */
const refusal = new RegExp(`^(${optionNames.join("|")})(\\.\\w+)?(: expected | must be )`)

/** Other messages that are accepted. */
const exceptions: ReadonlyArray<RegExp> = [
  // `Reservation.add` and the results of functions have no name.
  /^The spend must be an amount as /,
  /^An amount must be (a number )?from 0 to /,
  // The engine names the option.
  new RegExp(`^(${functions.join("|")}) is not a function$`),
  // The value of the caller throws.
  /^Cannot perform '\w+' on a proxy that has been revoked$/,
  // All options are missing.
  /^Cannot (read properties of|destructure property '\w+' of '[^']*' as it is) (null|undefined)/
]

/** A value that the compiler doesn't check, as in a program in JavaScript. */
function unchecked<A>(value: unknown): A
function unchecked(value: unknown): unknown {
  return value
}

const callOf = (value: Case, began: Effect.Effect<void>): Effect.Effect<unknown, unknown, Cycles.Cycles> => {
  const options = optionsOf(value)
  const body = Effect.andThen(Reservation.record({ actual }), began)
  const guarded = <E>(effect: Effect.Effect<unknown, E, Reservation.Reservation>) =>
    Cycles.withCycles(Effect.andThen(body, effect), { action, estimate })
  const reserved = <E>(use: (reservation: Reservation.Active<"TOKENS">) => Effect.Effect<unknown, E>) =>
    Effect.scoped(
      Effect.gen(function* () {
        const reservation = yield* Cycles.reserve({ action, estimate })
        yield* reservation.record({ actual })
        yield* began
        return yield* use(reservation)
      })
    )
  switch (value.form) {
    case "withCycles":
      return Cycles.withCycles(body, unchecked<Cycles.GuardOptions>(options))
    case "stream":
      return Stream.runDrain(Cycles.withCyclesStream(Stream.fromEffect(body), unchecked<Cycles.StreamOptions>(options)))
    case "reserve":
      return Effect.scoped(
        Effect.gen(function* () {
          const reservation = yield* Cycles.reserve(unchecked<Cycles.ReserveOptions>(options))
          yield* reservation.record({ actual })
          yield* began
        })
      )
    case "decide":
      return Cycles.decide(unchecked(options))
    case "event":
      return Cycles.event(unchecked(options))
    case "record":
      return guarded(Reservation.record(unchecked(options)))
    case "add":
      return guarded(Reservation.add(unchecked(options)))
    case "commit":
      return reserved((reservation) => reservation.commit(unchecked(options)))
    case "release":
      return reserved((reservation) => reservation.release(unchecked(hostileValues[value.value]("why"))))
    case "extend":
      return reserved((reservation) => reservation.extend(unchecked(hostileValues[value.value]("1 minute"))))
    case "run":
      return Effect.scoped(
        Effect.flatMap(Run.make(unchecked<Run.Options>(options)), (run) =>
          Run.within(Cycles.withCycles(body, { action, estimate }), run)
        )
      )
    case "balances":
      return Stream.runDrain(Cycles.balances(unchecked(options)))
    case "withSubject":
      return withSubject(Cycles.withCycles(body, { action, estimate }), unchecked(options))
    case "layer":
      return Cycles.withCycles(body, { action, estimate })
  }
}
