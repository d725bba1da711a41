/** Every diagnosis of `effect-cycles doctor`: what is wrong, and what to do. */
import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { vi } from "vitest"
import * as Redacted from "effect/Redacted"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import type { ServerResponse } from "node:http"
import * as Https from "node:https"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { JournalSqlite } from "effect-cycles/node"
import * as Connection from "../../../src/node/internal/cli/doctor/connection.ts"
import { using } from "../../suites/durableSuite.ts"
import { writeSqliteV1 } from "../fixtures.ts"
import { listen, refusingUrl } from "../loopback.ts"
import { owner, record } from "../records.ts"
import { temporaryFolder } from "../support.ts"
import type { Env } from "./support.ts"
import { doctor, run, serve } from "./support.ts"

// A busy machine starts a process in seconds.
vi.setConfig({ testTimeout: 60_000 })

const key = "cyc_live_0123456789abcdef"

const envOf = (url: string, more?: Env): Env => ({
  CYCLES_BASE_URL: url,
  CYCLES_API_KEY: key,
  CYCLES_TENANT: "acme",
  ...more
})

const json =
  (status: number, body: unknown, headers?: Readonly<Record<string, string>>) => (outgoing: ServerResponse) =>
    void outgoing.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body))

/** Sets a variable of this process until the end of the test. */
const stubEnv = (name: string, value: string) =>
  Effect.acquireRelease(
    Effect.sync(() => vi.stubEnv(name, value)),
    () => Effect.sync(() => vi.unstubAllEnvs())
  )

