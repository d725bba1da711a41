/**
 * Counts calls. Each label has its own counter, which is created once, because `Metric` computes the key of a series at
 * each update with attributes.
 */
import type * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import type { Operation } from "../../CyclesError.ts"
import { isCyclesError } from "../../CyclesError.ts"
import * as Telemetry from "../../Telemetry.ts"

/** Makes one counter for each value of a label. */
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

/** Counts a call by its outcome. A defect in a metric is ignored. */
export const call = (
  operation: Operation,
  exit: Exit.Exit<unknown, unknown>,
  context: Context.Context<never>
): void => {
  try {
    callCounter(operation)(outcomeOf(exit), context)
  } catch {
    // A defect in a metric doesn't change the call.
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
