/**
 * The contract between a Cycles server and its clients, as a test suite for any server. It uses only the client and the
 * administrator's API. Each test makes its own tenant with a random name, so nothing has to be cleaned up.
 *
 * Names, instants and response details that the protocol leaves open are not asserted, and neither are known quirks of the
 * reference server.
 */
import { describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Admin } from "./internal/adminPlane.ts"
import { ledger } from "./internal/contract/ledger.ts"
import { lifecycle } from "./internal/contract/lifecycle.ts"
import type { Body, BudgetOptions, Test } from "./internal/contract/fixture.ts"
import * as Fixture from "./internal/contract/fixture.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The server under test. */
export interface Target {
  readonly baseUrl: string
  readonly admin: Admin
}

/** How the suite is run. */
export interface Options {
  /** Whether the server's clock is the test's `TestClock`. If not, tests in which time must pass are skipped. */
  readonly isTimeDriven: boolean
}

// ---------------------------------------------------------------------------------------------------------------------
// service
// ---------------------------------------------------------------------------------------------------------------------

/** The server under test. */
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
      Effect.flatMap(Target, (target) => Effect.flatMap(Fixture.make(target, budgets, tenant), body)),
      layer
    )
  const test: Test = (what, budgets, body, tenant) =>
    (options.isTimeDriven ? it.effect : it.live)(what, () => run(budgets, body, tenant), 30_000)
  const timed: Test = (what, budgets, body, tenant) =>
    it.effect.skipIf(!options.isTimeDriven)(what, () => run(budgets, body, tenant), 30_000)

  describe(`server contract (${name})`, () => {
    lifecycle({ test, timed })
    ledger({ test, timed })
  })
}
