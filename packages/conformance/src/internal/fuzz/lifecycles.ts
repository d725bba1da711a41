/**
 * Guarded calls over an embedded server whose responses are damaged on the way: the server processes each request, and
 * the client gets something else. Known spend is still charged exactly once, or kept as a dead letter. On virtual time.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Arbitrary from "effect/Arbitrary"
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import * as CyclesTransport from "effect-cycles/CyclesTransport"
import type { TransportResponse } from "effect-cycles/CyclesTransport"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Cycles from "effect-cycles/Cycles"
import { isCyclesError } from "effect-cycles/CyclesError"
import * as Reservation from "effect-cycles/Reservation"
import * as SettlementJournal from "effect-cycles/SettlementJournal"
import * as Processes from "../injection/process.ts"
import type { Area } from "./area.ts"
import * as Json from "./json.ts"
import * as Watch from "./watch.ts"

const Damage = Schema.Struct({
  /** The number of requests that pass unchanged before this damage, counted from the damage before. */
  after: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 })),
  shape: Schema.Literals([
    "body",
    "body",
    "body",
    "body",
    "body",
    "headers",
    "undefined",
    "text",
    "no body",
    "no headers",
    "throwing headers",
    "no status",
    "frozen",
    "never",
    "throws",
    "throws late",
    "not an Exit",
    "twice",
    "fails with null",
    "fails with a text",
    "fails with a proxy",
    "dies",
    "interrupts",
    "many attempts"
  ]),
  status: Schema.Literals([
    0, 0, 0, 100, 200, 201, 204, 302, 304, 400, 401, 403, 404, 409, 410, 413, 429, 500, 503, 599
  ]),
  mutations: Json.Mutations
})

type Damage = typeof Damage.Type

const Case = Schema.Struct({
  form: Schema.Literals(["withCycles", "withCycles", "stream", "reserve", "event"]),
  end: Schema.Literals(["success", "failure", "interrupt"]),
  seconds: Schema.Literals([0, 1, 100]),
  settle: Schema.Literals(["attempt", "wait", "background"]),
  damages: Schema.Array(Damage).check(Schema.isMinLength(1), Schema.isMaxLength(4))
})

type Case = typeof Case.Type

const spend = 42

/** The area. */
export const lifecycles: Area<Case> = {
  name: "lifecycles",
  weight: 4,
  concurrency: 1,
  cases: Arbitrary.schema(Case),
  start: (scan) =>
    Effect.succeed((value) =>
      Watch.within(
        limits,
        scan
          .watch(
            Effect.scoped(
              Effect.gen(function* () {
                const server = yield* CyclesServer.makeMemoryServer({
                  budgets: [{ unit: "TOKENS", allocated: 1_000_000 }]
                })
                scan.hide(Redacted.value(server.apiKey))
                const line = damaged(server, value.damages)
                const layer = Cycles.layer({
                  baseUrl: server.baseUrl,
                  apiKey: server.apiKey,
                  subject: { tenant: server.tenant },
                  settle: value.settle
                }).pipe(
                  Layer.provide([
                    Layer.succeed(CyclesTransport.CyclesTransport, line.transport),
                    SettlementJournal.layerMemory
                  ])
                )
                const scope = yield* Scope.make()
                const context = yield* Layer.buildWithScope(layer, scope)
                const violations = yield* Effect.provideContext(lifecycle(value, server, line, scan.see), context)
                const closed = yield* Processes.until(120_000, Scope.close(scope, Exit.void))
                return closed === undefined ? [...violations, "closing the layer never ended"] : violations
              })
            )
          )
          .pipe(Effect.provide(TestClock.layer()))
      )
    )
}

const limits: Watch.Limits = { timeMs: 30_000, bytes: 300 * 1_048_576 }

/** The most requests that one guarded call causes, retries, heartbeats and scans of two hours included. */
const maxRequests = 400

