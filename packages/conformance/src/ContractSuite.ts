/**
 * What every Cycles server owes its clients, as tests over any of them: through the client alone, each test on a tenant of its
 * own that it makes with a random name, so that nothing has to be cleaned up.
 *
 * Names, answers and instants that the protocol leaves open are not looked at, nor what the reference server is known to
 * do in its own way.
 */
import { describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Admin } from "./internal/adminPlane.ts"
import { books } from "./internal/contract/books.ts"
import { lifecycle } from "./internal/contract/lifecycle.ts"
import type { Body, BudgetOptions, Test } from "./internal/contract/stage.ts"
import * as Stage from "./internal/contract/stage.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A server that can be asked. */
export interface Target {
  readonly baseUrl: string
  readonly admin: Admin
}

/** How the suite is run. */
export interface Options {
  /** Whether the server's time is the test's own `TestClock`; without it what needs time to pass is left out. */
  readonly isTimeDriven: boolean
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/** The server that the suite asks. */
export const Target: Context.Service<Target, Target> = Context.Service(
  "@effect-cycles/conformance/ContractSuite/Target"
)

// ---------------------------------------------------------------------------------------------------------------------
// suite
// ---------------------------------------------------------------------------------------------------------------------

/** Declares the tests of the contract. */
export const suite = <E>(name: string, layer: Layer.Layer<Target, E>, options: Options): void => {
  const run = (budgets: ReadonlyArray<BudgetOptions>, body: Body, tenant?: object) =>
    Effect.provide(
      Effect.flatMap(Target, (target) => Effect.flatMap(Stage.make(target, budgets, tenant), body)),
      layer
    )
  const test: Test = (what, budgets, body, tenant) =>
    (options.isTimeDriven ? it.effect : it.live)(what, () => run(budgets, body, tenant), 30_000)
  const timed: Test = (what, budgets, body, tenant) =>
    it.effect.skipIf(!options.isTimeDriven)(what, () => run(budgets, body, tenant), 30_000)

  describe(`the contract of a server (${name})`, () => {
    lifecycle({ test, timed })
    books({ test, timed })
  })
}
