/** A tracer, a logger and metrics that throw if the injector selects them. Otherwise they record what they receive. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Tracer from "effect/Tracer"
import type { Injector, Site } from "./faults.ts"
import { injectedDefect } from "./faults.ts"

/** The log messages and metrics of a process. */
export interface Telemetry {
  readonly messages: Array<string>
  /** The value of a counter or gauge, summed over all labels, or over those with the given value. */
  readonly valueOf: (name: string, label?: string) => number
  /** Runs an effect with this tracer, logger and registry. */
  readonly provide: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** Makes the telemetry of one process. */
export const make = (injector: Injector): Telemetry => {
  const messages: Array<string> = []
  const throwIf = (site: Site): void => {
    if (injector.next(site) === "throw") throw injectedDefect(site)
  }

  class Span extends Tracer.NativeSpan {
    override attribute(key: string, value: unknown): void {
      throwIf("tracer.attribute")
      super.attribute(key, value)
    }
    override end(...args: Parameters<Tracer.NativeSpan["end"]>): void {
      throwIf("tracer.end")
      super.end(...args)
    }
  }

  class Registry<V> extends Map<string, V> {
    override get(key: string): V | undefined {
      throwIf("metrics")
      return super.get(key)
    }
  }

  const tracer = Tracer.make({
    span: (options) => {
      throwIf("tracer.span")
      return new Span(options)
    }
  })
  const logger = Logger.make(({ message }) => {
    throwIf("logger")
    messages.push(Array.isArray(message) ? message.map(String).join(" ") : String(message))
  })
  const registry: typeof Metric.MetricRegistry.Service = new Registry()

  return {
    messages,
    valueOf: (name, label) => {
      let total = 0
      for (const metric of registry.values()) {
        if (metric.id !== name) continue
        if (label !== undefined && !Object.values(metric.attributes ?? {}).includes(label)) continue
        const state: unknown = metric.hooks.get(Context.empty())
        const value: unknown =
          typeof state === "object" && state !== null ? (Reflect.get(state, "count") ?? Reflect.get(state, "value")) : 0
        total += Number(value)
      }
      return total
    },
    provide: (effect) =>
      effect.pipe(
        Effect.provideService(Tracer.Tracer, tracer),
        Effect.provideService(Metric.MetricRegistry, registry),
        Effect.provide(Logger.layer([logger]))
      )
  }
}
