/**
 * Counts calls. A metric that gets its attributes at each update makes a new name for its series each time, so that each
 * label has a counter of its own, made once.
 */
import type * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import type { Operation } from "../../CyclesError.ts"
import { isCyclesError } from "../../CyclesError.ts"
import * as Telemetry from "../../Telemetry.ts"

/** Makes a counter for each value of a label. */
export const counterBy = <Label extends string>(
  metric: Metric.Metric<number, unknown>,
  name: string,
  attributes?: Readonly<Record<string, string>>
) => {
  const made = new Map<Label, Metric.Counter<number>>()
  return (label: Label, context: Context.Context<never>): void => {
    let labelled = made.get(label)
    if (labelled === undefined) {
      labelled = Metric.counter(metric.id, {
        description: metric.description,
        incremental: true,
        attributes: { ...attributes, [name]: label }
      })
      made.set(label, labelled)
    }
    labelled.updateUnsafe(1, context)
  }
}

/** Counts a call by how it ended. Metrics that throw change nothing. */
export const call = (
  operation: Operation,
  exit: Exit.Exit<unknown, unknown>,
  context: Context.Context<never>
): void => {
  try {
    callCounter(operation)(outcomeOf(exit), context)
  } catch {
    // The user's metrics are broken; the call is not.
  }
}

const callCounters = new Map<Operation, ReturnType<typeof counterBy<string>>>()

const callCounter = (operation: Operation): ReturnType<typeof counterBy<string>> => {
  let counter = callCounters.get(operation)
  if (counter === undefined) {
    counter = counterBy(Telemetry.callsTotal, "outcome", { operation })
    callCounters.set(operation, counter)
  }
  return counter
}

const outcomeOf = <A, E>(exit: Exit.Exit<A, E>): string => {
  if (Exit.isSuccess(exit)) return "ok"
  for (const reason of exit.cause.reasons) {
    if (reason._tag === "Fail" && isCyclesError(reason.error)) return reason.error._tag
  }
  return "interrupted"
}
