import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Cycles from "effect-cycles/Cycles"
import type { OnCrash, Settle } from "effect-cycles/CyclesConfig"
import * as JournalFiles from "effect-cycles/node/JournalFiles"
import * as JournalSqlite from "effect-cycles/node/JournalSqlite"
import * as NodeCycles from "effect-cycles/node/NodeCycles"
import { spawn } from "node:child_process"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Work } from "../src/bin/crash-worker.ts"
import * as LedgerServer from "../src/internal/ledgerServer.ts"
import { temporaryFolder } from "../src/internal/temporaryFolder.ts"

const worker = join(import.meta.dirname, "../src/bin/crash-worker.ts")

/** How many processes are killed: `CYCLES_CRASH_KILLS`, 18 if it isn't set. */
const kills = Number(process.env["CYCLES_CRASH_KILLS"] ?? 18)

const kinds = ["sqlite", "files"] as const

const policies = (["attempt", "wait", "background"] as const)
  .flatMap((settle) => (["expire", "recorded", "estimate"] as const).map((onCrash) => [settle, onCrash] as const))
  .map(([settle, onCrash], number) => [settle, onCrash, number] as const)

const estimate = 100

const roundsEach = Math.max(1, Math.round(kills / (kinds.length * policies.length)))

const timeoutMs = 120_000 + kills * 2_000

// ---------------------------------------------------------------------------------------------------------------------
// stage
// ---------------------------------------------------------------------------------------------------------------------

/** A server, a journal and a log. */
const makeStage = (kind: Work["kind"], settle: Settle, onCrash: OnCrash) =>
  Effect.gen(function* () {
    const server = yield* LedgerServer.make
    const folder = yield* temporaryFolder
    const log = join(folder, "log")
    const journal = join(folder, kind === "files" ? "journal" : "journal.sqlite")
    const work = (run: string): Work => ({
      baseUrl: server.url,
      apiKey: server.apiKey,
      tenant: server.tenant,
      journal,
      kind,
      log,
      run,
      settle,
      onCrash,
      clients: 1,
      ttlMs: 1_000
    })
    /** Settles the records of killed processes with a new client. Returns the result of the flush and the dead letters. */
    const replay = Effect.gen(function* () {
      const flushed = yield* Cycles.flush()
      const letters = yield* Stream.runCollect(Cycles.deadLetters)
      return { flushed, letters: letters.map(({ reason }) => reason) }
    }).pipe(
      Effect.provide(
        NodeCycles.layer(
          { baseUrl: server.url, apiKey: Redacted.make(server.apiKey), subject: { tenant: server.tenant } },
          {
            journal:
              kind === "files" ? JournalFiles.layer({ folder: journal }) : JournalSqlite.layer({ filename: journal })
          }
        )
      ),
      Effect.orDie
    )
    return { server, folder, log, work, replay }
  })

type Stage = Effect.Success<ReturnType<typeof makeStage>>

const settledAll = { flushed: { isComplete: true, pending: 0 }, letters: [] }

const textOf = (log: string): string => (existsSync(log) ? readFileSync(log, "utf8") : "")

/** Starts a worker. It is killed when the scope closes. */
const startWorker = (work: Work) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, [worker, JSON.stringify(work)], { stdio: ["ignore", "ignore", "inherit"] })
      const ended = new Promise<number | null>((resolve) => child.once("exit", resolve))
      return { child, ended }
    }),
    ({ child, ended }) =>
      Effect.promise(async () => {
        child.kill("SIGKILL")
        await ended
      })
  )

/** Waits until the log contains a text. Polls in real time, because another process writes the log. */
const logged = (log: string, text: string) =>
  Effect.gen(function* () {
    while (!textOf(log).includes(text)) yield* Effect.sleep(2)
  })

