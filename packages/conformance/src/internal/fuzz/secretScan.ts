/**
 * Looks for secrets in everything that a program shows: log messages, spans, metrics, errors, journals and pages.
 *
 * A text is searched when it is reported and isn't kept, so that a long run doesn't grow.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import { readFileSync, statSync } from "node:fs"
import { inspect } from "node:util"
import { filesBelow } from "./damage.ts"

/** The secrets of a run, and what was found so far. */
export interface SecretScan {
  /** Adds a secret: its plain form, and as JSON, a URL and base64 contain it. */
  readonly hide: (secret: string) => void
  /** Searches a text or any other value, in every form in which a program prints it. */
  readonly see: (where: string, value: unknown) => void
  /** Searches all files below a folder. */
  readonly seeFolder: (where: string, folder: string) => void
  /** Runs an effect with a tracer, a logger and metrics whose output is searched. */
  readonly watch: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Returns what was found since the last call: where, and the text around it. */
  readonly take: () => ReadonlyArray<string>
  /** How many texts were searched, by where they come from. */
  readonly seen: ReadonlyMap<string, number>
}

/** Starts a scan. */
export const make = (): SecretScan => {
  const secrets = new Set<string>()
  const seen = new Map<string, number>()
  let found: Array<string> = []

  const search = (where: string, text: string): void => {
    seen.set(where, (seen.get(where) ?? 0) + 1)
    for (const secret of secrets) {
      const at = text.indexOf(secret)
      if (at < 0) continue
      const around = text.slice(Math.max(0, at - 120), at) + "[SECRET]" + text.slice(at + secret.length).slice(0, 60)
      found.push(`a secret in ${where}: ${around}`)
    }
  }
  const see = (where: string, value: unknown): void => {
    for (const text of formsOf(value)) search(where, text)
  }

  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      const { end } = span
      return Object.assign(span, {
        end: (...args: Parameters<typeof end>) => {
          Reflect.apply(end, span, args)
          see("span", [span.name, Array.from(span.attributes), span.events, span.links.length, span.status])
        }
      })
    }
  })
  const logger = Logger.make(({ cause, message }) => {
    see("log", message)
    search("log", Cause.pretty(cause))
  })

  return {
    hide: (secret) => {
      secrets.add(secret)
      secrets.add(JSON.stringify(secret).slice(1, -1))
      secrets.add(encodeURIComponent(secret))
      secrets.add(Buffer.from(secret).toString("base64"))
    },
    see,
    seeFolder: (where, folder) => filesBelow(folder).forEach((file) => search(where, textOf(file))),
    watch: (effect) =>
      Effect.suspend(() => {
        const registry: typeof Metric.MetricRegistry.Service = new Map()
        return effect.pipe(
          Effect.ensuring(
            Effect.sync(() => {
              for (const metric of registry.values()) {
                see("metric", [metric.id, metric.attributes, metric.hooks.get(Context.empty())])
              }
            })
          ),
          Effect.provideService(Metric.MetricRegistry, registry),
          Effect.provideService(Tracer.Tracer, tracer),
          Effect.provideService(References.MinimumLogLevel, "All"),
          Effect.provide(Logger.layer([logger]))
        )
      }),
    take: () => {
      const taken = found
      found = []
      return taken
    },
    seen
  }
}

const plain = (_: string, part: unknown): unknown => (typeof part === "bigint" ? String(part) : part)

/** The texts in which a program may print a value. Printing a hostile value may throw. */
const formsOf = (value: unknown): ReadonlyArray<string> => {
  if (typeof value === "string") return [value]
  const forms = [
    () => String(value),
    () => JSON.stringify(value, plain) ?? "",
    () => inspect(value, { depth: 12, showHidden: true, maxStringLength: 100_000, breakLength: Infinity })
  ]
  return forms.flatMap((form) => {
    try {
      return [form()]
    } catch {
      return []
    }
  })
}

const textOf = (file: string): string => {
  try {
    const stats = statSync(file)
    return stats.isFile() && stats.size < 100_000_000 ? readFileSync(file, "latin1") : ""
  } catch {
    return ""
  }
}
