/**
 * The command `cycles-server` as a process.
 */
import { describe, expect, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { ChildProcess } from "node:child_process"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect, request, send, createTenant, untilClosed } from "./support/sockets.ts"

// Each test starts processes, which a busy machine slows down.
vi.setConfig({ testTimeout: 60_000 })

const bin = join(import.meta.dirname, "../src/bin.ts")

const manifest = join(import.meta.dirname, "../package.json")

interface Started {
  readonly child: ChildProcess
  readonly url: string
  /** Everything it printed on stdout and stderr. */
  readonly printed: () => string
  /** Succeeds with the exit code or the signal when the process has exited. */
  readonly exited: Effect.Effect<number | string | null>
}

/** Starts `serve` on a free port, and waits until it listens or exits. */
const run = (...args: ReadonlyArray<string>) => runBin("serve", "--port", "0", "--admin-key", "K", ...args)

/** Starts the program, and waits until it listens or exits. */
const runBin = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.callback<Started>((resume) => {
      let printed = ""
      const child = spawn(process.execPath, [bin, ...args], {
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, CYCLES_ADMIN_API_KEY: "" }
      })
      const exit = new Promise<number | string | null>((resolve) => {
        child.once("close", (code, signal) => resolve(code ?? signal))
      })
      const started = (url: string): Started => ({
        child,
        url,
        printed: () => printed,
        exited: Effect.promise(() => exit)
      })
      const read = (chunk: Buffer): void => {
        printed += String(chunk)
        const url = /listening on (\S+) \(pid \d+\)\n/.exec(printed)?.[1]
        if (url !== undefined) resume(Effect.succeed(started(url)))
      }
      child.stdout.on("data", read)
      child.stderr.on("data", read)
      void exit.then(() => resume(Effect.succeed(started(""))))
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

/** A folder that is removed with the scope. */
const makeFolder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(join(tmpdir(), "effect-cycles-bin-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

/** Waits until the program has printed a text. */
const untilPrinted = ({ child, printed }: Started, text: string): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const check = () => (printed().includes(text) ? resume(Effect.void) : undefined)
    child.stdout?.on("data", check)
    child.stderr?.on("data", check)
    check()
  })

/** The value of a line such as `CYCLES_TENANT=acme`. */
const valueOf = (printed: string, name: string): string => new RegExp(`^${name}=(\\S+)$`, "m").exec(printed)?.[1] ?? ""

/** The status of a request for balances, and their remaining amounts. */
const getBalances = (url: string, apiKey: string) =>
  Effect.map(
    send(url, request("GET", "/v1/balances?tenant=acme", { "x-cycles-api-key": apiKey })),
    ({ body, status }) => ({
      status,
      remaining: Array.from(Object(JSON.parse(body)).balances ?? [], (balance) => Object(balance).remaining)
    })
  )

describe("cycles-server", () => {
  it.live("prints its version, its help and completions for shells", () =>
    Effect.gen(function* () {
      const printedBy = (...args: ReadonlyArray<string>) =>
        Effect.flatMap(runBin(...args), ({ exited, printed }) => Effect.map(exited, (code) => [code, printed()]))
      const { version } = JSON.parse(Fs.readFileSync(manifest, "utf8"))
      expect(yield* printedBy("--version")).toEqual([0, `cycles-server v${version}\n`])
      expect(yield* printedBy("--help")).toEqual([0, expect.stringMatching(/\bdev {4}.*\bserve {4}/s)])
      expect(yield* printedBy("serve", "--help")).toEqual([0, expect.stringContaining("--sweep-interval")])
      expect(yield* printedBy("--completions", "bash")).toEqual([0, expect.stringContaining("cycles-server")])
    })
  )

  describe("dev", () => {
    it.live("prints the configuration of a client for a tenant with budgets in tokens and dollars", () =>
      Effect.gen(function* () {
        const started = yield* runBin("dev", "--port", "0", "--admin-port", "0", "--api-key", "cyc_test_0123456789")
        yield* untilPrinted(started, "CYCLES_TENANT=acme")
        const text = started.printed()
        expect(text).toContain(`runtime plane  ${started.url}\n`)
        const adminUrl = /^admin plane {4}(\S+) {2}\(X-Admin-API-Key: (\S+)\)$/m.exec(text)
        expect(adminUrl?.[1]).not.toBe(started.url)
        expect(text).toMatch(/^store {10}in memory/m)
        expect(valueOf(text, "CYCLES_BASE_URL")).toBe(started.url)
        expect(valueOf(text, "CYCLES_API_KEY")).toBe("cyc_test_0123456789")
        const { remaining, status } = yield* getBalances(started.url, "cyc_test_0123456789")
        expect([status, remaining]).toEqual([
          200,
          [
            { unit: "TOKENS", amount: 1_000_000 },
            { unit: "USD_MICROCENTS", amount: 1_000_000_000 }
          ]
        ])
        // The request log is on.
        yield* untilPrinted(started, "GET /v1/balances 200")
        yield* getBalances(started.url, "wrong")
        yield* untilPrinted(started, "UNAUTHORIZED: KEY_NOT_FOUND")
        expect(started.printed()).not.toContain("?tenant")
        const admin = yield* send(
          adminUrl?.[1] ?? "",
          request("GET", "/v1/admin/tenants", { "x-admin-api-key": adminUrl?.[2] ?? "" })
        )
        expect(admin.status).toBe(200)
        const budget = {
          tenant_id: "acme",
          scope: "tenant:acme/agent:a",
          unit: "TOKENS",
          allocated: { unit: "TOKENS", amount: 1 },
          period_end: "2100-01-01T00:00:00Z"
        }
        yield* send(
          adminUrl?.[1] ?? "",
          request("POST", "/v1/admin/budgets", { "x-admin-api-key": adminUrl?.[2] ?? "" }, JSON.stringify(budget))
        )
        yield* untilPrinted(started, "Warning: period_end of the TOKENS budget tenant:acme/agent:a has no effect")
        started.child.kill("SIGINT")
        expect(yield* started.exited).toBe(0)
      })
    )
  })

  describe("serve --seed", () => {
    const secret = "cyc_live_0123456789abcdef"
    const seed = {
      tenants: [
        {
          tenant: "acme",
          keys: [{ name: "planner", secret }, { name: "other" }],
          budgets: [{ unit: "TOKENS", allocated: 1_000, caps: { max_tokens: 5 } }],
          policies: [{ name: "all", scopePattern: "*", rateLimits: { maxReservationsPerMinute: 10 } }]
        }
      ]
    }

    it.live("creates missing objects, and changes nothing at the next start", () =>
      Effect.gen(function* () {
        const folder = yield* makeFolder
        const file = join(folder, "seed.json")
        // Integers above 2^53 are exact.
        Fs.writeFileSync(file, JSON.stringify(seed).replace("1000", "9007199254740993"))
        const args = ["--seed", file, "--data", join(folder, "ledger.sqlite")]
        const first = yield* run(...args)
        yield* untilPrinted(first, "shown once: cyc_live_")
        expect(first.printed()).toContain("seed: created 1 tenants, 2 keys, 1 budgets, 1 policies")
        expect(first.printed()).not.toContain(secret)
        const generated = /key other of tenant acme, shown once: (\S+)/.exec(first.printed())?.[1] ?? ""
        first.child.kill("SIGTERM")
        yield* first.exited
        const second = yield* run(...args)
        yield* untilPrinted(second, "seed: created 0 tenants, 0 keys, 0 budgets, 0 policies")
        for (const key of [secret, generated]) expect((yield* getBalances(second.url, key)).status).toBe(200)
        const { body } = yield* send(
          second.url,
          request("GET", "/v1/balances?tenant=acme", { "x-cycles-api-key": secret })
        )
        expect(body).toContain('"remaining":{"unit":"TOKENS","amount":9007199254740993}')
      })
    )

    it.live.each([
      ["isn't there", undefined, "ENOENT: no such file"],
      ["isn't JSON", "{", "it isn't JSON: "],
      ["is a list", "[]", "the file must be an object"],
      ["has an unknown field", '{"tenant":"acme","more":1}', "there is no field more"],
      [
        "has an invalid amount",
        '{"tenant":"acme","budgets":[{"unit":"TOKENS","allocated":-1}]}',
        "budgets.0.allocated must be an integer from 0 to 9223372036854775807, got -1"
      ],
      [
        "has a secret that is too short",
        '{"tenant":"acme","keys":[{"name":"k","secret":"hunter2"}]}',
        "keys.0.secret must be 16 to 128 printable ASCII characters without spaces\n"
      ],
      [
        "has a scope that the server rejects",
        '{"tenant":"acme","budgets":[{"unit":"TOKENS","scope":"team:a","allocated":1}]}',
        "TOKENS budget tenant:acme/team:a: scope segment 'team:a' uses non-canonical kind 'team'"
      ]
    ] as const)("exits with status 2 and one line, and makes no data file, if the seed file %s", ([, text, problem]) =>
      Effect.gen(function* () {
        const folder = yield* makeFolder
        const file = join(folder, "seed.json")
        if (text !== undefined) Fs.writeFileSync(file, text)
        const { exited, printed } = yield* run("--seed", file, "--data", join(folder, "ledger.sqlite"))
        expect(yield* exited).toBe(2)
        expect(printed()).toMatch(/^The seed file \S+seed\.json can't be used: [^\n]+\n$/)
        expect(printed()).toContain(problem)
        expect(Fs.readdirSync(folder)).toEqual(text === undefined ? [] : ["seed.json"])
      })
    )

    it.live("exits with status 2 if a key exists with another secret, and changes nothing", () =>
      Effect.gen(function* () {
        const folder = yield* makeFolder
        const file = join(folder, "seed.json")
        const data = join(folder, "ledger.sqlite")
        Fs.writeFileSync(file, JSON.stringify(seed))
        const first = yield* run("--seed", file, "--data", data)
        first.child.kill("SIGTERM")
        yield* first.exited
        const before = Fs.readFileSync(data)
        const other = { tenant: "other", budgets: [{ unit: "TOKENS", allocated: 1 }] }
        const changed = { tenant: "acme", keys: [{ name: "planner", secret: secret.toUpperCase() }] }
        Fs.writeFileSync(file, JSON.stringify({ tenants: [other, changed] }))
        const second = yield* run("--seed", file, "--data", data)
        expect(yield* second.exited).toBe(2)
        expect(second.printed()).toMatch(/can't be used: key planner of tenant acme: it exists with another secret\n$/)
        expect(Fs.readFileSync(data)).toEqual(before)
      })
    )
  })

  it.live("rejects an invalid key without repeating it", () =>
    Effect.gen(function* () {
      const { exited, printed } = yield* runBin("serve", "--admin-key", "hunter 2")
      expect(yield* exited).toBe(2)
      expect(printed()).toMatch(/^(?!.*hunter)--admin-key must be printable ASCII without spaces.*\n$/)
    })
  )

  it.live("prints a generated admin key once", () =>
    Effect.gen(function* () {
      const started = yield* runBin("serve", "--port", "0")
      yield* untilPrinted(started, "admin key, shown once: ")
      const key = /^admin key, shown once: (\S+)$/m.exec(started.printed())?.[1] ?? ""
      const { status } = yield* send(started.url, request("GET", "/v1/admin/tenants", { "x-admin-api-key": key }))
      expect(status).toBe(200)
    })
  )

  it.live("suggests a free port if the port is in use", () =>
    Effect.gen(function* () {
      const { url } = yield* run()
      const { port } = new URL(url)
      const { exited, printed } = yield* runBin("serve", "--port", port, "--admin-key", "K")
      expect(yield* exited).toBe(2)
      const free = /^The Cycles server can't run: .*EADDRINUSE.*\. Port (\d+) is free\n$/.exec(printed())?.[1] ?? ""
      const started = yield* runBin("serve", "--port", free, "--admin-key", "K")
      expect(new URL(started.url).port).toBe(free)
    })
  )

  it.live("accepts the options of serve without its name", () =>
    Effect.gen(function* () {
      const { printed } = yield* runBin("--port", "0", "--admin-key", "K")
      expect(printed()).toMatch(/^listening on /)
    })
  )

  it.live("listens on the loopback interface and prints one line with its URL and process id", () =>
    Effect.gen(function* () {
      const { child, printed } = yield* run()
      expect(printed()).toMatch(new RegExp(`^listening on http://127\\.0\\.0\\.1:\\d+ \\(pid ${child.pid}\\)\n$`))
    })
  )

  it.live("prints a warning when it listens on a public interface", () =>
    Effect.gen(function* () {
      const { printed } = yield* run("--host", "0.0.0.0")
      expect(printed()).toMatch(/^Warning: other machines can reach 0\.0\.0\.0\. /)
    })
  )

  it.live.each(["SIGTERM", "SIGINT"] as const)(
    "exits on %s with open and half-sent requests, and keeps its data",
    (signal) =>
      Effect.gen(function* () {
        const folder = yield* makeFolder
        const data = join(folder, "ledger.sqlite")
        const first = yield* run("--data", data)
        const apiKey = yield* Effect.promise(() => createTenant(first.url))
        const idle = yield* connect(first.url)
        const half = yield* connect(first.url)
        const closed = yield* Effect.forkChild(untilClosed(half))
        const responded = yield* Effect.forkChild(
          Effect.callback<void>((resume) => void idle.once("data", () => resume(Effect.void)))
        )
        idle.write(request("GET", "/actuator/health", { connection: "keep-alive" }))
        half.write("POST /v1/decide HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n{")
        yield* Fiber.join(responded)
        first.child.kill(signal)
        expect(yield* first.exited).toBe(0)
        yield* Fiber.join(closed)
        expect(first.printed().split("\n").length).toBe(2)
        // A clean shutdown leaves no write-ahead log.
        expect(Fs.readdirSync(folder)).toEqual(["ledger.sqlite"])
        const second = yield* run("--data", data)
        const { body } = yield* send(
          second.url,
          request("GET", "/v1/balances?tenant=acme", { "x-cycles-api-key": apiKey })
        )
        expect(JSON.parse(body).balances[0].remaining.amount).toBe(1_000_000)
      })
  )

  it.live.each([
    [
      "a file that is not a data file",
      ["--data", bin],
      /^The Cycles server can't run: .*bin\.ts isn't a data file of this server\n$/
    ],
    ["an invalid port", ["--admin-port", "70000"], /^--admin-port must be a port from 0 to 65535, got 70000\. .*\n$/],
    [
      "arguments that may be keys",
      ["serve", "--", "--api-key", "cyc_hidden_0123456789"],
      /^The command has no positional arguments, only flags\. .*\n$/
    ],
    [
      "an invalid interval",
      ["--sweep-interval=-1"],
      /^--sweep-interval must be a number of seconds .*, got -1\. .*\n$/
    ],
    ["a repeated option", ["--admin-key", "other"], /^--admin-key must be given at most once\. .*\n$/],
    ["an unknown option", ["--seed-me"], /^Unrecognized flag: --seed-me .*\n$/]
  ] as const)("exits with status 2 and one line for %s", ([, args, line]) =>
    Effect.gen(function* () {
      const before = Fs.readFileSync(bin)
      const { exited, printed } = yield* run(...args)
      expect([yield* exited, printed()]).toEqual([2, expect.stringMatching(line)])
      expect(Fs.readFileSync(bin)).toEqual(before)
    })
  )
})
