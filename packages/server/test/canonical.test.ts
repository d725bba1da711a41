/**
 * Whether two bodies with the same idempotency key count as the same request.
 */
import { describe, expect, it } from "@effect/vitest"
import { createKey, makeTestServer } from "./support/testServer.ts"
import type { Response } from "../src/internal/call.ts"
import * as Handler from "../src/internal/handler.ts"

describe("canonical", () => {
  describe("canonicalReserveBody", () => {
    const prefix = '{"idempotency_key":"k","subject":{"tenant":"acme"},"action":{"kind":"k","name":"n"},"estimate":'
    const amount = '{"unit":"TOKENS","amount":1}'
    const sameRequests: ReadonlyArray<readonly [string, string]> = [
      ["identical bytes", `${prefix}${amount}}`],
      ["other whitespace", `${prefix}  ${amount} }`],
      [
        "another field order",
        `{"estimate":{"amount":1,"unit":"TOKENS"},"action":{"name":"n","kind":"k"},"subject":{"tenant":"acme"},"idempotency_key":"k"}`
      ],
      ["an escaped field name", `${prefix.replace('"action"', '"\\u0061ction"')}${amount}}`],
      ["null for absent fields", `${prefix}${amount},"ttl_ms":null,"metadata":null}`],
      ["explicit default values", `${prefix}${amount},"grace_period_ms":5000,"dry_run":false}`],
      ["another notation of the same number", `${prefix}${amount.replace("1", "1.0")}}`]
    ]
    const otherRequests: ReadonlyArray<readonly [string, string]> = [
      ["another amount", `${prefix}${amount.replace("1", "2")}}`],
      ["an explicit ttl_ms equal to the default", `${prefix}${amount},"ttl_ms":60000}`],
      ["null as grace_period_ms", `${prefix}${amount},"grace_period_ms":null}`],
      ["null as dry_run", `${prefix}${amount},"dry_run":null}`],
      ["empty metadata", `${prefix}${amount},"metadata":{}}`]
    ]

    const sendTwice = (body: string): ReadonlyArray<Response> => {
      const server = makeTestServer()
      const headers = { "x-cycles-api-key": createKey(server).secret, "content-type": "application/json" }
      return [`${prefix}${amount}}`, body].map((text) =>
        Handler.handle(
          server.internals,
          "both",
          { method: "POST", url: "/v1/reservations", headers, body: text },
          server.nowMs
        )
      )
    }

    it.each(sameRequests)("treats %s as the same request", (_what, body) => {
      const [first, second] = sendTwice(body)
      expect([first?.status, second?.status, second?.body]).toEqual([200, 200, first?.body])
    })

    it.each(otherRequests)("treats %s as a different request", (_what, body) => {
      const [first, second] = sendTwice(body)
      expect([first?.status, second?.status]).toEqual([200, 409])
      expect(second?.body).toContain("IDEMPOTENCY_MISMATCH")
    })
  })
})
