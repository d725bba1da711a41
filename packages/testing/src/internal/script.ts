/**
 * The scripted transport. It stores the faults that a test injects, applies them to requests, and logs every request.
 */
import * as CyclesTransport from "@effect-cycles/protocol/CyclesTransport"
import type { Name } from "@effect-cycles/protocol/Operations"
import * as Operations from "@effect-cycles/protocol/Operations"
import type { Fault } from "../Fault.ts"
import { none } from "../Fault.ts"
import { fieldOf } from "./body.ts"

/** The operation whose requests meet a fault. */
export type Target = Name | "any"

/** A request that the client sent. */
export interface SentRequest {
  /** The operation of the protocol; `undefined` if the protocol doesn't have the path. */
  readonly operation: Name | undefined
  /** The HTTP method. */
  readonly method: "GET" | "POST"
  /** The path with its query. */
  readonly path: string
  /** The idempotency key in the body; `undefined` if there is none. */
  readonly idempotencyKey: string | undefined
  /** The body; an empty string if there is none. */
  readonly body: string
  /** The name of the fault that was applied; `undefined` if there was none. */
  readonly fault: string | undefined
}

/** The faults and the log of one transport. */
export interface Script {
  readonly transport: CyclesTransport.CyclesTransport
  readonly requests: ReadonlyArray<SentRequest>
  readonly inject: (target: Target, faults: ReadonlyArray<Fault>) => void
  readonly always: (target: Target, fault: Fault) => void
  readonly clear: (target: Target | undefined) => void
  /** The injected faults that haven't been applied, each with its target. */
  readonly unmet: () => ReadonlyArray<string>
}

const routes = Operations.names.map((name) => {
  const { method, path } = Operations.all[name]
  return { name, method, pattern: new RegExp(`^${path.replaceAll(".", "\\.").replace(/:\w+/, "[^/]+")}$`) }
})

const operationOf = (method: string, pathname: string): Name | undefined =>
  routes.find((route) => route.method === method && route.pattern.test(pathname))?.name

const keyOf = (body: string): string | undefined => {
  const key = fieldOf(body, "idempotency_key")
  return typeof key === "string" ? key : undefined
}

const targets: ReadonlySet<string> = new Set([...Operations.names, "any"])

const check = (target: Target): void => {
  if (!targets.has(target)) {
    throw new RangeError(`Unknown operation ${JSON.stringify(target)}: expected one of ${[...targets].join(", ")}`)
  }
}

/** The targets whose faults apply to an operation, in the order in which they are tried. */
const keysOf = (operation: Name | undefined): ReadonlyArray<Target> =>
  operation === undefined ? ["any"] : [operation, "any"]

/** Makes the script around a transport. */
export const make = (inner: CyclesTransport.CyclesTransport): Script => {
  const queues = new Map<Target, Array<Fault>>()
  const standing = new Map<Target, Fault>()
  const requests: Array<SentRequest> = []

  const take = (operation: Name | undefined): Fault | undefined => {
    for (const key of keysOf(operation)) {
      const fault = queues.get(key)?.shift()
      if (fault !== undefined) return fault
    }
    return keysOf(operation)
      .map((key) => standing.get(key))
      .find((fault) => fault !== undefined)
  }

  return {
    requests,
    transport: CyclesTransport.fromStart((request, context, done) => {
      const { body = "", method } = request
      const { pathname, search } = new URL(request.url)
      const operation = operationOf(method, pathname)
      const taken = take(operation)
      // A copy by `Fault.times` has the same function.
      const fault = taken?.run === none.run ? undefined : taken
      requests.push({
        operation,
        method,
        path: pathname + search,
        idempotencyKey: keyOf(body),
        body,
        fault: fault?.name
      })
      if (fault === undefined) return inner.start(request, context, done)
      // Called outside the effect, so that the transport throws if `run` throws.
      const outcome = fault.run({ operation, request, send: CyclesTransport.send(inner, request) })
      return CyclesTransport.make(() => outcome).start(request, context, done)
    }),
    inject: (target, faults) => {
      check(target)
      if (faults.length === 0) throw new RangeError("CyclesTest.inject expects at least one fault")
      const queue = queues.get(target) ?? []
      for (const fault of faults) for (let i = 0; i < fault.times; i += 1) queue.push(fault)
      queues.set(target, queue)
    },
    always: (target, fault) => {
      check(target)
      standing.set(target, fault)
    },
    clear: (target) => {
      if (target === undefined) {
        queues.clear()
        standing.clear()
        return
      }
      check(target)
      queues.delete(target)
      standing.delete(target)
    },
    unmet: () => Array.from(queues).flatMap(([target, queue]) => queue.map(({ name }) => `${name} for ${target}`))
  }
}