const lifecycle = (
  value: Case,
  server: CyclesServer.CyclesServer,
  line: Line,
  see: (where: string, value: unknown) => void
) =>
  Effect.gen(function* () {
    const violations: Array<string> = []
    let hasBegun = false
    const began = Effect.sync(() => void (hasBegun = true))
    const fiber = yield* Effect.forkDetach(callOf(value, began), { startImmediately: true })
    if (value.end === "interrupt") {
      yield* TestClock.adjust(500)
      yield* Effect.forkDetach(Fiber.interrupt(fiber))
    }
    yield* Processes.passUntil(600_000, () => fiber.pollUnsafe() !== undefined)
    // With `settle: "wait"` a caller waits as long as the server requests, at most an hour for each retry.
    for (let minutes = 0; minutes < 480 && fiber.pollUnsafe() === undefined; minutes++)
      yield* TestClock.adjust("1 minute")
    const exit = fiber.pollUnsafe()
    if (exit === undefined) violations.push("the call never ended")
    else {
      see("error", exit)
      violations.push(...violationsOf(exit))
    }
    line.repair()
    // Longer than the longest delay that a response can request.
    for (let i = 0; i < 8; i++) yield* TestClock.adjust("15 minutes")
    const flushed = yield* Processes.until(60_000, Cycles.flush("30 seconds"))
    if (flushed?.exit._tag !== "Success" || !flushed.exit.value.isComplete) {
      violations.push(`flush returned ${JSON.stringify(flushed?.exit)}`)
    }
    const letters = yield* Effect.orDie(Stream.runCollect(Cycles.deadLetters))
    const lost = letters.reduce((sum, { record }) => sum + amountOf(record.commitBody), 0)
    const { reserved, spent } = yield* server.books("TOKENS")
    const total = Number(spent) + lost
    const allowed = value.form === "event" ? (exit?._tag === "Success" ? [spend] : [0, spend]) : [hasBegun ? spend : 0]
    if (!allowed.includes(total)) {
      violations.push(`charged ${spent}, dead letters ${lost}; ${allowed.join(" or ")} was expected`)
    }
    if (reserved > 0n) violations.push(`${reserved} are reserved at the end`)
    if (line.count() > maxRequests) violations.push(`${line.count()} requests were sent`)
    const after = yield* Processes.until(60_000, control)
    if (after?.exit._tag !== "Success") violations.push(`the next call failed: ${String(after?.exit)}`)
    return violations
  })

const action = { kind: "llm.completion", name: "fuzz" }

const control = Cycles.withCycles(Effect.void, {
  action,
  estimate: Amount.tokens(1),
  settle: "wait",
  onUnsettled: "fail"
})

const amountOf = (commitBody: string): number => Number(Object(JSON.parse(commitBody))["actual"]["amount"])

/** The ends that callers may see: a value, a typed error, the body's own failure, or an interruption. */
const violationsOf = (exit: Exit.Exit<unknown, unknown>): ReadonlyArray<string> => {
  if (Exit.isSuccess(exit)) return []
  const isExpected = exit.cause.reasons.every(
    (reason) =>
      reason._tag === "Interrupt" ||
      (reason._tag === "Fail" && (reason.error === "the body fails" || isCyclesError(reason.error)))
  )
  return isExpected ? [] : [`not a typed error: ${Cause.pretty(exit.cause)}`]
}

