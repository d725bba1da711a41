import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { ChildProcess } from "node:child_process"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect, request, send, setUp, untilClosed } from "./support/sockets.ts"

const bin = join(import.meta.dirname, "../src/bin.ts")

interface Started {
  readonly child: ChildProcess
  readonly url: string
  /** What it has printed. */
  readonly printed: () => string
  /** Its exit code, or its signal, once it has ended. */
  readonly ended: Effect.Effect<number | string | null>
}

/** Starts the program and waits for its line, or its end. */
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
        ended: Effect.promise(() => exit)
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

describe("serve", () => {
  it.live("listens on the loopback interface and prints one line with its address and process", () =>
    Effect.gen(function* () {
      const { child, printed } = yield* run()
      expect(printed()).toMatch(new RegExp(`^listening on http://127\\.0\\.0\\.1:\\d+ \\(pid ${child.pid}\\)\n$`))
    })
  )

  it.live("says so when others than this machine can reach it", () =>
    Effect.gen(function* () {
      const { printed } = yield* run("--host", "0.0.0.0")
      expect(printed()).toMatch(/^Anybody who reaches 0\.0\.0\.0 can ask/)
    })
  )

  it.live.each(["SIGTERM", "SIGINT"] as const)(
    "stops on %s with open keep-alive connections, half a request under way, and keeps its books",
    (signal) =>
      Effect.gen(function* () {
        const folder = yield* Effect.acquireRelease(
          Effect.sync(() => Fs.mkdtempSync(join(tmpdir(), "effect-cycles-bin-"))),
          (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
        )
        const data = join(folder, "ledger.sqlite")
        const first = yield* run("--data", data)
        const apiKey = yield* Effect.promise(() => setUp(first.url))
        const idle = yield* connect(first.url)
        const half = yield* connect(first.url)
        const closed = yield* Effect.forkChild(untilClosed(half))
        const answered = yield* Effect.forkChild(
          Effect.callback<void>((resume) => void idle.once("data", () => resume(Effect.void)))
        )
        idle.write(request("GET", "/actuator/health", { connection: "keep-alive" }))
        half.write("POST /v1/decide HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n{")
        yield* Fiber.join(answered)
        first.child.kill(signal)
        expect(yield* first.ended).toBe(0)
        yield* Fiber.join(closed)
        expect(first.printed().split("\n").length).toBe(2)
        // All is in the one file: nothing was left in a log.
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
      "a data file that is none",
      ["--data", bin],
      /^The Cycles server can't run: .*bin\.ts is no data file of this server\n$/
    ],
    ["a port that is none", ["--admin-port", "70000"], /^--admin-port must be a port from 0 to 65535, got 70000\n$/],
    ["no administrator's key", ["--admin-key", ""], /^--admin-key .* is required/],
    ["an option that is none", ["--seed-me"], /^Unknown option '--seed-me'.*\n$/]
  ] as const)("refuses %s with one line and status 2", ([, args, line]) =>
    Effect.gen(function* () {
      const before = Fs.readFileSync(bin)
      const { ended, printed } = yield* run(...args)
      expect([yield* ended, printed()]).toEqual([2, expect.stringMatching(line)])
      expect(Fs.readFileSync(bin)).toEqual(before)
    })
  )
})
