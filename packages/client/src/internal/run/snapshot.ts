/** The state of a run as JSON, from which another process can continue. */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { budgetOf, emptyBook } from "./book.ts"
import type { Summary } from "./summary.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The state of a run and its children, for `Options.restore`. It is plain JSON: `JSON.stringify` writes it, and the
 * schema `Snapshot` reads it. Integers of 64 bits are text.
 *
 * The estimates of calls that were open count as spent, because their spend isn't known.
 *
 * @category models
 * @since 0.1.0
 */
export interface Snapshot {
  /** The version of the format. */
  readonly version: 1
  /** The id of the run. */
  readonly id: string
  /** Whether the id is random. */
  readonly isIdGenerated: boolean
  /** The name of the run. */
  readonly name: string
  /** The milliseconds since the start of the run. */
  readonly elapsedMs: number
  /** The budgets and the spend in each unit, children included. */
  readonly budgets: ReadonlyArray<SnapshotBudget>
  /** The calls of the run for each action and unit. */
  readonly lines: ReadonlyArray<SnapshotLine>
  /** The number of denials. */
  readonly denials: number
  /** The number of denials that a client in shadow mode didn't enforce, children excluded. */
  readonly wouldDeny: number
  /** The units that were used without a budget. */
  readonly uncovered: ReadonlyArray<string>
  /** The steps and tool calls. */
  readonly counts: SnapshotCounts
  /** The runs that were made within this run. */
  readonly children: ReadonlyArray<Snapshot>
}

/**
 * The spend of a run in one unit, in a snapshot.
 *
 * @category models
 * @since 0.1.0
 */
export interface SnapshotBudget {
  /** The unit. */
  readonly unit: string
  /** The budget, raises included. Absent if there is none. */
  readonly allocated?: string
  /** The spent amount and the estimates of open calls. */
  readonly charged: string
  /** The highest threshold that was reached, or 0. */
  readonly reached: number
}

/**
 * The calls of a run for one action and unit, in a snapshot. See `Line`.
 *
 * @category models
 * @since 0.1.0
 */
export interface SnapshotLine {
  /** The action. */
  readonly action: { readonly kind: string; readonly name: string }
  /** The unit. */
  readonly unit: string
  /** The number of calls, open ones included. */
  readonly calls: number
  /** The number of denied calls. */
  readonly denied: number
  /** The number of denials that weren't enforced. */
  readonly wouldDeny: number
  /** The sum of the estimates. */
  readonly estimated: string
  /** The spent amount and the estimates of open calls. */
  readonly charged: string
  /** The number of calls whose charge isn't confirmed, open ones included. */
  readonly uncertain: number
  /** The milliseconds that all ended calls took together. */
  readonly latencyMs: number
  /** The milliseconds of the slowest ended call. */
  readonly maxLatencyMs: number
}

/**
 * The steps and tool calls of a run, in a snapshot.
 *
 * @category models
 * @since 0.1.0
 */
export interface SnapshotCounts {
  /** The number of steps. */
  readonly steps: number
  /** The highest number of steps that a cap has allowed. Absent without such a cap. */
  readonly maxSteps?: number
  /** The number of tool calls. */
  readonly toolCalls: number
  /** The number of calls of each tool. */
  readonly perTool: ReadonlyArray<readonly [tool: string, calls: number]>
  /** The number of calls by tool and parameters. Empty without a limit of repeats. */
  readonly repeats: ReadonlyArray<readonly [call: string, calls: number]>
}

// ---------------------------------------------------------------------------------------------------------------------
// schema
// ---------------------------------------------------------------------------------------------------------------------

const Digits = Schema.String.check(Schema.isPattern(/^\d{1,40}$/, { expected: "an integer of at least 0 as text" }))

const Counted = Schema.Array(Schema.Tuple([Schema.String, Schema.Natural]))

