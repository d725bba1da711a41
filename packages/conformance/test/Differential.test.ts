import * as NodeCyclesServer from "@effect-cycles/server/NodeCyclesServer"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { join } from "node:path"
import * as Differential from "../src/Differential.ts"
import { temporaryFolder } from "../src/internal/temporaryFolder.ts"
import * as Loopback from "../src/internal/loopback.ts"
import { runProgram } from "../src/internal/program.ts"

/** The number of requests to each server: `CYCLES_DIFFERENTIAL_REQUESTS`, 2000 if it isn't set. */
const requests = Number(process.env["CYCLES_DIFFERENTIAL_REQUESTS"] ?? 2_000)

const seed = Number(process.env["CYCLES_DIFFERENTIAL_SEED"] ?? 20_261_127)

const adminKey = "K"

const serve = (data?: string) =>
  Effect.map(NodeCyclesServer.make({ port: 0, adminPort: 0, adminKey, data }), ({ adminUrl, url }) => ({
    url,
    adminUrl,
    adminKey
  }))

/** A server whose runtime plane passes through a change of its responses. */
const changed = (target: Differential.Target, change: (path: string, text: string) => string) =>
  Effect.map(
    Loopback.listen(0, (incoming, body, outgoing) => {
      const { headers, method, url } = Loopback.requestOf(incoming, body)
      void fetch(target.url + url, { method, headers, ...(body === "" ? undefined : { body }) }).then(
        async (response) => {
          const text = change(url, await response.text())
          outgoing.writeHead(response.status, { "content-type": response.headers.get("content-type") ?? "" }).end(text)
        }
      )
    }),
    (url) => ({ ...target, url })
  )

describe("Differential", () => {
  it.live(
    "finds no difference between the stores in memory and in SQLite",
    () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const a = yield* serve()
        const b = yield* serve(join(folder, "ledger.sqlite"))
        const report = yield* Differential.run({ a, b, seed, requests })
        expect(report.failure).toBeUndefined()
      }),
    120_000 + requests * 50
  )

  it.live(
    "finds a server that returns another decision, and shrinks to the requests that show it",
    () =>
      Effect.gen(function* () {
        const a = yield* serve()
        const b = yield* changed(yield* serve(), (path, text) =>
          path === "/v1/reservations" ? text.replace('"decision":"ALLOW"', '"decision":"DENY"') : text
        )
        const report = yield* Differential.run({ a, b, seed, requests: 2_000 })
        expect(report.failure).toContain('POST /v1/reservations: body.decision is "ALLOW" and "DENY"')
        expect(report.failure?.split("\n").length).toBeLessThan(8)
      }),
    240_000
  )

  it.live.each(["runtime", "admin"] as const)(
    "ends before the first request, with the exit code 2, if the %s plane of a server can't be reached",
    (plane) =>
      Effect.gen(function* () {
        const { adminUrl, url } = yield* serve()
        const closed = yield* Effect.scoped(Loopback.listen(0, () => {}))
        const b = plane === "runtime" ? ["--b", closed, "--admin-b", adminUrl] : ["--b", url, "--admin-b", closed]
        const args = ["--a", url, "--admin-a", adminUrl, ...b, "--requests", "1"]
        const ended = yield* runProgram("differential", args, "", { CYCLES_ADMIN_API_KEY: adminKey })
        expect(ended.code).toBe(2)
        expect(ended.stderr).toContain(`${closed} can't be reached: connect ECONNREFUSED`)
        expect(ended.stdout).not.toContain("requests to each server")
      }),
    60_000
  )
})
