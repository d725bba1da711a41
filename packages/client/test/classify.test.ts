/**
 * The meaning of each error response, by status and code.
 */
import { ErrorResponse, Identifiers } from "@effect-cycles/protocol"
import { CyclesTest, Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { CyclesClient, CyclesConfig } from "effect-cycles"
import type { CyclesError } from "effect-cycles"
import * as Classify from "../src/internal/protocol/classify.ts"
import { action, books, live, operations, tokens } from "./support/live.ts"
import { settlementOf } from "./support/settled.ts"

const statuses = [400, 401, 403, 404, 405, 409, 410, 418, 422, 429, 500, 502, 503, 504]

/** `undefined` is the page of a proxy. */
const codes = [...ErrorResponse.knownErrorCodes, "A_NEW_CODE", "constructor", undefined]

const budgetCodes: ReadonlyArray<string | undefined> = [
  "BUDGET_EXCEEDED",
  "BUDGET_FROZEN",
  "BUDGET_CLOSED",
  "OVERDRAFT_LIMIT_EXCEEDED",
  "DEBT_OUTSTANDING"
]

/** The expected class of a status and a code. It repeats the rules of the protocol independently of the client. */
const expected = (operation: string, status: number, code: string | undefined): string => {
  if (status === 429) return "throttled RateLimited"
  if (code === undefined) return status >= 500 ? "ambiguous Unavailable" : "ambiguous NotCycles"
  if (status >= 500) return "ambiguous ServerFault"
  if (status === 401 || status === 403) {
    const named = code === "UNAUTHORIZED" ? "Unauthorized" : code === "FORBIDDEN" ? "Forbidden" : undefined
    return `blocked ${named ?? (status === 401 ? "Unauthorized" : "Forbidden")}`
  }
  switch (code) {
    case "UNAUTHORIZED":
      return "blocked Unauthorized"
    case "FORBIDDEN":
      return "blocked Forbidden"
    case "NOT_FOUND":
      return operation === "commit" ? "conflict ReservationNotFound" : "conflict NoBudget"
    case "RESERVATION_EXPIRED":
      return "gone ReservationEnded"
    case "RESERVATION_FINALIZED":
      return "conflict ReservationEnded"
    case "IDEMPOTENCY_MISMATCH":
      return "conflict KeyReused"
    case "LIMIT_EXCEEDED":
      return "throttled RateLimited"
    case "INTERNAL_ERROR":
      return "ambiguous ServerFault"
    case "UNIT_MISMATCH":
      return "invalid NoBudgetInUnit"
    case "INVALID_REQUEST":
    case "MAX_EXTENSIONS_EXCEEDED":
    case "TENANT_CLOSED":
      return "invalid OtherRefusal"
    default:
      return budgetCodes.includes(code) ? "denied" : "blocked OtherRefusal"
  }
}

const response = (status: number, code: string | undefined): Fault.Fault =>
  code === undefined
    ? Fault.replaced({ status, body: "<html>" })
    : Fault.error(status, code, status === 429 ? { "retry-after": "7 " } : undefined)

const key = Identifiers.IdempotencyKey.make("k")

const subject = { tenant: "acme" }

/** The errors of a reserve, a commit and an event with this response. */
const errorsOf = (fault: Fault.Fault) =>
  Effect.gen(function* () {
    const client = yield* CyclesClient.CyclesClient
    for (const operation of ["reserve", "commit", "event"] as const) yield* CyclesTest.always(operation, fault)
    return {
      reserve: yield* Effect.flip(client.reserve({ idempotencyKey: key, subject, action, estimate: tokens(1) })),
      commit: yield* Effect.flip(
        client.commit(Identifiers.ReservationId.make("r"), { idempotencyKey: key, actual: tokens(1) })
      ),
      event: yield* Effect.flip(client.event({ idempotencyKey: key, subject, action, actual: tokens(1) }))
    }
  })

const describeError = (error: CyclesError.CyclesError): string => {
  const { class: errorClass } = Classify.classify(error)
  return error._tag === "ApiError" ? `${errorClass} ${error.reason._tag}` : errorClass
}

/** One line for each status and code. */
const tableOf = (judge: (errors: Effect.Success<ReturnType<typeof errorsOf>>, status: number) => string) =>
  Effect.forEach(
    statuses.flatMap((status) => codes.map((code) => [status, code] as const)),
    ([status, code]) =>
      Effect.map(errorsOf(response(status, code)), (errors) => `${status} ${code}: ${judge(errors, status)}`)
  )

const tableBy = (means: (status: number, code: string | undefined) => string) =>
  statuses.flatMap((status) => codes.map((code) => `${status} ${code}: ${means(status, code)}`))

describe("classify", () => {
  it.effect("returns BudgetExceeded only for a status that allows a denial, and always keeps the code", () =>
    Effect.gen(function* () {
      const table = yield* tableOf(({ reserve }) =>
        reserve._tag === "BudgetExceeded" || reserve._tag === "ApiError" ? `${reserve._tag} ${reserve.code}` : ""
      )
      expect(table).toEqual(
        tableBy((status, code) =>
          budgetCodes.includes(code) && ![401, 403, 410, 429, 500, 502, 503, 504].includes(status)
            ? `BudgetExceeded ${code}`
            : `ApiError ${code}`
        )
      )
    }).pipe(Effect.provide(live()))
  )

  it.effect("classifies every status and code for every operation", () =>
    Effect.gen(function* () {
      for (const operation of ["reserve", "commit", "event"] as const) {
        const table = yield* tableOf((errors) => describeError(errors[operation]))
        expect(table).toEqual(
          tableBy((status, code) => {
            const row = expected(operation, status, code)
            // Otherwise the error is a BudgetExceeded, which has no reason.
            return row === "denied" && status === 410 ? "denied OtherRefusal" : row
          })
        )
      }
    }).pipe(Effect.provide(live()))
  )

  it.effect("treats a request as not applied only if the server returns this code after it has looked up the key", () =>
    Effect.gen(function* () {
      const table = yield* tableOf(({ reserve }) => String(Classify.classify(reserve).provesNothingHappened))
      expect(table).toEqual(
        tableBy((status, code) => {
          const unproven = [
            "INVALID_REQUEST",
            "LIMIT_EXCEEDED",
            "INTERNAL_ERROR",
            "UNAUTHORIZED",
            "FORBIDDEN",
            "A_NEW_CODE",
            "constructor"
          ]
          const isCoded = code !== undefined && !unproven.includes(code)
          return String(isCoded && ![401, 403, 429].includes(status) && status < 500)
        })
      )
    }).pipe(Effect.provide(live()))
  )

  it.effect("classifies a response that is neither a success nor an error as ambiguous", () =>
    Effect.gen(function* () {
      const body = { status: "COMMITTED", charged: { unit: "TOKENS", amount: 1 } }
      const faults: ReadonlyArray<Fault.Fault> = [
        Fault.replaced({ body: "<html>" }),
        Fault.response({ status: 202, body }),
        Fault.response({ status: 302, body }),
        Fault.response({ status: 200, body: { ...body, charged: { unit: "TOKENS", amount: -1 } } }),
        Fault.requestLost
      ]
      for (const fault of faults) {
        const { commit, event } = yield* errorsOf(fault)
        expect([fault, Classify.classify(commit).class, Classify.classify(event).class]).toEqual([
          fault,
          "ambiguous",
          "ambiguous"
        ])
      }
    }).pipe(Effect.provide(live()))
  )

  it.effect("takes the minimum delay from Retry-After, whatever the code", () =>
    Effect.gen(function* () {
      const wait = (error: CyclesError.CyclesError) => [error.isRetryable, Classify.classify(error).minimumDelayMs]
      const { commit, reserve } = yield* errorsOf(response(429, "BUDGET_EXCEEDED"))
      expect([wait(commit), wait(reserve)]).toEqual([
        [true, 7_000],
        [true, 7_000]
      ])
    }).pipe(Effect.provide(live()))
  )

  describe("guarded call", () => {
    const exact = live({ retry: CyclesConfig.retryPolicy({ jitter: false }) })

    const guardedCall = settlementOf(Effect.void, { action, estimate: tokens(100), actual: () => tokens(42) })

    const sent = (operation: string) => Effect.map(operations, (all) => all.filter((one) => one === operation).length)

    it.effect.each([
      [503, "BUDGET_FROZEN"],
      [429, "BUDGET_EXCEEDED"],
      [500, "OVERDRAFT_LIMIT_EXCEEDED"],
      [401, "BUDGET_CLOSED"],
      [403, "DEBT_OUTSTANDING"]
    ] as const)("charges spend with the next attempt after %d %s", ([status, code]) =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("commit", Fault.error(status, code))
        expect((yield* guardedCall)._tag).toBe("Pending")
        yield* TestClock.adjust("1 minute")
        expect(yield* books).toEqual({ spent: 42, reserved: 0 })
        expect(yield* sent("commit")).toBe(2)
      }).pipe(Effect.provide(exact))
    )

    it.effect("retries an ambiguous reserve although its response has a budget code", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject("reserve", Fault.error(503, "BUDGET_FROZEN"))
        expect((yield* guardedCall)._tag).toBe("Committed")
        expect(yield* sent("reserve")).toBe(2)
        yield* CyclesTest.expectNothingReserved()
      }).pipe(Effect.provide(exact))
    )

    it.effect("recognizes an expired lease although the rest of the error response is invalid", () =>
      Effect.gen(function* () {
        yield* CyclesTest.inject(
          "commit",
          Fault.response({
            status: 409,
            body: { error: "RESERVATION_EXPIRED", message: 12, details: [], retry_after_ms: -1, cycles_evidence: "x" }
          })
        )
        expect((yield* guardedCall)._tag).toBe("Recovered")
      }).pipe(Effect.provide(exact))
    )

    it.effect("accepts a response with invalid evidence", () =>
      Effect.gen(function* () {
        const charged = { unit: "TOKENS", amount: 42 }
        const cycles_evidence = { evidence_id: 1 }
        yield* CyclesTest.inject(
          "commit",
          Fault.response({ status: 200, body: { status: "COMMITTED", charged, cycles_evidence } })
        )
        expect(yield* guardedCall).toMatchObject({ _tag: "Committed", charged: tokens(42) })
      }).pipe(Effect.provide(exact))
    )

    it.effect("accepts a lease that ends after 2^53-1", () =>
      Effect.gen(function* () {
        const lease = `"reservation_id":"r","remaining_ttl_ms":60000,"expires_at_ms":9223372036854775807`
        yield* CyclesTest.inject(
          "reserve",
          Fault.replaced({ body: `{"decision":"ALLOW","affected_scopes":[],${lease}}` })
        )
        yield* CyclesTest.inject(
          "commit",
          Fault.response({ status: 200, body: { status: "COMMITTED", charged: { unit: "TOKENS", amount: 42 } } })
        )
        expect((yield* guardedCall)._tag).toBe("Committed")
      }).pipe(Effect.provide(exact))
    )
  })
})
