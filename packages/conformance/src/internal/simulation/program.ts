/** A running client: its layer with a simulated transport and journal, its collaborators, and its runs. */
import * as Amount from "@effect-cycles/protocol/Amount"
import { CyclesTransport } from "effect-cycles/CyclesTransport"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import * as Cycles from "effect-cycles/Cycles"
import { retryPolicy } from "effect-cycles/CyclesConfig"
import type { Pool } from "effect-cycles/Pool"
import * as Run from "effect-cycles/Run"
import { generator } from "../generator.ts"
import type { Chaos } from "./chaos.ts"
import type { Disk } from "./disk.ts"
import type { Network } from "./network.ts"
import type { Client } from "./plan.ts"
import type { World } from "./world.ts"
import { Process } from "./world.ts"

/** The timeout of one request, in milliseconds. */
export const timeoutMs = 10_000

/** The limit for open settlements when the layer closes, in milliseconds. */
export const flushTimeoutMs = 10_000

/** The interval of the journal scans, in milliseconds. */
export const scanIntervalMs = 20_000

/** The call that a fiber makes: its name is the idempotency key of its reserve. */
export const CurrentCall = Context.Reference<{ readonly name: string; keys: number } | undefined>(
  "@effect-cycles/conformance/CurrentCall",
  { defaultValue: () => undefined }
)

/** A process of a client. */
export interface Program {
  readonly process: Process
  readonly client: number
  /** The services of the client; `undefined` until its layer is built. */
  context: Context.Context<Cycles.Cycles> | undefined
  readonly scope: Scope.Closeable
  readonly runs: ReadonlyArray<Run.Run | undefined>
  /** Its pool; `undefined` if it has none, or if the first block was refused. */
  pool: Pool | undefined
  /** The names of its pool and of the runs that hold reservations. */
  readonly lenders: ReadonlyArray<string>
  /** Its log messages. */
  readonly messages: Array<string>
  /** When its layer began to close, in milliseconds of its monotonic clock. */
  closingAtMs: number
  isClosed: boolean
  /** Whether its layer closed while faults were possible. */
  hasClosedEarly: boolean
  /** Whether it ran until nothing was left to do. */
  hasEnded: boolean
  readonly hasTelemetryFaults: boolean
}

/** Starts an effect in a process. */
export const fork = <A, E>(program: Program, effect: Effect.Effect<A, E, Cycles.Cycles>): Fiber.Fiber<A, E> =>
  Effect.runForkWith(program.context ?? Context.empty().pipe(Context.add(Cycles.Cycles, missing)))(effect)

const missing: Cycles.Cycles = Reflect.get({}, "missing")