const callOf = (
  { end, form, seconds }: Case,
  began: Effect.Effect<void>
): Effect.Effect<unknown, unknown, Cycles.Cycles> => {
  const options = { action, estimate: Amount.tokens(100) }
  const record = Reservation.record({ actual: Amount.tokens(spend) })
  const rest = Effect.andThen(
    Effect.sleep(`${seconds} seconds`),
    end === "failure" ? Effect.fail("the body fails") : Effect.void
  )
  const body = Effect.andThen(Effect.andThen(record, began), rest)
  switch (form) {
    case "withCycles":
      return Cycles.withCycles(body, options)
    case "stream":
      return Stream.runDrain(Cycles.withCyclesStream(Stream.fromEffect(body), options))
    case "event":
      return Cycles.event({ action, actual: Amount.tokens(spend) })
    case "reserve":
      return Effect.scoped(
        Effect.gen(function* () {
          const reservation = yield* Cycles.reserve(options)
          yield* reservation.record({ actual: Amount.tokens(spend) })
          yield* began
          yield* rest
          return yield* reservation.commit({ actual: Amount.tokens(spend) })
        })
      )
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// transport
// ---------------------------------------------------------------------------------------------------------------------

interface Line {
  readonly transport: CyclesTransport.CyclesTransport
  /** Delivers all following responses unchanged. */
  readonly repair: () => void
  readonly count: () => number
}

const damaged = (server: CyclesServer.CyclesServer, damages: ReadonlyArray<Damage>): Line => {
  const plan = damages.flatMap((damage): ReadonlyArray<Damage | undefined> => [
    ...Array.from({ length: damage.after }, () => undefined),
    damage
  ])
  let count = 0
  let isRepaired = false
  const inner = CyclesServer.transport(server)
  return {
    count: () => count,
    repair: () => void (isRepaired = true),
    transport: CyclesTransport.fromStart((request, context, done) => {
      const damage = isRepaired ? undefined : plan[count]
      count += 1
      if (damage === undefined) return inner.start(request, context, done)
      let isAbandoned = false
      inner.start(request, context, (exit) => {
        if (!isAbandoned) deliver(damage, exit, done)
      })
      if (damage.shape === "throws") throw new Error("the transport throws")
      return () => {
        isAbandoned = true
        if (damage.shape === "throws late") throw new Error("the transport can't abandon")
      }
    })
  }
}

type Ended = Exit.Exit<TransportResponse, CyclesTransport.TransportFailure>

/** Calls `done` with a value that violates its type, as a transport in JavaScript can. */
const deliver = (damage: Damage, exit: Ended, done: (exit: Ended) => void): void => {
  const call = (value: unknown): void => void Reflect.apply(done, undefined, [value])
  if (Exit.isFailure(exit)) return done(exit)
  const response = exit.value
  const changed = {
    ...response,
    status: damage.status === 0 ? response.status : damage.status,
    body: Json.mutate(Json.valueOf(response.body), damage.mutations).toString("utf8")
  }
  switch (damage.shape) {
    case "body":
      return call(Exit.succeed(changed))
    case "headers":
      return call(Exit.succeed({ ...changed, headers: { ...response.headers, ...hostileHeaders } }))
    case "many attempts":
      return call(Exit.succeed({ ...changed, attempts: 2 }))
    case "undefined":
      return call(Exit.succeed(undefined))
    case "text":
      return call(Exit.succeed("response"))
    case "no body":
      return call(Exit.succeed({ ...changed, body: null }))
    case "no headers":
      return call(Exit.succeed({ ...changed, headers: null }))
    case "throwing headers":
      return call(Exit.succeed({ ...changed, headers: new Proxy({}, throwing) }))
    case "no status":
      return call(Exit.succeed({ ...changed, status: Number.NaN }))
    case "frozen":
      return call(Object.freeze(Exit.succeed(Object.freeze(changed))))
    case "never":
    case "throws":
      return
    case "throws late":
      call(Exit.succeed(changed))
      throw new Error("the transport throws after the response")
    case "not an Exit":
      return call(changed)
    case "twice":
      call(Exit.succeed(changed))
      return call(Exit.fail(null))
    case "fails with null":
      return call(Exit.fail(null))
    case "fails with a text":
      return call(Exit.fail("broken"))
    case "fails with a proxy":
      return call(Exit.fail(new Proxy({}, throwing)))
    case "dies":
      return call(Exit.die(new Proxy({}, throwing)))
    case "interrupts":
      return call(Exit.interrupt(1))
  }
}

const throwing: ProxyHandler<object> = {
  get: () => {
    throw new Error("a getter of a transport")
  },
  has: () => {
    throw new Error("a trap of a transport")
  },
  ownKeys: () => {
    throw new Error("a trap of a transport")
  }
}

const hostileHeaders = {
  "retry-after": "99999999999",
  date: "Thu, 01 Jan 1970 00:00:00 GMT",
  "x-request-id": "\ud800",
  "x-ratelimit-remaining": "-1",
  "x-cycles-trace-id": "a".repeat(100_000)
}
