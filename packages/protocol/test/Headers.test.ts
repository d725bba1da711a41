import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import { Headers } from "@effect-cycles/protocol"

describe("Headers", () => {
  it("treats invalid headers as absent, and -1 and 0 as no limit", () => {
    expect(
      Headers.fromHeaders({
        "x-ratelimit-remaining": "-1",
        "x-ratelimit-reset": "0",
        "retry-after": "soon",
        "x-request-id": "r"
      })
    ).toMatchObject({
      requestId: "r",
      rateLimitRemaining: undefined,
      rateLimitResetSeconds: undefined,
      retryAfter: undefined
    })
    expect(Headers.fromHeaders({ "x-ratelimit-remaining": "3", "x-ratelimit-reset": "17" })).toMatchObject({
      rateLimitRemaining: 3,
      rateLimitResetSeconds: 17
    })
  })

  describe("Retry-After", () => {
    it.each([
      ["1", 1_000],
      ["1 ", 1_000],
      [" \t2 ", 2_000],
      ["0", 0],
      ["-1", undefined],
      ["1.5", undefined],
      ["1 2", undefined],
      ["0x10", undefined],
      ["", undefined],
      [" ", undefined],
      ["Wed, 21 Oct 2026 07:28:00 GMT", 5_000],
      ["Wednesday, 21-Oct-26 07:28:00 GMT", 5_000],
      ["Wed Oct 21 07:28:00 2026", 5_000],
      ["Wed, 21 Oct 2026 07:27:00 GMT", 0],
      ["Wed, 21 Oct 2026", undefined]
    ])("parses %j to %s ms", (written, ms) => {
      const { retryAfter } = Headers.fromHeaders({ "retry-after": written }, () => Date.UTC(2026, 9, 21, 7, 27, 55))
      expect(retryAfter === undefined ? undefined : Duration.toMillis(retryAfter)).toBe(ms)
    })

    it("takes a date relative to the Date header, if there is one", () => {
      const { retryAfter } = Headers.fromHeaders(
        { "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", date: "Wed, 21 Oct 2026 07:27:30 GMT" },
        () => Date.UTC(1970, 0, 1)
      )
      expect(retryAfter === undefined ? undefined : Duration.toMillis(retryAfter)).toBe(30_000)
    })
  })
})
