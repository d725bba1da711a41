/**
 * One exchange with a server, bounded in time: a request goes out, the whole answer comes back, or the reason why not.
 *
 * Any `HttpClient` will do; it then runs in a fiber of its own, which is interrupted when the time is over. A client that
 * can tell the end of an exchange by a callback registers a direct way: that needs no fiber, and no `Effect.timeout`, which
 * forks two and sets a timer for each call. One alarm of the layer knows when the first of all time limits ends.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as Scope from "effect/Scope"
import * as Alarm from "./timerQueue.ts"
import type * as DueHeap from "./dueHeap.ts"
import * as Transport from "./describe.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A whole answer. */
export interface Reply {
  readonly status: number
  /** By names in lower case. */
  readonly headers: { readonly [name: string]: string | undefined }
  readonly text: string
}

/** How an exchange ended. */
export type End = Exit.Exit<Reply, Transport.Description>

/** Starts an exchange, tells its end at most once, and returns how to give it up; then nobody listens any more. */
export type Way = (
  request: HttpClientRequest.HttpClientRequest,
  context: () => Context.Context<never>,
  end: (end: End) => void
) => () => void

/** What an exchange is bound by, and what is made of its end. */
export interface Bounds<A, E> {
  /** What the request is sent with, where it is sent by a fiber. */
  readonly context: () => Context.Context<never>
  readonly limitMs: number
  /** Makes the result of the end of the exchange, `undefined` when the time is over. It is called once, unless interrupted. */
  readonly conclude: (end: End | undefined) => Exit.Exit<A, E>
  /** Called with the result, however it came. */
  readonly onExit: (exit: Exit.Exit<A, E>) => void
}

/** Sends requests. */
export interface Exchange {
  readonly send: <A, E>(request: HttpClientRequest.HttpClientRequest, bounds: Bounds<A, E>) => Effect.Effect<A, E>
}

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Makes exchanges over a client. */
export const make = (client: HttpClient.HttpClient): Effect.Effect<Exchange, never, Scope.Scope> =>
  Effect.map(
    Alarm.makeOutliving<Deadline>((deadline) => Effect.sync(deadline.expire)),
    (alarm): Exchange => {
      const way = direct.get(client) ?? overFiber(client)
      return { send: (request, bounds) => send(alarm, way, request, bounds) }
    }
  )

interface Deadline extends DueHeap.Entry {
  readonly expire: () => void
}

const send = <A, E>(
  alarm: Alarm.Alarm<Deadline>,
  way: Way,
  request: HttpClientRequest.HttpClientRequest,
  { conclude, context, limitMs, onExit }: Bounds<A, E>
): Effect.Effect<A, E> =>
  Effect.callback<A, E>((resume) => {
    let isOver = false
    const over = (exit: () => Exit.Exit<A, E>): void => {
      if (isOver) return
      isOver = true
      alarm.clear(deadline)
      const result = orDie(exit)
      told(() => onExit(result))
      resume(result)
    }
    let giveUp = (): void => {}
    const deadline: Deadline = {
      due: 0,
      pos: -1,
      expire: () => {
        over(() => conclude(undefined))
        giveUp()
      }
    }
    alarm.set(deadline, limitMs)
    try {
      giveUp = way(request, context, (end) => over(() => conclude(end)))
    } catch (defect) {
      over(() => conclude(Exit.die(defect)))
    }
    return Effect.sync(() => {
      over(Exit.interrupt)
      giveUp()
    })
  })

/** A defect is the caller's: thrown from here it would hit whoever tells the end. */
const orDie = <A, E>(exit: () => Exit.Exit<A, E>): Exit.Exit<A, E> => {
  try {
    return exit()
  } catch (defect) {
    return Exit.die(defect)
  }
}

/** Whoever looks on, a tracer of the user's say, does not change the end. */
const told = (tell: () => void): void => {
  try {
    tell()
  } catch {
    // There is nobody to hear of it.
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// ways
// ---------------------------------------------------------------------------------------------------------------------

const direct = new WeakMap<HttpClient.HttpClient, Way>()

/** Registers a direct way for a client. One that is made of it, by `HttpClient.mapRequest` say, has none. */
export const setDirect = (client: HttpClient.HttpClient, way: Way): void => void direct.set(client, way)

/** The way over any client. Interrupting it is not waited for: who gave up is free at once. */
const overFiber =
  (client: HttpClient.HttpClient): Way =>
  (request, context, end) => {
    const reply = Effect.flatMap(
      Effect.suspend(() => client.execute(request)),
      ({ headers, status, text }) => Effect.map(text, (text): Reply => ({ status, headers, text }))
    )
    const fiber = Effect.runForkWith(context())(Effect.mapError(reply, Transport.describe))
    fiber.addObserver(end)
    return () => fiber.interruptUnsafe()
  }
