/**
 * Idempotency keys of tool calls.
 *
 * Providers don't agree on ids: local and compatible servers repeat them, leave them empty, start them again in each
 * round, or make them very long. A key is therefore made from the namespace, the id, and the number of the call among
 * the calls with this id.
 *
 * Different calls never share a key. A short id consists of characters that the other parts of a key don't contain; any
 * other id is hashed. The text after the last `:` thus identifies the call, and the text before it is the namespace.
 */
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import type { Run } from "effect-cycles/Run"

/** Makes the keys of the calls of one guarded toolkit. */
export interface ToolKeys {
  /**
   * Numbers a call, synchronously, and returns the effect that makes its key. Without a namespace, the id of the run is
   * the namespace of a call with an id, if it was chosen. Otherwise there is no key, and the client makes a random one.
   */
  readonly next: (
    toolName: string,
    toolCallId: string | undefined,
    run: Run | undefined
  ) => Effect.Effect<string | undefined>
}

/** The largest length of a namespace. */
export const maxNamespace = 100

/** Makes the keys of a toolkit. Throws a `RangeError` if the namespace has an invalid length. */
export const make = (namespace: string | undefined): ToolKeys => {
  if (namespace === undefined) return { next: nextInRun }
  if (typeof namespace !== "string" || namespace.length === 0 || namespace.length > maxNamespace) {
    const actual = typeof namespace === "string" ? `${namespace.length} characters` : typeof namespace
    throw new RangeError(`namespace must be a string of 1 to ${maxNamespace} characters, got ${actual}`)
  }
  const next = numbering()
  return { next: (toolName, toolCallId) => Effect.map(next(toolName, toolCallId), (text) => `${namespace}:${text}`) }
}

/** The key of a call without a namespace. */
const nextInRun: ToolKeys["next"] = (toolName, toolCallId, run) => {
  if (run === undefined || run.isIdGenerated || toolCallId === undefined || toolCallId === "") return Effect.undefined
  const next = numberings.get(run) ?? numbering()
  numberings.set(run, next)
  const text = next(toolName, toolCallId)
  const namespace = isNamespace.test(run.id) ? Effect.succeed(run.id) : Effect.map(digest(run.id), (hex) => `=${hex}`)
  return Effect.zipWith(namespace, text, (namespace, text) => `${namespace}:${text}`)
}

/** The numbers of each run. Its toolkits share them, so that their calls never have the same key. */
const numberings = new WeakMap<Run, ReturnType<typeof numbering>>()

/** Ids of runs that are namespaces as they are. */
const isNamespace = /^[\x21-\x7E]{1,100}$/

/** Numbers calls, and makes the part of a key that identifies the call. */
const numbering = () => {
  const counts = new Map<string, number>()
  return (toolName: string, toolCallId: string | undefined): Effect.Effect<string> => {
    const isNamed = toolCallId === undefined || toolCallId === ""
    const id = isNamed ? toolName : toolCallId
    const kind = isNamed ? "@" : ""
    const ordinal = (counts.get(kind + id) ?? 0) + 1
    counts.set(kind + id, ordinal)
    // Not `#`, which the client appends for the next reservation under a key.
    const suffix = ordinal === 1 ? "" : `~${ordinal}`
    const text = isPlain.test(id) ? Effect.succeed(id) : Effect.map(digest(id), (hex) => `=${hex}`)
    return Effect.map(text, (text) => `${kind}${text}${suffix}`)
  }
}

/** Ids that are part of a key as they are. None contains `:`, `@`, `=`, `~` or `#`. */
const isPlain = /^[\w.-]{1,128}$/

/** The SHA-256 of an id, in hexadecimal. JSON escapes lone surrogates, which UTF-8 would replace. */
const digest = (id: string): Effect.Effect<string> =>
  Effect.map(
    Effect.promise(() => globalThis.crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(id)))),
    (bytes) => Hex.encode(new Uint8Array(bytes))
  )