/** Starts a worker, and kills it after a delay that varies with the round, so that every step is hit. */
const killed = (log: string, work: Work, round: number, after: "began" | "settled" = "began") =>
  Effect.scoped(
    Effect.gen(function* () {
      yield* startWorker(work)
      yield* logged(log, `${after} ${work.run}-`)
      yield* Effect.sleep((round * 37) % 150)
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// the ledger
// ---------------------------------------------------------------------------------------------------------------------

/** Returns the wrong charges of the calls in the log. */
const problemsOf = ({ log, server }: Stage, onCrash: OnCrash) =>
  Effect.gen(function* () {
    const lines = textOf(log)
      .split("\n")
      .map((line) => line.split(" "))
    const of = (what: string) => lines.filter(([step]) => step === what)
    const recorded = new Map(of("recorded").map(([, id = "", total]) => [id, Number(total)]))
    const reported = new Map(of("reported").map(([, id = "", total]) => [id, Number(total)]))
    const settled = new Set(of("settled").map(([, id = ""]) => id))
    const began = new Set(of("began").map(([, id = ""]) => id))
    const charges = yield* server.charges
    const problems: Array<string> = []
    for (const [id, amounts] of charges) if (amounts.length > 1) problems.push(`${id} was charged ${amounts.join()}`)
    for (const id of began) {
      const charge = charges.get(id)?.[0] ?? 0
      const total = reported.get(id)
      if (settled.has(id) && charge !== total) problems.push(`${id} was settled, and charged ${charge} of ${total}`)
      // A total may be durable before its line is in the log. With `estimate`, the estimate is charged until there is a first
      // total.
      if (onCrash !== "expire" && charge < (recorded.get(id) ?? (onCrash === "estimate" ? 1 : 0)))
        problems.push(`${id} recorded ${recorded.get(id)}, and was charged ${charge}`)
      if (total !== undefined && charge > total) problems.push(`${id} reported ${total}, and was charged ${charge}`)
      if (charge > estimate) problems.push(`${id} was charged ${charge}`)
    }
    const sum = Array.from(charges.values()).reduce((total, amounts) => total + amounts.reduce((a, b) => a + b, 0), 0)
    const spent = yield* server.spent
    if (sum !== spent) problems.push(`the budget shows ${spent} of ${sum}`)
    return { problems, count: settled.size }
  })

/** Waits until the leases of dead processes have ended, including their extensions. They end in the real time of the server. */
const leasesEnd = ({ server }: Stage) =>
  Effect.gen(function* () {
    while ((yield* server.active).length > 0) yield* Effect.sleep(100)
  })

// ---------------------------------------------------------------------------------------------------------------------
// tests
// ---------------------------------------------------------------------------------------------------------------------

describe("client killed under load", () => {
  describe.each(kinds)("with a %s journal", (kind) => {
    it.live.each(policies)(
      "settles all spend exactly once in the next client (settle %s, onCrash %s)",
      ([settle, onCrash, number]) =>
        Effect.scoped(
          Effect.gen(function* () {
            const stage = yield* makeStage(kind, settle, onCrash)
            for (let round = number; round < number + roundsEach; round += 1) {
              yield* killed(stage.log, stage.work(`round${round}`), round)
              // Alternates between restarts during the leases (commits) and after them (events).
              if (round % 2 === 1) yield* leasesEnd(stage)
              expect(yield* stage.replay).toEqual(settledAll)
            }
            const { problems } = yield* problemsOf(stage, onCrash)
            expect(problems).toEqual([])
            yield* leasesEnd(stage)
          })
        ),
      timeoutMs
    )

    it.live(
      "charges recorded spend by an event after the lease",
      () =>
        Effect.scoped(
          Effect.gen(function* () {
            const stage = yield* makeStage(kind, "attempt", "recorded")
            yield* Effect.scoped(
              Effect.gen(function* () {
                yield* startWorker({ ...stage.work("lost"), until: join(stage.folder, "never") })
                yield* logged(stage.log, "recorded lost 40")
              })
            )
            yield* leasesEnd(stage)
            expect(yield* stage.replay).toEqual(settledAll)
            expect(yield* stage.server.charges).toEqual(new Map([["lost", [40]]]))
            expect(yield* stage.replay).toEqual(settledAll)
            expect(yield* stage.server.spent).toBe(40)
          })
        ),
      timeoutMs
    )

    it.live(
      "doesn't adopt the open reservation of a process that is alive",
      () =>
        Effect.scoped(
          Effect.gen(function* () {
            const stage = yield* makeStage(kind, "attempt", "recorded")
            const go = join(stage.folder, "go")
            const survivor = yield* startWorker({ ...stage.work("survivor"), until: go, ttlMs: 60_000 })
            yield* logged(stage.log, "recorded survivor 40")
            for (let round = 0; round < Math.max(2, roundsEach); round += 1) {
              yield* killed(stage.log, stage.work(`round${round}`), round)
              expect(yield* stage.replay).toEqual(settledAll)
              expect((yield* stage.server.charges).get("survivor")).toBe(undefined)
              expect(yield* stage.server.active).toContain("survivor")
            }
            writeFileSync(go, "")
            expect(yield* Effect.promise(() => survivor.ended)).toBe(0)
            expect((yield* stage.server.charges).get("survivor")).toEqual([60])
            expect(yield* stage.replay).toEqual(settledAll)
            expect((yield* problemsOf(stage, "recorded")).problems).toEqual([])
          })
        ),
      timeoutMs
    )

    it.live(
      "settles all spend with two clients in one process, while others start and end",
      () =>
        Effect.scoped(
          Effect.gen(function* () {
            const stage = yield* makeStage(kind, "attempt", "recorded")
            for (let round = 0; round < Math.max(2, roundsEach); round += 1) {
              yield* killed(stage.log, { ...stage.work(`round${round}`), clients: 2 }, round, "settled")
            }
            expect(yield* stage.replay).toEqual(settledAll)
            const { count, problems } = yield* problemsOf(stage, "recorded")
            expect(problems).toEqual([])
            expect(count).toBeGreaterThan(0)
          })
        ),
      timeoutMs
    )
  })
})
