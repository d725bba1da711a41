import * as NodeCyclesServer from "@effect-cycles/server/NodeCyclesServer"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as LifecycleDriver from "../src/LifecycleDriver.ts"

const worker = join(import.meta.dirname, "../src/bin/crash-worker.ts")

/** Makes a tenant with a budget that is large enough. */
const setUp = (adminUrl: string) =>
  Effect.promise(async () => {
    const post = async (path: string, body: object): Promise<Readonly<Record<string, unknown>>> => {
      const response = await fetch(adminUrl + path, {
        method: "POST",
        headers: { "content-type": "application/json", "x-admin-api-key": "K" },
        body: JSON.stringify(body)
      })
      return Object(await response.json())
    }
    await post("/v1/admin/tenants", { tenant_id: "acme", name: "acme" })
    const key = await post("/v1/admin/api-keys", { tenant_id: "acme", name: "k" })
    const allocated = { unit: "TOKENS", amount: 1_000_000_000 }
    await post("/v1/admin/budgets", { tenant_id: "acme", scope: "tenant:acme", unit: "TOKENS", allocated })
    return String(key["key_secret"])
  })

describe("a client that is killed", () => {
  it.live.each([
    ["sqlite", 20],
    ["files", 10]
  ] as const)(
    "with the journal in %s, %i times: one restart settles everything, each spend once",
    ([kind, rounds]) =>
      Effect.scoped(
        Effect.gen(function* () {
          const running = yield* NodeCyclesServer.make({ port: 0, adminPort: 0, adminKey: "K" })
          const apiKey = yield* setUp(running.adminUrl)
          const folder = yield* Effect.acquireRelease(
            Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-cycles-crash-"))),
            (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
          )
          const log = join(folder, "log")
          const journal = kind === "files" ? folder : join(folder, "journal.sqlite")
          for (let round = 0; round < rounds; round++) {
            const before = existsSync(log) ? readFileSync(log).length : 0
            const child = spawn(
              process.execPath,
              [worker, running.url, apiKey, "acme", journal, log, String(round), kind],
              { stdio: "ignore" }
            )
            const ended = new Promise((resolve) => child.once("exit", resolve))
            // Killed as soon as it is at work, a little later each round: at every step in turn.
            yield* Effect.promise(async () => {
              while ((existsSync(log) ? readFileSync(log).length : 0) === before)
                await new Promise((r) => setTimeout(r, 2))
              await new Promise((r) => setTimeout(r, (round * 37) % 150))
              child.kill("SIGKILL")
              await ended
            })
          }
          const outcome = yield* LifecycleDriver.run({
            baseUrl: running.url,
            apiKey,
            tenant: "acme",
            journal: folder,
            journalKind: kind,
            form: "replay"
          })
          expect(outcome.flush).toEqual({ isComplete: true, pending: 0 })

          const lines = readFileSync(log, "utf8")
            .split("\n")
            .map((line) => line.split(" "))
          const reported = new Map(
            lines.filter(([what]) => what === "reported").map(([, id = "", spent]) => [id, Number(spent)])
          )
          const told = lines.filter(([what]) => what === "told").map(([, id = ""]) => id)
          const rows = Array.from(running.server.store.reservations.ofOwner("acme"))
          const charged = new Map<string, bigint>()
          for (const row of rows) {
            if (row.committed === undefined) continue
            expect([row.action.name, charged.has(row.action.name)]).toEqual([row.action.name, false])
            charged.set(row.action.name, row.committed)
          }
          // What a caller was told is charged; what is charged is what the body reported.
          expect(told.filter((id) => !charged.has(id))).toEqual([])
          const wrong = Array.from(charged).filter(([id, amount]) => BigInt(reported.get(id) ?? -1) !== amount)
          expect(wrong).toEqual([])
          expect(told.length).toBeGreaterThan(rounds)
          const budget = running.server.store.budgets.get("TOKENS tenant:acme")
          expect(budget?.spent).toBe(Array.from(charged.values()).reduce((a, b) => a + b, 0n))
        })
      ),
    120_000
  )
})
