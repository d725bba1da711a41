/** Runs one row of the benchmark of stream elements in a separate process: `elements.ts ROW`. */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Cycles from "effect-cycles/Cycles"
import * as Run from "effect-cycles/Run"
import * as Child from "./child.ts"
import * as InProcess from "./inProcess.ts"
import { action } from "./plain.ts"

const [, , row = ""] = process.argv

const runtime = ManagedRuntime.make(InProcess.client)

interface Element {
  readonly text: string
  readonly tokens: Amount.Amount<"TOKENS">
}

const one = Amount.tokens(1)

const elements = (count: number): Stream.Stream<Element> =>
  Stream.rechunk(Stream.fromIterable(Array.from({ length: count }, () => ({ text: " word", tokens: one }))), 1)

const estimate = Amount.tokens(1_000_000)

const drained = (
  count: number
): Effect.Effect<void, unknown, ManagedRuntime.ManagedRuntime.Services<typeof runtime> | Scope.Scope> => {
  const self = elements(count)
  const metered = Cycles.withCyclesStream(self, { action, estimate, usage: ({ tokens }) => tokens })
  switch (row) {
    case "bare":
      return Stream.runDrain(self)
    case "guarded":
      return Stream.runDrain(Cycles.withCyclesStream(self, { action, estimate, finalUsage: () => one }))
    case "metered":
      return Stream.runDrain(metered)
    case "run":
      return Effect.flatMap(Run.make({ name: "bench", budget: Amount.tokens(1_000_000_000) }), (run) =>
        Stream.runDrain(Run.withinStream(metered, run))
      )
    case "cancel":
      return Stream.runDrain(
        Cycles.withCyclesStream(self, { action, estimate, heartbeat: "cancel", usage: ({ tokens }) => tokens })
      )
    default:
      throw new Error(`there is no row ${row}`)
  }
}

Child.serve(Schema.Struct({ count: Schema.Finite }), async ({ count }) => {
  const before = Child.usage()
  await runtime.runPromise(Effect.scoped(drained(count)))
  return Child.between(before, Child.usage())
})
