/**
 * Read-only budget tools for an MCP server: its clients can read balances and ask for decisions before they act.
 *
 * **Details**
 *
 * | tool               | does                                                                            |
 * | ------------------ | ------------------------------------------------------------------------------- |
 * | `cycles_balances`  | reads the balances of a subject                                                 |
 * | `cycles_decide`    | returns the decision that a reserve would get                                   |
 * | `cycles_remaining` | reads the budget of a run; only with the option `runOf`                         |
 *
 * - No tool reserves or charges. To enforce a budget, guard the tools that the server serves: `CyclesToolkit.guarded`.
 * - Amounts in results are whole numbers of the unit, as text, because JSON numbers lose digits.
 * - Failures are results with `isError`: `{ error, message }`, and `code` and `retry_after_ms` if the server sent them.
 *   Results contain no key, no URL and no message of the Cycles server.
 * - Invalid arguments, such as a negative amount, are refused by the schema of the tool: as a result with `isError`,
 *   and in protocol versions before 2025-11-25 as a JSON-RPC error (-32602).
 *
 * **Gotchas**
 *
 * Without the option `subject`, a client can read every budget that the API key can read.
 *
 * **Example** (An MCP server over stdio)
 *
 * ```ts
 * import { CyclesMcp } from "@effect-cycles/ai"
 * import { McpProtocol, McpServer } from "effect/ai"
 *
 * export const Server = McpServer.layerStdio({
 *   name: "budgets",
 *   version: "1.0.0",
 *   protocols: [McpProtocol.v2025_11_25],
 *   registrations: CyclesMcp.layer({ tools: ["balances", "decide"], subject: { agent: "planner" } })
 * })
 * ```
 *
 * @see decide and getBalances of the protocol
 * @since 0.1.0
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Protocol from "@effect-cycles/protocol/Subject"
import { Cycles } from "effect-cycles/Cycles"
import type { Run } from "effect-cycles/Run"
import * as Subject from "effect-cycles/Subject"
import * as McpServer from "effect/ai/McpServer"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Failures from "./internal/mcp/failure.ts"
import * as Requests from "./internal/mcp/request.ts"
import type { Request } from "./internal/mcp/request.ts"
import { subjectOf } from "./internal/mcp/served.ts"
import * as Tools from "./internal/mcp/tools.ts"

// ---------------------------------------------------------------------------------------------------------------------
// options
// ---------------------------------------------------------------------------------------------------------------------

export {
  /** The schema of the failures of the budget tools: each failure and its remedy. */
  Failure
} from "./internal/mcp/failure.ts"

export type {
  /** A tool call that an MCP server has received. */
  Request
} from "./internal/mcp/request.ts"

/**
 * The options of the budget tools. `remaining` requires `runOf`.
 *
 * @category options
 * @since 0.1.0
 */
export type Options = SharedOptions &
  (
    | {
        /** The tools to register. `balances` is `cycles_balances`, and so on. */
        readonly tools: ReadonlyArray<"balances" | "decide">
        /** The run of a request. Only `remaining` uses it. */
        readonly runOf?: RunOf | undefined
      }
    | {
        /** The tools to register. `balances` is `cycles_balances`, and so on. */
        readonly tools: ReadonlyArray<"balances" | "decide" | "remaining">
        /** The run of a request. */
        readonly runOf: RunOf
      }
  )

/**
 * Finds the run of a request, for example by the id of its session. Returns `undefined` if the request has no run.
 *
 * @category options
 * @since 0.1.0
 */
export type RunOf = (request: Request) => Effect.Effect<Run | undefined>

/**
 * The options that all budget tools share.
 *
 * @category options
 * @since 0.1.0
 */
