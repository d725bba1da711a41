/**
 * The command `cycles-server` as a process.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { ChildProcess } from "node:child_process"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect, request, send, createTenant, untilClosed } from "./support/sockets.ts"

const bin = join(import.meta.dirname, "../src/bin.ts")

interface Started {
  readonly child: ChildProcess
  readonly url: string
  /** Everything it printed on stdout and stderr. */
  readonly printed: () => string
  /** Succeeds with the exit code or the signal when the process has exited. */
  readonly exited: Effect.Effect<number | string | null>
}

/** Starts the program, and waits until it listens or exits. */
const run = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.callback<Started>((resume) => {
      let printed = ""
      const child = spawn(process.execPath, [bin, "--port", "0", "--admin-key", "K", ...args], {
        stdio: ["ignore", "pipe", "pipe"]
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

describe("cycles-server", () => {
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
        const folder = yield* Effect.acquireRelease(
          Effect.sync(() => Fs.mkdtempSync(join(tmpdir(), "effect-cycles-bin-"))),
          (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
        )
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
      }),
    30_000
  )

  it.live.each([
    [
      "a file that is not a data file",
      ["--data", bin],
      /^The Cycles server can't run: .*bin\.ts isn't a data file of this server\n$/
    ],
    ["an invalid port", ["--admin-port", "70000"], /^--admin-port must be a port from 0 to 65535, got 70000\n$/],
    ["a missing admin key", ["--admin-key", ""], /^--admin-key .* is required/],
    ["an unknown option", ["--seed-me"], /^Unknown option '--seed-me'.*\n$/]
  ] as const)("exits with status 2 and one line for %s", ([, args, line]) =>
    Effect.gen(function* () {
      const before = Fs.readFileSync(bin)
      const { exited, printed } = yield* run(...args)
      expect([yield* exited, printed()]).toEqual([2, expect.stringMatching(line)])
      expect(Fs.readFileSync(bin)).toEqual(before)
    })
  )
})
