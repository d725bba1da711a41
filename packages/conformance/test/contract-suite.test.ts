import * as NodeCyclesServer from "@effect-cycles/server/NodeCyclesServer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as ContractSuite from "../src/ContractSuite.ts"
import * as HabitServer from "../src/HabitServer.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-cycles-contract-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const embedded = (kind: "memory" | "SQLite") =>
  Layer.effect(
    ContractSuite.Target,
    Effect.gen(function* () {
      const data = kind === "SQLite" ? join(yield* folder, "ledger.sqlite") : undefined
      const { adminUrl, url } = yield* NodeCyclesServer.make({ port: 0, adminPort: 0, adminKey: "K", data })
      return { baseUrl: url, adminUrl, adminKey: Redacted.make("K") }
    })
  )

const withHabits = Layer.effect(
  ContractSuite.Target,
  Effect.map(HabitServer.make({ keyCheckMs: 5, slowReadMs: 20, requestsPerConnection: 5 }), ({ server, url }) => ({
    baseUrl: url,
    adminUrl: url,
    adminKey: server.adminKey
  }))
)

ContractSuite.suite("embedded, in memory", embedded("memory"))
ContractSuite.suite("embedded, in SQLite", embedded("SQLite"))
ContractSuite.suite("embedded, with the habits of the reference server", withHabits)
