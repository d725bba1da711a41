/** The events of a run, and how they reach its readers. */
import type { Action } from "@effect-cycles/protocol/Action"
import type { Amount } from "@effect-cycles/protocol/Amount"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { BudgetExceeded, CyclesError } from "../../CyclesError.ts"
import * as Listeners from "../runtime/listeners.ts"
import type { Reference, Threshold } from "./summary.ts"

/**
 * What happens in a run or in one of its children. `run` is the run that it happened in.
 *
 * @category models
 * @since 0.1.0
 */
export type Event =
  | {
      /** A run admitted a guarded call, and holds its estimate. The reserve isn't sent yet. */
      readonly _tag: "Opened"
      /** The run of the call. */
      readonly run: Reference
      /** The number of the step in the run that the call belongs to; 0 before the first step. */
      readonly step: number
      /** The action of the call. */
      readonly action: Action
      /** The estimate. */
      readonly amount: Amount
    }
  | {
      /**
       * A guarded call ended or an event was charged. Spend that is recorded after the end of a call is another event
       * with this tag.
       */
      readonly _tag: "Charged"
      /** The run of the call. */
      readonly run: Reference
      /** The number of the step in the run that the call belongs to; 0 before the first step. */
      readonly step: number
      /** The action of the call. */
      readonly action: Action
      /** The spend, 0 if there is none. The server may not have confirmed it yet. */
      readonly amount: Amount
    }
  | {
      /**
       * A run or the server denied a guarded call, a step, a tool call or a carved budget, or a stream was cut because
       * the budget was used up.
       */
      readonly _tag: "Denied"
      /** The run of the call. `denial.run` is the run that denied it. */
      readonly run: Reference
      /** The action of the call. Absent for a carved budget. */
      readonly action: Action | undefined
      /** The requested amount. Absent for a step or a tool call beyond a limit. */
      readonly amount: Amount | undefined
      /** The error of the call. */
      readonly denial: BudgetExceeded
    }
  | {
      /** A client in shadow mode didn't enforce a denial: the call runs. */
      readonly _tag: "WouldDeny"
      /** The run of the call. */
      readonly run: Reference
      /** The action of the call. */
      readonly action: Action | undefined
      /** The requested amount. Absent for a step or a tool call beyond a limit. */
      readonly amount: Amount | undefined
      /** The error that the call would have failed with in enforcement. */
      readonly denial: CyclesError
    }
  | {
      /** The budget of a run is too small for a call, and the call waits for a raise: see `whenExhausted`. */
      readonly _tag: "Paused"
      /** The run of the call. */
      readonly run: Reference
      /** The action of the call. */
      readonly action: Action
      /** The requested amount. */
      readonly amount: Amount
    }
  | {
      /** A call is no longer paused. It starts, or is denied, or was interrupted. */
      readonly _tag: "Resumed"
      /** The run of the call. */
      readonly run: Reference
      /** The action of the call. */
      readonly action: Action
      /** The requested amount. */
      readonly amount: Amount
    }
  | (Threshold & {
      /** The spend of a run reached one of its thresholds, with or without the option `onThreshold`. */
      readonly _tag: "Threshold"
    })
  | {
      /** A run ended. */
      readonly _tag: "Ended"
      /** The run that ended. */
      readonly run: Reference
    }

/** The number of events that each reader may be behind. */
const capacity = 1_024

/** The readers of one run. */
export class Readers {
  readonly #listeners = Listeners.make<Event>(capacity)
  readonly #ended: Event

  constructor(run: Reference) {
    this.#ended = { _tag: "Ended", run }
  }

  /** Whether there are any. If not, no event has to be made. */
  get isEmpty(): boolean {
    return !this.#listeners.isOpen()
  }

  /** Sends an event to each reader. */
  publish(event: Event): void {
    this.#listeners.publish(event)
  }

  /** Ends the streams. */
  end(): void {
    this.#listeners.end()
  }

  /**
   * The events from now on. The last one isn't published but follows the end of the listeners: no reader can be too
   * slow or too late for it.
   */
  get stream(): Stream.Stream<Event> {
    return Stream.concat(this.#listeners.stream, Stream.fromEffect(Effect.sync(() => this.#ended)))
  }
}