/** Starts a process. `ready` is called when its layer is built. */
export const start = (
  options: {
    readonly world: World
    readonly chaos: Chaos
    readonly network: Network
    readonly disk: Disk
    readonly tenant: string
    readonly baseUrl: string
    readonly apiKey: Redacted.Redacted
    readonly telemetryRate: number
    readonly seed: number
  },
  client: Client,
  index: number,
  incarnation: number,
  ready: (program: Program) => void
): Program => {
  const { chaos, disk, network, world } = options
  const name = `client ${index}${incarnation === 0 ? "" : `.${incarnation}`}`
  const process = new Process(world, name, client)
  const runs: Array<Run.Run | undefined> = []
  const lenders: Array<string> = []
  const program: Program = {
    process,
    client: index,
    context: undefined,
    scope: Effect.runSyncWith(process.context)(Scope.make()),
    runs,
    pool: undefined,
    lenders,
    messages: [],
    closingAtMs: Number.POSITIVE_INFINITY,
    isClosed: false,
    hasClosedEarly: false,
    hasEnded: false,
    hasTelemetryFaults: options.telemetryRate > 0
  }
  let keys = 0
  const layer = Cycles.layer({
    baseUrl: options.baseUrl,
    apiKey: options.apiKey,
    subject: { tenant: options.tenant },
    timeout: timeoutMs,
    flushTimeout: flushTimeoutMs,
    scanInterval: scanIntervalMs,
    maxConcurrency: client.maxConcurrency,
    maxRetryAfter: client.maxRetryAfterMs,
    retry: retryPolicy({ jitter: false })
  }).pipe(Layer.provide([Layer.succeed(CyclesTransport, network.transport(process, index)), disk.layer(process)]))
  const below = generator(options.seed * 64 + index * 8 + incarnation)
  const random: typeof Random.Random.Service = {
    nextIntUnsafe: () => below(4_294_967_296),
    nextDoubleUnsafe: () => below(4_294_967_296) / 4_294_967_296
  }
  const context = process.context.pipe(
    Context.add(Random.Random, random),
    Context.add(Cycles.IdempotencyKeyGenerator, () => {
      const call = Fiber.getCurrent()?.getRef(CurrentCall)
      if (call === undefined) return `x${index}.${incarnation}.${(keys += 1)}`
      call.keys += 1
      return call.keys === 1 ? call.name : `${call.name}.${call.keys}`
    }),
    Context.merge(telemetry(chaos, options.telemetryRate, name, program.messages))
  )
  const build = Effect.gen(function* () {
    const built = yield* Layer.buildWithScope(layer, program.scope)
    const lender = <A, E>(what: string, effect: Effect.Effect<A, E, Cycles.Cycles | Scope.Scope>) => {
      const name = `${what}${index}.${incarnation}`
      lenders.push(name)
      return Effect.orElseSucceed(effect, () => undefined).pipe(
        Effect.provideService(CurrentCall, { name, keys: 0 }),
        Effect.provideService(Scope.Scope, program.scope),
        Effect.provide(built)
      )
    }
    for (const { budget, hold, parent, share } of client.runs) {
      const parentRun = parent === undefined ? undefined : runs[parent]
      const made = Run.make({ name: `run${runs.length}`, budget: Amount.tokens(budget), share, hold })
      runs.push(yield* lender(`H${runs.length}_`, Effect.provideService(made, Run.CurrentRun, parentRun)))
    }
    if (client.pool !== undefined) {
      const { agent, durability, lowMark, maxAgeMs, size, ttlMs } = client.pool
      program.pool = yield* lender(
        "P",
        Cycles.pool({
          action: { kind: "llm.pool", name: "test:pool" },
          size: Amount.tokens(size),
          lowMark: Amount.tokens(lowMark),
          maxAge: maxAgeMs,
          ttl: ttlMs,
          durability,
          subject: { agent }
        })
      )
    }
    return built
  })
  world.current = process
  Effect.runForkWith(context)(build).addObserver((exit) => {
    if (Exit.isFailure(exit)) throw new Error(`the layer of ${name} could not be built: ${exit.cause}`)
    program.context = Context.merge(context, exit.value)
    ready(program)
  })
  return program
}

/** Closes the layer of a process. */
export const close = (program: Program, closed: () => void): void => {
  program.closingAtMs = program.process.monotonicMs
  fork(program, Scope.close(program.scope, Exit.void)).addObserver(() => {
    program.isClosed = true
    closed()
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// telemetry
// ---------------------------------------------------------------------------------------------------------------------

/** A tracer, a logger and metrics that throw at times. */
const telemetry = (chaos: Chaos, rate: number, name: string, messages: Array<string>): Context.Context<never> => {
  let calls = 0
  const throwAtTimes = (site: string): void => {
    if (rate === 0) return
    calls += 1
    if (chaos.pick(`${site} of ${name} #${calls}`, rate, ["throws"]) !== undefined)
      throw new Error(`injected: the ${site} throws`)
  }
  class Registry<V> extends Map<string, V> {
    override get(key: string): V | undefined {
      throwAtTimes("metrics")
      return super.get(key)
    }
  }
  const registry: typeof Metric.MetricRegistry.Service = new Registry()
  const logger = Logger.make(({ message }) => {
    throwAtTimes("logger")
    messages.push(Array.isArray(message) ? message.map(String).join(" ") : String(message))
  })
  const base = Context.empty().pipe(
    Context.add(Metric.MetricRegistry, registry),
    Context.add(Logger.CurrentLoggers, new Set([logger]))
  )
  if (rate === 0) return base
  let spans = 0
  class Span extends Tracer.NativeSpan {
    override get traceId(): string {
      return traceId
    }
    override get spanId(): string {
      return (this._spanId ??= (spans += 1).toString(16).padStart(16, "0"))
    }
    override attribute(key: string, value: unknown): void {
      throwAtTimes("tracer")
      super.attribute(key, value)
    }
    override end(...args: Parameters<Tracer.NativeSpan["end"]>): void {
      throwAtTimes("tracer")
      super.end(...args)
    }
  }
  return Context.add(
    base,
    Tracer.Tracer,
    Tracer.make({
      span: (options) => {
        throwAtTimes("tracer")
        return new Span(options)
      }
    })
  )
}

/** The same for all spans, since the real ones are random. */
const traceId = "5".repeat(32)