/**
 * Schema of a snapshot, for reading one from a file or a database.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Snapshot: Schema.Codec<Snapshot> = Schema.Struct({
  version: Schema.Literal(1),
  id: Schema.NonEmptyString,
  isIdGenerated: Schema.Boolean,
  name: Schema.NonEmptyString,
  elapsedMs: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)),
  budgets: Schema.Array(
    Schema.Struct({
      unit: Schema.String,
      allocated: Schema.optionalKey(Digits),
      charged: Digits,
      reached: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
    })
  ),
  lines: Schema.Array(
    Schema.Struct({
      action: Schema.Struct({ kind: Schema.String, name: Schema.String }),
      unit: Schema.String,
      calls: Schema.Natural,
      denied: Schema.Natural,
      wouldDeny: Schema.Natural,
      estimated: Digits,
      charged: Digits,
      uncertain: Schema.Natural,
      latencyMs: Schema.Natural,
      maxLatencyMs: Schema.Natural
    })
  ),
  denials: Schema.Natural,
  wouldDeny: Schema.Natural,
  uncovered: Schema.Array(Schema.String),
  counts: Schema.Struct({
    steps: Schema.Natural,
    maxSteps: Schema.optionalKey(Schema.Natural),
    toolCalls: Schema.Natural,
    perTool: Counted,
    repeats: Counted
  }),
  children: Schema.Array(Schema.suspend((): Schema.Codec<Snapshot> => Snapshot))
})

// ---------------------------------------------------------------------------------------------------------------------
// restoring
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The id, the name and the budgets of a run that continues from a snapshot. Throws a `RangeError` if the options don't
 * agree with it.
 */
export const continued = (
  given: unknown,
  { budgets, id, name }: { readonly budgets: ReadonlyArray<Amount.Amount> | undefined } & Pick<Options, "id" | "name">
) => {
  const decoded = Schema.decodeUnknownResult(Snapshot)(given)
  if (Result.isFailure(decoded)) throw new RangeError(`restore: expected a snapshot: ${decoded.failure.message}`)
  const snapshot = decoded.success
  if (id !== undefined && id !== snapshot.id) {
    throw new RangeError(`id: expected ${snapshot.id}, the id in the snapshot, got ${id}`)
  }
  const own = snapshot.budgets.flatMap(({ allocated, unit }) =>
    allocated === undefined ? [] : [Amount.make(unit, BigInt(allocated))]
  )
  for (const { unit } of budgets === undefined ? [] : own) {
    if (budgets?.some((amount) => amount.unit === unit) !== true) {
      throw new RangeError(`budget: expected an amount in ${unit} as in the snapshot, got none`)
    }
  }
  return {
    id: snapshot.id,
    isIdGenerated: snapshot.isIdGenerated,
    name: name ?? snapshot.name,
    budgets: budgets ?? own,
    restore: snapshot
  }
}

/** The options that a snapshot must agree with. */
interface Options {
  readonly id?: string | undefined
  readonly name?: string | undefined
}

/** The summary of a child in a snapshot, which hasn't been made again. */
export const summaryOf = (snapshot: Snapshot): Summary => ({
  id: snapshot.id,
  name: snapshot.name,
  status: "ended",
  elapsedMs: Math.round(snapshot.elapsedMs),
  budgets: snapshot.budgets.map(({ allocated, charged, unit }) =>
    budgetOf(unit, {
      ...emptyBook(),
      allocated: allocated === undefined ? undefined : BigInt(allocated),
      charged: BigInt(charged)
    })
  ),
  lines: snapshot.lines.map((line) => ({
    ...line,
    open: 0,
    estimated: BigInt(line.estimated),
    charged: BigInt(line.charged)
  })),
  calls: sumOf(snapshot, "calls"),
  denials: snapshot.denials,
  wouldDeny: snapshot.wouldDeny,
  uncertain: sumOf(snapshot, "uncertain"),
  steps: snapshot.counts.steps,
  toolCalls: snapshot.counts.toolCalls,
  stoppedBy: undefined,
  uncovered: snapshot.uncovered,
  children: snapshot.children.map(summaryOf)
})

const sumOf = ({ lines }: Snapshot, column: "calls" | "uncertain"): number =>
  lines.reduce((total, line) => total + line[column], 0)
