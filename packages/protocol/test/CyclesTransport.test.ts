import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { CyclesTransport } from "@effect-cycles/protocol"

const request: CyclesTransport.TransportRequest = {
  method: "GET",
  url: "http://cycles.local/v1/decide",
  headers: {},
  body: undefined,
  isRepeatable: true,
  maxResponseBytes: 10
}

const response: CyclesTransport.TransportResponse = { status: 200, headers: {}, body: "{}", attempts: 1 }

const error = (fields: object) => Object.assign(new Error(JSON.stringify(fields)), fields)

describe("CyclesTransport", () => {
  describe("make", () => {
    it("calls back once with the result of the Effect, in the caller's context", () => {
      class Name extends Context.Service<Name, string>()("test/Name") {}
      const ends: Array<unknown> = []
      const transport = CyclesTransport.make(() =>
        Effect.map(Effect.context<never>(), (context) => ({
          ...response,
          body: String(Context.getOrUndefined(context, Name))
        }))
      )
      transport.start(
        request,
        () => Context.makeUnsafe(new Map([[Name.key, "acme"]])),
        (exit) => void ends.push(exit)
      )
      expect(ends).toEqual([Exit.succeed({ ...response, body: "acme" })])
    })

    it("calls back with the defect of a function that throws", () => {
      const ends: Array<unknown> = []
      const transport = CyclesTransport.make(() => {
        throw new Error("bug")
      })
      transport.start(request, Context.empty, (exit) => void ends.push(exit))
      expect(ends).toEqual([Exit.die(new Error("bug"))])
    })

    it("interrupts the Effect of an abandoned exchange, and doesn't call back", () => {
      const log: Array<string> = []
      const transport = CyclesTransport.make(() =>
        Effect.onInterrupt(Effect.never, () => Effect.sync(() => log.push("interrupted")))
      )
      transport.start(request, Context.empty, () => log.push("called back"))()
      expect(log).toEqual(["interrupted"])
    })
  })

  describe("send", () => {
    it.effect("returns the response, and abandons the exchange when it is interrupted", () =>
      Effect.gen(function* () {
        let abandoned = 0
        const never = CyclesTransport.fromStart(() => () => void (abandoned += 1))
        const fiber = yield* Effect.forkChild(CyclesTransport.send(never, request), { startImmediately: true })
        yield* Fiber.interrupt(fiber)
        expect(abandoned).toBe(1)
        const done = CyclesTransport.make(() => Effect.succeed(response))
        expect(yield* CyclesTransport.send(done, request)).toEqual(response)
      })
    )
  })

  describe("failureOf", () => {
    it.each<readonly [unknown, string, boolean, string]>([
      [error({ code: "ECONNREFUSED", syscall: "connect" }), "refused", false, "ECONNREFUSED"],
      [new TypeError("fetch failed", { cause: error({ code: "ENOTFOUND" }) }), "refused", false, "ENOTFOUND"],
      [error({ code: "UND_ERR_CONNECT_TIMEOUT" }), "refused", false, "UND_ERR_CONNECT_TIMEOUT"],
      [error({ code: "EHOSTUNREACH", syscall: "connect" }), "refused", false, "EHOSTUNREACH"],
      [error({ code: "EHOSTUNREACH", syscall: "read" }), "interrupted", true, "EHOSTUNREACH"],
      [error({ code: "ETIMEDOUT", syscall: "read" }), "interrupted", true, "ETIMEDOUT"],
      [
        error({ code: "ETIMEDOUT", errors: [error({ syscall: "connect" }), error({ syscall: "connect" })] }),
        "refused",
        false,
        "ETIMEDOUT"
      ],
      [new AggregateError([error({ code: "ECONNREFUSED" })]), "refused", false, "ECONNREFUSED"],
      [error({ code: "ECONNRESET" }), "interrupted", true, "ECONNRESET"],
      [error({ code: "UND_ERR_SOCKET" }), "interrupted", true, "UND_ERR_SOCKET"],
      [error({}), "unknown", true, "the exchange broke off"],
      [undefined, "unknown", true, "the exchange broke off"],
      ["no", "unknown", true, "the exchange broke off"]
    ])("converts %s to the kind %s", (cause, kind, mayHaveArrived, problem) => {
      expect(CyclesTransport.failureOf(cause)).toEqual({ kind, mayHaveArrived, problem, cause })
    })

    it("treats an error whose getters throw as one without a code", () => {
      const hostile = {
        get code(): string {
          throw new Error("getter bug")
        }
      }
      expect(CyclesTransport.failureOf(hostile)).toMatchObject({ kind: "unknown", mayHaveArrived: true })
    })

    it("stops at the fifth cause of an endless chain", () => {
      const cause = error({})
      cause.cause = cause
      expect(CyclesTransport.failureOf(cause)).toMatchObject({ kind: "unknown", mayHaveArrived: true })
    })
  })
})