export interface SharedOptions {
  /**
   * The subject of a request, fixed or a function of it. It is merged into the ambient subject field by field. A client
   * can name other fields, but a call with a different value of one of these fails with `FixedSubject`. Default: none,
   * so that clients can name any subject.
   */
  readonly subject?: Subject.Subject | ((request: Request) => Subject.Subject | undefined) | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// layers
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Registers read-only budget tools with an `McpServer`. Pass it to `McpServer.layerStdio` or `McpServer.layerHttp` as
 * `registrations`, merged with your other registrations.
 *
 * **Example** (Budget tools beside guarded tools)
 *
 * ```ts
 * import { CyclesMcp } from "@effect-cycles/ai"
 * import { Effect, Layer } from "effect"
 * import type { Run } from "effect-cycles"
 *
 * export const registrations = (own: Layer.Layer<never>, runs: ReadonlyMap<string, Run.Run>) =>
 *   Layer.mergeAll(
 *     own,
 *     CyclesMcp.layer({
 *       tools: ["balances", "decide", "remaining"],
 *       runOf: ({ sessionId = "" }) => Effect.succeed(runs.get(sessionId))
 *     })
 *   )
 * ```
 *
 * @see decide and getBalances of the protocol
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<never, never, Cycles | McpServer.McpServer> =>
  Layer.unwrap(
    Effect.map(Cycles, (cycles) => {
      const tools = new Set<string>(options.tools)
      const { runOf, subject } = options
      return Layer.mergeAll(
        tools.has("balances") ? balancesLayer(cycles, subject) : Layer.empty,
        tools.has("decide") ? decideLayer(cycles, subject) : Layer.empty,
        tools.has("remaining") && runOf !== undefined ? remainingLayer(runOf) : Layer.empty
      )
    })
  )

/** The largest number of balances in a result. */
const maxBalances = 200

const balancesLayer = (cycles: Cycles, fixed: SharedOptions["subject"]) => {
  const toolkit = Toolkit.make(Tools.Balances)
  return McpServer.toolkit(toolkit).pipe(
    Layer.provide(
      toolkit.toLayer({
        cycles_balances: Effect.fnUntraced(function* (params) {
          const unit = params.unit === undefined ? undefined : yield* knownUnit(params.unit)
          const subject = yield* subjectFor(fixed, Tools.Balances.name, params, params.subject)
          const found = yield* cycles
            .balances({
              ...(params.include_children === undefined ? undefined : { includeChildren: params.include_children }),
              limit: maxBalances
            })
            .pipe(
              Stream.filter(({ remaining }) => unit === undefined || remaining.unit === unit),
              Stream.take(maxBalances + 1),
              Stream.runCollect,
              Effect.mapError(Failures.of),
              Subject.withSubject(subject)
            )
          return {
            balances: found.slice(0, maxBalances).map(Tools.balanceOf),
            has_more: found.length > maxBalances
          }
        })
      })
    )
  )
}

const decideLayer = (cycles: Cycles, fixed: SharedOptions["subject"]) => {
  const toolkit = Toolkit.make(Tools.Decide)
  return McpServer.toolkit(toolkit).pipe(
    Layer.provide(
      toolkit.toLayer({
        cycles_decide: Effect.fnUntraced(function* (params) {
          const unit = yield* knownUnit(params.estimate.unit)
          const subject = yield* subjectFor(fixed, Tools.Decide.name, params, params.subject)
          const decided = yield* cycles
            .decide({ action: params.action, estimate: Amount.make(unit, BigInt(params.estimate.amount)) })
            .pipe(Effect.mapError(Failures.of), Subject.withSubject(subject))
          return Tools.decisionOf(decided)
        })
      })
    )
  )
}

const remainingLayer = (runOf: RunOf) => {
  const toolkit = Toolkit.make(Tools.Remaining)
  return McpServer.toolkit(toolkit).pipe(
    Layer.provide(
      toolkit.toLayer({
        cycles_remaining: Effect.fnUntraced(function* (params) {
          const run = yield* Effect.flatMap(Requests.current(Tools.Remaining.name, params), runOf)
          if (run === undefined) {
            return yield* Effect.fail<Failures.Failure>({
              error: "NoRun",
              message: "This request doesn't belong to a run."
            })
          }
          return Tools.remainingOf(run, yield* run.summary)
        })
      })
    )
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// helpers
// ---------------------------------------------------------------------------------------------------------------------

const knownUnit = (unit: string): Effect.Effect<Amount.KnownUnit, Failures.Failure> =>
  Amount.isKnownUnit(unit)
    ? Effect.succeed(unit)
    : Effect.fail({
        error: "UnknownUnit",
        message: `The unit must be one of ${Amount.knownUnits.join(", ")}, got ${JSON.stringify(unit.slice(0, 64))}.`
      })

/** The subject of a call: the requested one, merged with the fixed one. Fails if they contradict each other. */
const subjectFor = (
  fixed: SharedOptions["subject"],
  tool: string,
  params: unknown,
  asked: Subject.Subject = Subject.none
): Effect.Effect<Subject.Subject, Failures.Failure> =>
  Effect.gen(function* () {
    const own = yield* subjectOf(fixed, Requests.current(tool, params))
    for (const field of Protocol.fields) {
      const value = own[field]
      if (value === undefined || asked[field] === undefined || asked[field] === value) continue
      return yield* Effect.fail<Failures.Failure>({
        error: "FixedSubject",
        message: `This server reads only the ${field} ${value}. Leave out subject.${field}.`
      })
    }
    return Subject.merge(asked, own)
  })
