/**
 * The output limit of a call: which limit applies, how the provider is given it, and whether the provider has read it.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Span } from "effect/Tracer"
import type { Mode } from "effect-cycles/CyclesConfig"
import { UnsupportedLimit } from "../CyclesAiError.ts"
import type { UnsupportedLimitReason } from "../CyclesAiError.ts"
import type { OutputLimit } from "../OutputLimit.ts"
import { byProvider } from "../OutputLimit.ts"
import type * as Call from "./call.ts"
import { nameOf } from "./request.ts"
import * as Observe from "./observe.ts"
import { limit as limitIn, maxCount } from "./unknown.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The output limits of a guarded model. */
export interface Limits {
  /** The model in the provider's settings, if they replace it. */
  readonly modelOf: (provider: string | undefined, context: Context.Context<never>) => string | undefined
  /** The limit that a call is reserved with. */
  readonly want: (
    provider: string | undefined,
    model: string,
    context: Context.Context<never>
  ) => Effect.Effect<Wanted, UnsupportedLimit>
}

/** The limit that a call is reserved with. */
export interface Wanted {
  readonly tokens: number
  /** The limit of the call, which the cap may lower further. */
  readonly apply: (cap: number | undefined) => Effect.Effect<Applied, UnsupportedLimit>
}

/** The limit that a call is made with. */
export interface Applied {
  /** Sets the limit in the context of the call. */
  readonly set: (context: Context.Context<never>) => Context.Context<never>
  /** Checks after the call whether the provider has read the limit. */
  readonly check: (call: Call.Call, span: Span) => Effect.Effect<void>
}

interface Options {
  readonly maxOutputTokens?: number | undefined
  readonly outputLimit?: OutputLimit | undefined
}

/** The default limit, in tokens. */
const defaultLimit = 4_096

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Makes the output limits of a model. In shadow mode a limit is used for the estimate only: the provider isn't given
 * any, and a limit that enforcement would refuse is logged.
 *
 * Throws a `RangeError` if `maxOutputTokens` isn't a positive integer.
 */
export const make = ({ maxOutputTokens, outputLimit }: Options, mode: Mode): Limits => {
  if (maxOutputTokens !== undefined && !(Number.isSafeInteger(maxOutputTokens) && maxOutputTokens > 0)) {
    throw new RangeError(`maxOutputTokens must be an integer of at least 1, got ${maxOutputTokens}`)
  }
  /** The models whose provider didn't read the limit. */
  const unread = new Set<string>()
  /** The models whose response was cut at the default limit. */
  const cut = new Set<string>()

  /** The models whose limit would be refused, in shadow mode. */
  const unenforced = new Set<string>()

  const limitOf = (provider: string | undefined): OutputLimit | undefined =>
    outputLimit ?? (provider !== undefined && Object.hasOwn(byProvider, provider) ? byProvider[provider] : undefined)

  return {
    modelOf: (provider, context) => limitOf(provider)?.model?.(context),
    want: (provider, model, context) =>
      Effect.suspend(() => {
        const name = nameOf(provider, model)
        const refuse = (reason: UnsupportedLimitReason, limit: number, minimum?: number) =>
          Effect.fail(new UnsupportedLimit({ reason, limit, minimum, provider, model }))

        const found = limitOf(provider)
        const inContext = limitIn(found?.get(context))
        const isDefault = maxOutputTokens === undefined && inContext === undefined
        const tokens = isDefault
          ? Math.min(defaultLimit + (limitIn(found?.thinking?.(context)) ?? 0), maxCount)
          : Math.min(maxOutputTokens ?? maxCount, inContext ?? maxCount)

        const enforced = (): Effect.Effect<Wanted, UnsupportedLimit> => {
          if (found === undefined) return refuse("unknownProvider", tokens)
          if (unread.has(name)) return refuse("notRead", tokens)
          const { isEnforced = true, minimum = 1 } = found
          if (isEnforced && tokens < minimum) return refuse("belowMinimum", tokens, minimum)

          const apply = (cap: number | undefined): Effect.Effect<Applied, UnsupportedLimit> => {
            if (!isEnforced) {
              return cap === undefined
                ? Effect.succeed({
                    set: (context) => context,
                    check: (_, span) => Effect.sync(() => Observe.outputLimit(span, "none"))
                  })
                : refuse("notEnforced", cap)
            }
            const limit = Math.min(tokens, cap ?? Infinity)
            if (limit < minimum) return refuse("belowMinimum", limit, minimum)
            let isRead = false
            return Effect.succeed({
              set: (context) =>
                found.set(context, limit, () => {
                  isRead = true
                }),
              check: (call, span) =>
                Effect.suspend(() => {
                  // A call that failed before its request was made proves nothing.
                  if (!call.hasResponse()) return Effect.void
                  Observe.outputLimit(span, isRead ? "confirmed" : "unconfirmed")
                  if (!isRead) return warnUnread(name, limit)
                  return isDefault && limit === tokens && call.finishReason() === "length"
                    ? hint(name, limit)
                    : Effect.void
                })
            })
          }
          return Effect.succeed({ tokens, apply })
        }
        if (mode !== "shadow") return enforced()
        return enforced().pipe(
          Effect.catch((error) => warnUnenforced(name, error)),
          Effect.as(unlimited(tokens))
        )
      })
  }

  function warnUnenforced(name: string, error: UnsupportedLimit): Effect.Effect<void> {
    if (unenforced.has(name)) return Effect.void
    unenforced.add(name)
    return Effect.logWarning(`Not enforced in shadow mode: ${error.message}`)
  }

  function warnUnread(name: string, limit: number): Effect.Effect<void> {
    unread.add(name)
    return Effect.andThen(
      Observe.unconfirmed(name),
      Effect.logWarning(
        `The provider of the model ${name} didn't read the limit of ${limit} output tokens, so its reservation doesn't bind. ` +
          "Further calls of this model fail. Set the option outputLimit to the setting that the provider reads, or to " +
          "OutputLimit.none if the limit doesn't need to be enforced"
      )
    )
  }

  function hint(name: string, limit: number): Effect.Effect<void> {
    if (cut.has(name)) return Effect.void
    cut.add(name)
    return Effect.logWarning(
      `A response of the model ${name} was cut at the default limit of ${limit} output tokens. Set the option maxOutputTokens ` +
        "to allow longer responses"
    )
  }
}

/** A limit that the provider isn't given. */
const unlimited = (tokens: number): Wanted => ({
  tokens,
  apply: () => Effect.succeed({ set: (context) => context, check: () => Effect.void })
})
