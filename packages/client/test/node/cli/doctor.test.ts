/** Every diagnosis of `effect-cycles doctor` about variables, the key, the tenant, the budgets and the clock. */
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import type { ServerResponse } from "node:http"
import { join } from "node:path"
import { vi } from "vitest"
import { listen } from "../loopback.ts"
import { temporaryFolder } from "../support.ts"
import { doctor, run, serve } from "./support.ts"
import { emptyList, envOf, json, key, stubEnv } from "./server.ts"

// Real I/O is slow on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

describe("effect-cycles doctor", () => {
  it.live("finds nothing wrong with a working configuration, and exits with 0", () =>
    Effect.gen(function* () {
      const { env } = yield* serve
      const report = yield* doctor(env, "--agent", "planner")
      expect({ code: report.code, ok: report.ok, error: report.error }).toEqual({ code: 0, ok: true, error: "" })
      expect(report.of("budgets")).toEqual([
        {
          check: "budgets",
          status: "ok",
          summary: "1000 TOKENS left",
          details: [
            "tenant:acme: 5000 TOKENS left, of 5000 TOKENS",
            "tenant:acme/agent:planner: 1000 TOKENS left, of 1000 TOKENS"
          ]
        }
      ])
      const text = yield* run(["doctor", "--journal", join(temporaryFolder(), "j.sqlite")], env)
      const checks = text.out.split("\n").flatMap((line) => /^ok +(\w+)/.exec(line)?.[1] ?? [])
      expect(checks).toEqual([
        "configuration",
        "mode",
        "timeouts",
        "reachability",
        "key",
        "tenant",
        "budgets",
        "clock",
        "journal"
      ])
    })
  )

  it.live.each<readonly [env: object, summary: RegExp]>([
    [{}, /^enforce: denied calls don't run; calls fail if the server can't be reached$/],
    [{ CYCLES_ON_UNREACHABLE: "allow" }, /^enforce: .* calls run if the server can't be reached$/],
    [{ CYCLES_MODE: "shadow" }, /^shadow: every call runs, and nothing is reserved or charged$/]
  ])("shows the mode with %j", ([variables, summary]) =>
    Effect.gen(function* () {
      const { env } = yield* serve
      expect((yield* doctor({ ...env, ...variables })).of("mode")).toMatchObject([
        { status: "ok", summary: expect.stringMatching(summary) }
      ])
    })
  )

  it.live("reserves and charges nothing", () =>
    Effect.gen(function* () {
      const { env } = yield* serve
      yield* doctor(env)
      const balances = yield* run("balances --json", env)
      expect(balances.out).not.toMatch(/"(spent|reserved)":\{"unit":"TOKENS","amount":[1-9]/)
      expect((yield* run("reservations --json", env)).out.trim()).toBe("[]")
    })
  )

  describe("configuration", () => {
    it.live("names each missing variable, and sends nothing", () =>
      Effect.gen(function* () {
        const report = yield* doctor({})
        expect(report.code).toBe(1)
        expect(report.of("configuration").map(({ summary }) => summary)).toEqual([
          "CYCLES_BASE_URL is not set: it must be an http:// or https:// address",
          "CYCLES_API_KEY is not set: it must be printable ASCII without spaces, and not empty"
        ])
        expect(report.of("configuration").every(({ advice }) => advice !== undefined)).toBe(true)
        expect(report.of("reachability")[0]?.status).toBe("skipped")
      })
    )

    it.live.each<readonly [variable: string, value: string, summary: RegExp, advice: RegExp]>([
      ["CYCLES_BASE_URL", "localhost:7878", /CYCLES_BASE_URL must be an http/, /http:\/\/localhost:7878/],
      ["CYCLES_BASE_URL", "http://u:hunter22@localhost", /without user name and password, got .*\*\*\*/, /.*/],
      ["CYCLES_BASE_URL", "http://localhost?key=hunter22", /without query and fragment/, /.*/],
      ["CYCLES_API_KEY", "hunter22 hunter22", /CYCLES_API_KEY must be printable ASCII without spaces/, /.*/],
      ["CYCLES_READ_TIMEOUT", "2.5", /CYCLES_READ_TIMEOUT must be milliseconds or a duration/, /2\.5 seconds/],
      ["CYCLES_RETRY_MAX_ATTEMPTS", "-1", /an integer from 0 to 1000, got "-1"/, /.*/],
      ["CYCLES_RETRY_ENABLED", "maybe", /true, 1, yes, on, false/, /.*/],
      ["CYCLES_AGENT", "a b", /CYCLES_AGENT must be 1 to 128 letters/, /.*/]
    ])("rejects %s=%s", ([variable, value, summary, advice]) =>
      Effect.gen(function* () {
        const report = yield* doctor(envOf("http://127.0.0.1:1", { [variable]: value }))
        const [finding] = report.of("configuration")
        expect(finding?.status).toBe("failed")
        expect(finding?.summary).toMatch(summary)
        expect(finding?.advice ?? "").toMatch(advice)
        expect(report.out + report.error).not.toContain("hunter22")
        expect(report.code).toBe(1)
      })
    )

    it.live.each([
      ["CYCLES_URL", "CYCLES_BASE_URL"],
      ["CYCLES_BASEURL", "CYCLES_BASE_URL"],
      ["CYCLES_TENANT_ID", "CYCLES_TENANT"],
      ["CYCLES_APIKEY", "CYCLES_API_KEY"]
    ] as const)("suggests another name for %s, without its value", ([wrong, right]) =>
      Effect.gen(function* () {
        const { [right]: _, ...env } = envOf("http://127.0.0.1:1")
        const report = yield* doctor({ ...env, [wrong]: "hunter22-value" })
        const finding = report.of("configuration").find(({ summary }) => summary.startsWith(`${wrong} `))
        expect(finding).toMatchObject({ status: "warning", advice: `Did you mean ${right}?` })
        expect(report.out).not.toContain("hunter22")
      })
    )

    it.live.each([
      ["CYCLES_API_KEY", ` ${key}\n`, "failed", /Remove the spaces and line breaks around it/],
      ["CYCLES_API_KEY", `"${key}"`, "warning", /to the key only/],
      ["CYCLES_API_KEY", "<your-key>", "warning", /to the key only/]
    ] as const)("explains %s=%j", ([name, value, status, advice]) =>
      Effect.gen(function* () {
        const report = yield* doctor(envOf("http://127.0.0.1:1", { [name]: value }))
        expect(report.of("configuration")).toMatchObject([{ status, advice: expect.stringMatching(advice) }])
        expect(report.out).not.toContain(key)
      })
    )

    it.live("fails for an invalid proxy, without its value", () =>
      Effect.gen(function* () {
        yield* stubEnv("HTTP_PROXY", "nonsense://u:hunter22@proxy")
        const env = envOf("http://127.0.0.1:1")
        const report = yield* doctor(env)
        expect(report.of("configuration")[0]).toMatchObject({
          status: "failed",
          advice: "Correct or remove the variable."
        })
        const balances = yield* run("balances", env)
        expect(balances.code).toBe(1)
        expect(balances.error).toMatch(/^HTTP_PROXY .*\nCorrect or remove the variable\.\n$/)
        expect(report.out + balances.error).not.toContain("hunter22")
      })
    )

    it.live("warns if the key is sent unencrypted over a public network", () =>
      Effect.gen(function* () {
        const report = yield* doctor(envOf("http://cycles.invalid"))
        expect(report.of("configuration")).toMatchObject([{ status: "warning", advice: "Use https://." }])
      })
    )
  })

  describe("timeouts", () => {
    it.live.each(["CYCLES_READ_TIMEOUT", "CYCLES_CONNECT_TIMEOUT", "CYCLES_RETRY_MAX_DELAY"])(
      "warns that %s=30 is in milliseconds",
      (name) =>
        Effect.gen(function* () {
          const { env } = yield* serve
          const report = yield* doctor({ ...env, [name]: "30" })
          expect(report.of("timeouts")[0]?.summary).toBe(`${name}=30 is 30 milliseconds.`)
          expect(report.of("timeouts")[0]?.advice).toContain('"30 seconds"')
          // The other checks aren't hidden by the timeout.
          expect(report.of("key")[0]?.status).toBe("ok")
        })
    )

    it.effect("fails if the server takes longer than the timeout", () =>
      Effect.gen(function* () {
        const first = yield* Deferred.make<ServerResponse>()
        const { url } = yield* listen((outgoing, count) =>
          count === 1 ? Deferred.doneUnsafe(first, Effect.succeed(outgoing)) : json(200, emptyList)(outgoing)
        )
        const running = yield* Effect.forkChild(doctor(envOf(url, { CYCLES_READ_TIMEOUT: "20 ms" })))
        const outgoing = yield* Deferred.await(first)
        yield* TestClock.adjust("60 millis")
        json(200, emptyList)(outgoing)
        expect((yield* Fiber.join(running)).of("timeouts")).toMatchObject([
          {
            status: "failed",
            summary: "read 20ms, connect 2s, but the server took 60 ms to respond: calls fail."
          }
        ])
      })
    )
  })

  describe("key", () => {
    it.live("fails for a key that the server doesn't have, and doesn't print it", () =>
      Effect.gen(function* () {
        const { env } = yield* serve
        const report = yield* doctor({ ...env, CYCLES_API_KEY: key })
        expect(report.of("key")[0]?.summary).toMatch(/^The server refuses the key \(401 UNAUTHORIZED\)/)
        expect(report.of("key")[0]?.advice).toContain("CYCLES_API_KEY")
        expect(report.of("budgets")[0]?.status).toBe("skipped")
        expect(report.out).not.toContain(key)
        expect(report.code).toBe(1)
      })
    )

    it.live("fails for a key without permission", () =>
      Effect.gen(function* () {
        const { url } = yield* listen(
          json(403, { error: "FORBIDDEN", message: `no permission for ${key}`, request_id: "r" })
        )
        const report = yield* doctor(envOf(url))
        expect(report.of("key")).toEqual([
          {
            check: "key",
            status: "failed",
            summary: "The key isn't allowed to list reservations (403 FORBIDDEN): no permission for <redacted>.",
            advice: "Ask the administrator for a key with the permissions of the runtime plane."
          }
        ])
      })
    )

    it.live("warns if the server throttles", () =>
      Effect.gen(function* () {
        const { url } = yield* listen(json(429, { error: "LIMIT_EXCEEDED", message: "slow down", request_id: "r" }))
        expect((yield* doctor(envOf(url))).of("key")[0]).toMatchObject({ status: "warning" })
      })
    )
  })

  describe("tenant", () => {
    it.live("names both tenants and the variable if they differ", () =>
      Effect.gen(function* () {
        const { env, otherKey } = yield* serve
        const report = yield* doctor({ ...env, CYCLES_API_KEY: otherKey })
        expect(report.of("tenant")).toEqual([
          {
            check: "tenant",
            status: "failed",
            summary: "CYCLES_TENANT is acme, but the key belongs to globex: the server refuses each call with 403.",
            advice: "Set CYCLES_TENANT=globex, or use a key of acme."
          }
        ])
        expect(report.code).toBe(1)
      })
    )

    it.live("warns if no tenant is set, and checks the budgets of that of the key", () =>
      Effect.gen(function* () {
        const { env } = yield* serve
        const { CYCLES_TENANT: _, ...rest } = env
        const report = yield* doctor(rest)
        expect(report.of("tenant")[0]).toMatchObject({
          status: "warning",
          summary: "No tenant is set. The key belongs to acme."
        })
        expect(report.of("budgets")[0]).toMatchObject({ status: "ok", summary: "5000 TOKENS left" })
        expect(report.code).toBe(0)
      })
    )
  })

  describe("budgets", () => {
    it.live("names the scopes that have no budget", () =>
      Effect.gen(function* () {
        const { env, otherKey } = yield* serve
        const report = yield* doctor({ ...env, CYCLES_API_KEY: otherKey }, "--tenant", "globex", "--agent", "planner")
        expect(report.of("budgets")[0]).toMatchObject({
          status: "failed",
          summary: "No budget for tenant:globex, tenant:globex/agent:planner: each reserve fails with 404."
        })
        expect(report.code).toBe(1)
      })
    )

    it.live("fails for a frozen budget", () =>
      Effect.gen(function* () {
        const { admin, env } = yield* serve
        yield* admin("POST", "budgets/freeze?scope=tenant:acme&unit=TOKENS")
        const report = yield* doctor(env)
        expect(report.of("budgets")[0]).toMatchObject({
          status: "failed",
          summary: "The server denies the smallest amount of TOKENS: BUDGET_FROZEN on tenant:acme.",
          advice: "The budget is frozen. Ask the administrator to unfreeze it."
        })
        expect(report.code).toBe(1)
      })
    )

    it.live("fails if nothing remains, and shows what each scope has", () =>
      Effect.gen(function* () {
        const { admin, env } = yield* serve
        yield* admin("POST", "budgets", {
          tenant_id: "acme",
          scope: "tenant:acme/agent:broke",
          unit: "TOKENS",
          allocated: { unit: "TOKENS", amount: 0 }
        })
        const report = yield* doctor(env, "--agent", "broke")
        expect(report.of("budgets")[0]).toMatchObject({
          status: "failed",
          details: [
            "tenant:acme: 5000 TOKENS left, of 5000 TOKENS",
            "tenant:acme/agent:broke: 0 TOKENS left, of 0 TOKENS"
          ]
        })
        expect(report.of("budgets")[0]?.summary).toContain("BUDGET_EXCEEDED")
      })
    )

    it.live("warns if a policy denies the doctor's request, since it may allow the program's requests", () =>
      Effect.gen(function* () {
        const amount = { unit: "TOKENS", amount: 5 }
        const responses = [
          emptyList,
          { balances: [{ scope: "tenant:acme", scope_path: "tenant:acme", remaining: amount }], has_more: false },
          { decision: "DENY", reason_code: "ACTION_KIND_DENIED", affected_scopes: ["tenant:acme"] }
        ]
        const { requests, url } = yield* listen((outgoing, count) => json(200, responses[count - 1])(outgoing))
        const report = yield* doctor(envOf(url))
        expect(report.of("budgets")[0]).toMatchObject({
          status: "warning",
          summary: "The server denies the smallest amount of TOKENS: ACTION_KIND_DENIED on tenant:acme."
        })
        expect(requests.at(-1)).toBe("POST /v1/decide")
        expect(report.code).toBe(0)
      })
    )
  })

  describe("clock", () => {
    it.live.each([
      [-600_000, /^The clock of this machine is 10 min ahead of the server's\.$/],
      [3_600_000, /^The clock of this machine is (1 h|60 min) behind the server's\.$/]
    ] as const)("warns if the server's clock differs by %i ms", ([skewMs, summary]) =>
      Effect.gen(function* () {
        const { url } = yield* listen((outgoing) =>
          json(200, emptyList, { date: new Date(Date.now() + skewMs).toUTCString(), "x-cycles-tenant": "acme" })(
            outgoing
          )
        )
        const [finding] = (yield* doctor(envOf(url))).of("clock")
        expect(finding?.status).toBe("warning")
        expect(finding?.summary).toMatch(summary)
        expect(finding?.advice).toContain("NTP")
      })
    )
  })
})