const emptyList = { reservations: [], has_more: false, next_cursor: null }

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
        expect(report.of("configuration").every(({ todo }) => todo !== undefined)).toBe(true)
        expect(report.of("reachability")[0]?.status).toBe("skipped")
      })
    )

    it.live.each<readonly [variable: string, value: string, summary: RegExp, todo: RegExp]>([
      ["CYCLES_BASE_URL", "localhost:7878", /CYCLES_BASE_URL must be an http/, /http:\/\/localhost:7878/],
      ["CYCLES_BASE_URL", "http://u:hunter22@localhost", /without user name and password, got .*\*\*\*/, /.*/],
      ["CYCLES_BASE_URL", "http://localhost?key=hunter22", /without query and fragment/, /.*/],
      ["CYCLES_API_KEY", "hunter22 hunter22", /CYCLES_API_KEY must be printable ASCII without spaces/, /.*/],
      ["CYCLES_READ_TIMEOUT", "2.5", /CYCLES_READ_TIMEOUT must be milliseconds or a duration/, /2\.5 seconds/],
      ["CYCLES_RETRY_MAX_ATTEMPTS", "-1", /an integer from 0 to 1000, got "-1"/, /.*/],
      ["CYCLES_RETRY_ENABLED", "maybe", /true, 1, yes, on, false/, /.*/],
      ["CYCLES_AGENT", "a b", /CYCLES_AGENT must be 1 to 128 letters/, /.*/]
    ])("rejects %s=%s", ([variable, value, summary, todo]) =>
      Effect.gen(function* () {
        const report = yield* doctor(envOf("http://127.0.0.1:1", { [variable]: value }))
        const [finding] = report.of("configuration")
        expect(finding?.status).toBe("failed")
        expect(finding?.summary).toMatch(summary)
        expect(finding?.todo ?? "").toMatch(todo)
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
        expect(finding).toMatchObject({ status: "warning", todo: `Did you mean ${right}?` })
        expect(report.out).not.toContain("hunter22")
      })
    )

    it.live.each([
      ["CYCLES_API_KEY", ` ${key}\n`, "failed", /Remove the spaces and line breaks around it/],
      ["CYCLES_API_KEY", `"${key}"`, "warning", /to the key only/],
      ["CYCLES_API_KEY", "<your-key>", "warning", /to the key only/]
    ] as const)("explains %s=%j", ([name, value, status, todo]) =>
      Effect.gen(function* () {
        const report = yield* doctor(envOf("http://127.0.0.1:1", { [name]: value }))
        expect(report.of("configuration")).toMatchObject([{ status, todo: expect.stringMatching(todo) }])
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
          todo: "Correct or remove the variable."
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
        expect(report.of("configuration")).toMatchObject([{ status: "warning", todo: "Use https://." }])
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
          expect(report.of("timeouts")[0]?.todo).toContain('"30 seconds"')
          // The other checks aren't hidden by the timeout.
          expect(report.of("key")[0]?.status).toBe("ok")
        })
    )

    it.live("fails if the server takes longer than the timeout", () =>
      Effect.gen(function* () {
        const { url } = yield* listen((outgoing) => void setTimeout(json(200, emptyList), 60, outgoing))
        const report = yield* doctor(envOf(url, { CYCLES_READ_TIMEOUT: "20 ms" }))
        expect(report.of("timeouts")[0]).toMatchObject({ status: "failed" })
        expect(report.of("timeouts")[0]?.summary).toMatch(
          /^read 20ms.* but the server took \d+ ms to respond: calls fail/
        )
      })
    )
  })

  describe("reachability", () => {
    const failure = (env: Env) =>
      Effect.map(doctor(env), (report) => {
        const [finding] = report.of("reachability")
        expect(finding?.status).toBe("failed")
        expect(report.code).toBe(1)
        expect(report.out + report.error).not.toContain(key)
        for (const check of ["key", "tenant", "budgets", "clock"]) expect(report.of(check)[0]?.status).toBe("skipped")
        return `${finding?.summary} ${finding?.todo}`
      })

    it.live("says that the connection is refused", () =>
      Effect.gen(function* () {
        const url = yield* refusingUrl
        expect(yield* failure(envOf(url))).toBe(
          `${url} refused the connection (ECONNREFUSED). Is the server running, and does it listen at ${new URL(url).host}?`
        )
      })
    )

    it.live("says that the host name can't be resolved", () =>
      Effect.gen(function* () {
        expect(yield* failure(envOf("https://cycles.invalid"))).toMatch(
          /^The host name cycles\.invalid can't be resolved \(E[A-Z_]+.*spelled correctly/
        )
      })
    )

    it.live("says that a server without TLS gets https", () =>
      Effect.gen(function* () {
        const { url } = yield* listen(json(200, emptyList))
        const { host } = new URL(url)
        expect(yield* failure(envOf(`https://${host}`))).toMatch(
          new RegExp(`^No TLS connection to ${host} .*CYCLES_BASE_URL is http://${host}`)
        )
      })
    )

    it.live("says that a server with TLS gets http", () =>
      Effect.gen(function* () {
        const port = yield* listenTls
        expect(yield* failure(envOf(`http://127.0.0.1:${port}`))).toContain(
          "Does the server expect TLS? Then use https://"
        )
      })
    )

    it.live("says that HTML isn't a response of a Cycles server", () =>
      Effect.gen(function* () {
        const { url } = yield* listen((outgoing) =>
          outgoing.writeHead(404, { "content-type": "text/html" }).end("<!doctype html><h1>Not found</h1>")
        )
        expect(yield* failure(envOf(url))).toMatch(
          /responded with 404 and HTML, which isn't a response of a Cycles server\. Is CYCLES_BASE_URL right\?/
        )
      })
    )

    it.live("says that another JSON service isn't a Cycles server", () =>
      Effect.gen(function* () {
        const { url } = yield* listen(json(200, { hello: "world" }))
        expect(yield* failure(envOf(url))).toMatch(/responded with 200, which isn't a response of a Cycles server/)
      })
    )

    it.live("blames the server behind a load balancer for its 502, not the address", () =>
      Effect.gen(function* () {
        const { url } = yield* listen((outgoing) =>
          outgoing.writeHead(502, { "content-type": "text/html" }).end("<html>Bad gateway</html>")
        )
        const text = yield* failure(envOf(url))
        expect(text).toMatch(/502 and HTML, without an error of the protocol.*Is it running\?/)
        expect(text).not.toContain("CYCLES_BASE_URL")
      })
    )

    it.live("names the target of a redirect, without its password", () =>
      Effect.gen(function* () {
        const { url } = yield* listen((outgoing) =>
          outgoing.writeHead(301, { location: "https://u:hunter22@cycles.example.com/v1" }).end()
        )
        const text = yield* failure(envOf(url))
        expect(text).toMatch(/301 and no body to https:\/\/\*\*\*@cycles\.example\.com\/v1\. Redirects aren't followed/)
        expect(text).not.toContain("hunter22")
      })
    )

    it.live("suggests the address without the path if a Cycles server is there", () =>
      Effect.gen(function* () {
        const { env, url } = yield* serve
        expect(yield* failure({ ...env, CYCLES_BASE_URL: `${url}/v1/reservations` })).toContain(
          `but ${url} is a Cycles server. Remove the path: CYCLES_BASE_URL=${url}.`
        )
      })
    )

    it.each([
      ["DEPTH_ZERO_SELF_SIGNED_CERT", /isn't trusted.*NODE_EXTRA_CA_CERTS/],
      ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", /isn't trusted.*NODE_EXTRA_CA_CERTS/],
      ["CERT_HAS_EXPIRED", /isn't trusted.*Renew the certificate/],
      ["ERR_TLS_CERT_ALTNAME_INVALID", /isn't trusted.*another host name/],
      ["ERR_SSL_WRONG_VERSION_NUMBER", /No TLS connection.*http:\/\/cycles\.example\.com/],
      ["EAI_AGAIN", /can't be resolved/],
      ["UND_ERR_CONNECT_TIMEOUT", /No connection to cycles\.example\.com.*CYCLES_CONNECT_TIMEOUT/],
      ["EHOSTUNREACH", /No connection to cycles\.example\.com/],
      ["UND_ERR_SOCKET", /No TLS connection/],
      ["EWHATEVER", /failed: EWHATEVER\. Check the address, and the proxies/]
    ] as const)("explains %s", (code, expected) => {
      const settings = {
        config: { baseUrl: "", apiKey: Redacted.make(key) },
        baseUrl: "https://cycles.example.com",
        timeout: Duration.seconds(10),
        connectTimeout: Duration.seconds(2)
      }
      const failure = { kind: "unknown", mayHaveArrived: false, problem: code, cause: undefined } as const
      const finding = Connection.reachability(settings, { _tag: "Failure", failure, codes: [code] })
      expect(finding.status).toBe("failed")
      expect(`${finding.summary} ${finding.todo}`).toMatch(expected)
    })

    it.live("names the proxy that the request used, without its password", () =>
      Effect.gen(function* () {
        const { host } = new URL(yield* refusingUrl)
        yield* stubEnv("HTTP_PROXY", `http://u:hunter22@${host}`)
        const text = yield* failure(envOf("http://cycles.internal"))
        expect(text).toContain(`The request used the proxy http://***@${host}: is it right`)
        expect(text).not.toContain("hunter22")
      })
    )

    it.live("says that a proxy requires a password, or throttles", () =>
      Effect.gen(function* () {
        const respond = (status: number) =>
          Effect.map(
            listen((outgoing) => outgoing.writeHead(status).end()),
            ({ url }) => url
          )
        expect(yield* failure(envOf(yield* respond(407)))).toContain("A proxy requires a user name")
        expect(yield* failure(envOf(yield* respond(429)))).toContain("throttles this machine")
      })
    )

    it.live("accepts a trailing /v1", () =>
      Effect.gen(function* () {
        const { env, url } = yield* serve
        const report = yield* doctor({ ...env, CYCLES_BASE_URL: `${url}/v1/` })
        expect(report.of("reachability")[0]).toMatchObject({ status: "ok" })
        expect(report.code).toBe(0)
      })
    )
  })

  describe("key", () => {
    it.live("fails for a key that the server doesn't have, and doesn't print it", () =>
      Effect.gen(function* () {
        const { env } = yield* serve
        const report = yield* doctor({ ...env, CYCLES_API_KEY: key })
        expect(report.of("key")[0]?.summary).toMatch(/^The server refuses the key \(401 UNAUTHORIZED\)/)
        expect(report.of("key")[0]?.todo).toContain("CYCLES_API_KEY")
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
            todo: "Ask the administrator for a key with the permissions of the runtime plane."
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
            todo: "Set CYCLES_TENANT=globex, or use a key of acme."
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
          todo: "The budget is frozen. Ask the administrator to unfreeze it."
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
        expect(finding?.todo).toContain("NTP")
      })
    )
  })

  describe("journal", () => {
    const check = (...args: ReadonlyArray<string>) => Effect.map(doctor({}, ...args), (report) => report.of("journal"))

    it.live("doesn't create a missing journal", () =>
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "journal.sqlite")
        expect(yield* check("--journal", path)).toMatchObject([
          { status: "ok", summary: `${path} doesn't exist yet; the first client creates it` }
        ])
        expect(() => readFileSync(path)).toThrow("ENOENT")
      })
    )

    it.live("fails for a file that isn't a database, and doesn't change it", () =>
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "journal.sqlite")
        writeFileSync(path, "no database at all, but long enough to be read as a header of one, I hope")
        const before = readFileSync(path)
        expect(yield* check("--journal", path)).toMatchObject([
          { status: "failed", todo: expect.stringContaining("damaged") }
        ])
        expect(readFileSync(path).equals(before)).toBe(true)
      })
    )

    it.live("fails for a journal of a newer version, and doesn't change it", () =>
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "journal.sqlite")
        yield* using(JournalSqlite.layer({ filename: path }), (journal) => journal.put(record("r1")))
        const db = new DatabaseSync(path)
        db.exec("PRAGMA user_version = 99")
        db.close()
        const before = readFileSync(path)
        expect(yield* check("--journal", path)).toMatchObject([
          {
            status: "failed",
            summary: expect.stringContaining("has format 99"),
            todo: "A newer version of effect-cycles wrote it: update effect-cycles. The file isn't changed."
          }
        ])
        expect(readFileSync(path).equals(before)).toBe(true)
      })
    )

    it.live("fails for the database of another program", () =>
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "other.sqlite")
        const db = new DatabaseSync(path)
        db.exec("CREATE TABLE mine (a)")
        db.close()
        expect(yield* check("--journal", path)).toMatchObject([
          { status: "failed", summary: expect.stringContaining("is not a journal of this client") }
        ])
      })
    )

    it.live("fails if the folder can't be written", () =>
      Effect.gen(function* () {
        expect(yield* check("--journal", "/proc/effect-cycles/journal.sqlite")).toMatchObject([
          { status: "failed", summary: "/proc isn't writable: spend that isn't settled can't be journaled." }
        ])
      })
    )

    it.live("warns about dead letters and old pending records", () =>
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "journal.sqlite")
        yield* using(JournalSqlite.layer({ filename: path }), (journal) =>
          Effect.andThen(
            journal.put(record("old")),
            journal.bury({ record: record("dead"), reason: "BUDGET_FROZEN", diedAtMs: 1_700_000_000_000 })
          )
        )
        const findings = yield* check("--journal", path)
        expect(findings.map(({ status }) => status)).toEqual(["warning", "warning"])
        expect(findings[0]?.summary).toBe(`1 dead letter in ${path}: spend that no budget shows.`)
        expect(findings[1]?.summary).toMatch(/^1 record in .* pending for up to \d+ d\.$/)
        expect(findings[1]?.todo).toContain("effect-cycles journal retry")
      })
    )

    it.live("reads a journal of format 1 without upgrading it", () =>
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "journal.sqlite")
        writeSqliteV1(path)
        const before = readFileSync(path)
        expect((yield* check("--journal", path)).map(({ summary }) => summary.slice(0, 8))).toEqual([
          "2 dead l",
          "6 record"
        ])
        expect(readFileSync(path).equals(before)).toBe(true)
      })
    )

    it.live("warns that the journal is disabled", () =>
      Effect.gen(function* () {
        const ran = yield* run("doctor --json", { CYCLES_JOURNAL_ENABLED: "false" })
        expect(ran.out).toContain("The journal is disabled")
      })
    )

    it.live("warns about damaged files of a files journal", () =>
      Effect.gen(function* () {
        const folder = temporaryFolder()
        mkdirSync(join(folder, owner.fingerprint))
        writeFileSync(join(folder, owner.fingerprint, "v2-broken.json"), "{")
        expect(yield* check("--journal", folder)).toMatchObject([
          { status: "warning", summary: expect.stringContaining("1 damaged") }
        ])
      })
    )
  })
})

/** A server that speaks TLS only. It has no certificate, which isn't needed to refuse plain HTTP. */
const listenTls = Effect.acquireRelease(
  Effect.promise(
    () =>
      new Promise<{ readonly port: number; readonly server: Https.Server }>((resolve) => {
        const server = Https.createServer()
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          resolve({ port: typeof address === "object" && address !== null ? address.port : 0, server })
        })
      })
  ),
  ({ server }) => Effect.sync(() => server.close())
).pipe(Effect.map(({ port }) => port))
