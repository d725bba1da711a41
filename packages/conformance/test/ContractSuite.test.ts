import * as NodeCyclesServer from "@effect-cycles/server/NodeCyclesServer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { join } from "node:path"
import * as ContractSuite from "../src/ContractSuite.ts"
import * as QuirkServer from "../src/QuirkServer.ts"
import { temporaryFolder } from "../src/internal/temporaryFolder.ts"

const embedded = (data: string | undefined) =>
  Effect.map(NodeCyclesServer.make({ port: 0, adminPort: 0, adminKey: "K", data }), ({ adminUrl, url }) => ({
    baseUrl: url,
    admin: { url: adminUrl, key: Redacted.make("K") }
  }))

ContractSuite.suite("embedded, memory", Layer.effect(ContractSuite.Target, embedded(undefined)), { isTimeDriven: true })

ContractSuite.suite(
  "embedded, SQLite",
  Layer.effect(
    ContractSuite.Target,
    Effect.flatMap(temporaryFolder, (folder) => embedded(join(folder, "ledger.sqlite")))
  ),
  { isTimeDriven: true }
)

ContractSuite.suite(
  "with the quirks of the reference server",
  Layer.effect(
    ContractSuite.Target,
    Effect.map(QuirkServer.make({ keyCheckMs: 5, slowReadMs: 20, requestsPerConnection: 5 }), ({ server, url }) => ({
      baseUrl: url,
      admin: { url, key: server.adminKey }
    }))
  ),
  { isTimeDriven: false }
)
