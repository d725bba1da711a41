/**
 * The recovery scenarios of the protocol's client profile, run end to end: the client is a separate process that talks HTTP to
 * a server with injected faults. A restart is a killed process, and two workers are two processes. The checks read the request
 * log and the ledger of the server, and the folder of the journal.
 *
 * @see `client-recovery/scenarios.yaml` of the Cycles protocol
 */
import * as Fault from "@effect-cycles/testing/Fault"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { ChildProcess } from "node:child_process"
import { spawn } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as FaultServer from "./FaultServer.ts"
import type { Quirks } from "./internal/quirks.ts"
import { temporaryFolder } from "./internal/temporaryFolder.ts"
import type { CallSpec } from "./LifecycleDriver.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** One check of a scenario. */
export interface Check {
  readonly name: string
  readonly isMet: boolean
  readonly found: string
}

/** The tools of a scenario. */
interface Stage {
  readonly server: FaultServer.FaultServer
  readonly folder: string
  /** Starts the client in a separate process. */
  readonly start: (spec: Partial<typeof CallSpec.Encoded>) => Client
  readonly check: (name: string, isMet: boolean, found?: unknown) => void
  /** The requests of some operations, in order. */
  readonly requests: (...operations: ReadonlyArray<string>) => ReadonlyArray<FaultServer.ReceivedRequest>
  /** The pending records of the journal. */
  readonly records: () => ReadonlyArray<{ readonly name: string; readonly text: string }>
}

/** A client in a separate process. */
interface Client {
  /** Waits for the end of the process. Returns the JSON that it printed. */
  readonly end: Effect.Effect<Readonly<Record<string, unknown>>>
  readonly log: () => string
  readonly kill: Effect.Effect<void>
}

/** A scenario. */
export type Scenario = (stage: Stage) => Effect.Effect<void, never, Scope.Scope>

// ---------------------------------------------------------------------------------------------------------------------
// run
// ---------------------------------------------------------------------------------------------------------------------

/** Runs a scenario, with the quirks of the reference server if `quirks` is given. Returns its checks. */
export const run = (scenario: Scenario, quirks?: Quirks): Effect.Effect<ReadonlyArray<Check>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const checks: Array<Check> = []
      const server = yield* FaultServer.make(quirks)
      const folder = yield* temporaryFolder
      const children = new Set<ChildProcess>()
      yield* Effect.addFinalizer(() => Effect.sync(() => children.forEach((child) => child.kill("SIGKILL"))))
      yield* scenario({
        server,
        folder,
        start: (spec) =>
          startClient(children, {
            baseUrl: server.url,
            apiKey: Redacted.value(server.server.apiKey),
            tenant: "acme",
            journal: folder,
            journalKind: "files",
            form: "withCycles",
            estimate: { unit: "TOKENS", amount: 100 },
            actual: { unit: "TOKENS", amount: 42 },
            flushTimeoutMs: 5_000,
            timeoutMs: 2_000,
            ...spec
          }),
        check: (name, isMet, found) => void checks.push({ name, isMet, found: JSON.stringify(found) ?? "" }),
        requests: (...operations) =>
          server.received().filter(({ operation }) => operation !== undefined && operations.includes(operation)),
        records: () => recordsIn(folder)
      })
      return checks
    })
  )

const driver = join(import.meta.dirname, "bin/lifecycle-driver.ts")

const startClient = (children: Set<ChildProcess>, spec: typeof CallSpec.Encoded): Client => {
  const child = spawn(process.execPath, [driver], { stdio: ["pipe", "pipe", "pipe"] })
  children.add(child)
  let output = ""
  let log = ""
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")))
  child.stderr.on("data", (chunk: Buffer) => (log += chunk.toString("utf8")))
  child.stdin.end(JSON.stringify(spec))
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()))
  return {
    end: Effect.map(
      Effect.promise(() => ended),
      () => {
        children.delete(child)
        return output.trim() === "" ? {} : JSON.parse(output)
      }
    ),
    log: () => log,
    kill: Effect.andThen(
      Effect.sync(() => child.kill("SIGKILL")),
      Effect.promise(() => ended)
    )
  }
}

const recordsIn = (folder: string): ReadonlyArray<{ readonly name: string; readonly text: string }> =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, encoding: "utf8" })
        .filter((name) => name.endsWith(".json") && !name.includes("dead-letters"))
        .map((name) => ({ name, text: readFileSync(join(folder, name), "utf8") }))
    : []

const keys = (requests: ReadonlyArray<FaultServer.ReceivedRequest>): ReadonlyArray<string | undefined> =>
  requests.map((request) => request.key)

/** The id of the reservation in the path of a request. */
const idOf = ({ path }: FaultServer.ReceivedRequest): string =>
  decodeURIComponent(/^\/v1\/reservations\/([^/?]+)/.exec(path)?.[1] ?? "")

/** The response to a commit of 42 tokens. */
const confirmation = { status: "COMMITTED", charged: { unit: "TOKENS", amount: 42 } }

/** Checks that the ledger contains the actual amount once. */
const chargedOnce = ({ check, server }: Stage) =>
  Effect.map(server.server.books("TOKENS"), ({ spent }) =>
    check("at most one settlement takes place", spent === 42n, String(spent))
  )

/** Creates another API key of the tenant. */
const rotatedKey = ({ server }: FaultServer.FaultServer): Effect.Effect<string> =>
  Effect.map(
    server.handle({
      method: "POST",
      url: "/v1/admin/api-keys",
      headers: { "content-type": "application/json", "x-admin-api-key": Redacted.value(server.adminKey) },
      body: JSON.stringify({ tenant_id: server.tenant, name: "rotated" })
    }),
    ({ body }) => String(JSON.parse(body)["key_secret"])
  )

const areEqual = (values: ReadonlyArray<unknown>): boolean => new Set(values).size === 1

// ---------------------------------------------------------------------------------------------------------------------
// scenarios
// ---------------------------------------------------------------------------------------------------------------------

/** Starts a client whose first commit gets no response, and kills it while it waits. */
const killedInFirstCommit = ({ check, records, server, start }: Stage) =>
  Effect.gen(function* () {
    yield* server.inject("commit", Fault.noResponse)
    const client = start({})
    yield* server.arrived("commit")
    check("the record is in the journal before the first commit gets a response", records().length === 1, records())
    yield* client.kill
    check("the record is still in the journal after the process was killed", records().length === 1, records())
  })

/** The scenarios, by their ids in the profile. */
export const scenarios: Readonly<Record<string, Scenario>> = {
  "CR-CORE-001": (stage) =>
    Effect.gen(function* () {
      const { check, requests, server, start } = stage
      yield* server.inject("commit", Fault.responseLost)
      yield* start({}).end
      const commits = requests("commit")
      check("the commit is retried after its response was lost", commits.length === 2, commits)
      check("the retry carries the original key", areEqual(keys(commits)), keys(commits))
      yield* chargedOnce(stage)
    }),

  "CR-CORE-002": ({ check, requests, server, start }) =>
    Effect.gen(function* () {
      yield* server.inject("commit", Fault.error(410, "RESERVATION_EXPIRED"))
      yield* start({}).end
      const [commit, event, ...more] = requests("commit", "event")
      check("the expired commit is followed by one event", event?.operation === "event" && more.length === 0, event)
      check(
        "the event carries the key of the commit",
        commit?.key !== undefined && commit.key === event?.key,
        event?.key
      )
      check(
        "the event carries the original subject, action and actual",
        JSON.stringify([event?.json["subject"], event?.json["action"], event?.json["actual"]]) ===
          JSON.stringify([
            { tenant: "acme" },
            { kind: "llm.completion", name: "lifecycle-driver" },
            { unit: "TOKENS", amount: 42 }
          ]),
        event?.json
      )
    }),

  "CR-CORE-003": ({ check, requests, server, start }) =>
    Effect.gen(function* () {
      yield* server.inject("extend", Fault.responseLost)
      const client = start({ ttlMs: 7_000, bodyMs: 6_000 })
      const outcome = yield* client.end
      const extensions = requests("extend")
      const reservationId = extensions[0] === undefined ? "no extend" : idOf(extensions[0])
      check("the lost extend is sent again", extensions.length >= 2, extensions)
      check("the retry carries the original key", areEqual(keys(extensions.slice(0, 2))), keys(extensions))
      check(
        "the failure is logged with the reservation and the next step",
        client.log().includes(reservationId) && /next attempt|stops/.test(client.log()),
        client.log()
      )
      check(
        "the call continues and is committed",
        requests("commit").length === 1 && outcome["exit"] === "Success",
        outcome
      )
    }),

  "CR-CORE-004": ({ check, requests, server, start }) =>
    Effect.gen(function* () {
      yield* server.inject(
        "commit",
        Fault.response({ status: 201, body: confirmation }),
        Fault.response({ body: { status: "COMMITTED" } })
      )
      yield* start({}).end
      const commits = requests("commit")
      check("another success status and an invalid body don't count as success", commits.length === 3, commits)
      check("every attempt carries the original key", areEqual(keys(commits)), keys(commits))
    }),

  "CR-DURABLE-001": (stage) =>
    Effect.gen(function* () {
      const { check, records, requests, start } = stage
      yield* killedInFirstCommit(stage)
      yield* start({ form: "replay" }).end
      const commits = requests("commit")
      check("the restarted client commits with the same key", commits.length === 2 && areEqual(keys(commits)), commits)
      check("success removes the record", records().length === 0, records())
    }),

  "CR-DURABLE-002": (stage) =>
    Effect.gen(function* () {
      const { check, records, requests, server, start } = stage
      yield* killedInFirstCommit(stage)
      yield* server.inject("commit", Fault.error(410, "RESERVATION_EXPIRED"))
      yield* server.inject("event", Fault.noResponse)
      const second = start({ form: "replay" })
      yield* server.arrived("event")
      check(
        "event mode is on disk before the event gets a response",
        records().every((record) => record.text.includes('"mode":"event"')) && records().length === 1,
        records()
      )
      yield* second.kill
      const before = requests("commit").length
      yield* start({ form: "replay" }).end
      const settling = requests("commit", "event")
      check("the second restart sends the event, and no commit", requests("commit").length === before, settling)
      check("all requests carry the same key", areEqual(keys(settling)), keys(settling))
      check("success removes the record", records().length === 0, records())
    }),

  "CR-DURABLE-003": (stage) =>
    Effect.gen(function* () {
      const { check, records, requests, server, start } = stage
      yield* server.inject("commit", Fault.error(429, "LIMIT_EXCEEDED", { "retry-after": "4" }))
      const first = start({})
      yield* server.arrived("commit")
      yield* Effect.sleep(300)
      yield* first.kill
      const notBefore = Number(/"not_before_ms":(\d+)/.exec(records()[0]?.text ?? "")?.[1] ?? 0)
      const throttledAt = requests("commit")[0]?.atMs ?? 0
      check(
        "the delay is in the journal",
        notBefore - throttledAt >= 3_900 && notBefore - throttledAt < 5_000,
        notBefore - throttledAt
      )
      const early = start({ form: "replay", flushTimeoutMs: 500 })
      yield* early.end
      check("a restart before the delay has passed sends nothing", requests("commit").length === 1, requests("commit"))
      yield* Effect.sleep(Math.max(0, notBefore - Date.now()) + 100)
      yield* start({ form: "replay" }).end
      const commits = requests("commit")
      check("after the delay it commits with the same key", commits.length === 2 && areEqual(keys(commits)), commits)
      check("the commit isn't sent before the stored instant", (commits[1]?.atMs ?? 0) >= notBefore, commits[1]?.atMs)
      check("success removes the record", records().length === 0, records())
    }),

  "CR-DURABLE-004": (stage) =>
    Effect.gen(function* () {
      const { check, records, requests, server, start } = stage
      yield* killedInFirstCommit(stage)
      const firstKey = Redacted.value(server.server.apiKey)
      check(
        "the record doesn't contain the API key",
        !records().some((record) => record.text.includes(firstKey)),
        records()
      )
      const rotated = yield* rotatedKey(server)
      yield* start({ form: "replay", apiKey: rotated }).end
      const commits = requests("commit")
      check("the new credential finds the record", commits.length === 2 && areEqual(keys(commits)), commits)
      check("the commit is sent with the new credential", commits[1]?.apiKey === rotated, commits[1]?.apiKey)
      check("success removes the record", records().length === 0, records())
    }),

  "CR-DURABLE-005": (stage) =>
    Effect.gen(function* () {
      const { check, folder, records, requests, start } = stage
      yield* killedInFirstCommit(stage)
      const ownerFolder = join(folder, readdirSync(folder)[0] ?? "")
      writeFileSync(join(ownerFolder, `v2-${"0".repeat(64)}.json`), "{ this isn't a record")
      writeFileSync(
        join(ownerFolder, `v2-${"1".repeat(64)}.json`),
        JSON.stringify({ version: 99, reservation_id: "later" })
      )
      const client = start({ form: "replay" })
      yield* client.end
      const aside = readdirSync(ownerFolder).filter((name) => name.endsWith(".corrupt"))
      check("the corrupt and the unsupported record are set aside", aside.length === 2, aside)
      check("the records are reported", client.log().includes("set aside"), client.log())
      check("the other record is replayed", requests("commit").length === 2 && records().length === 0, records())
    }),

  "CR-DURABLE-006": (stage) =>
    Effect.gen(function* () {
      const { check, records, requests, start } = stage
      yield* killedInFirstCommit(stage)
      yield* Effect.all([start({ form: "replay" }).end, start({ form: "replay" }).end], { concurrency: 2 })
      const commits = requests("commit")
      check("two processes may both commit, with the same key", commits.length >= 2 && areEqual(keys(commits)), commits)
      yield* chargedOnce(stage)
      check("the record is removed", records().length === 0, records())
    }),

  "CR-DURABLE-007": (stage) =>
    Effect.gen(function* () {
      const { check, folder, records, requests, server, start } = stage
      yield* killedInFirstCommit(stage)
      // The server doesn't have the reservations of these records.
      yield* server.inject("commit", Fault.times(Fault.response({ body: confirmation }), 2))
      const ownerFolder = join(folder, readdirSync(folder)[0] ?? "")
      const first = records()[0]
      check("a record is named by the digest of its id", /v2-[0-9a-f]{64}\.json$/.test(first?.name ?? ""), first?.name)
      const text = first?.text ?? "{}"
      const template: Readonly<Record<string, unknown>> = JSON.parse(text)
      const legacy = (id: string) => JSON.stringify({ ...template, reservation_id: id })
      rmSync(join(folder, first?.name ?? ""))
      mkdirSync(ownerFolder, { recursive: true })
      // `a/b` and `a.b` had the same old name, `a_b.json`: only one of them can be in it.
      writeFileSync(join(ownerFolder, "a_b.json"), legacy("a/b"))
      writeFileSync(join(ownerFolder, "a_b (1).json"), legacy("a.b"))
      yield* start({ form: "replay" }).end
      const ids = requests("commit").slice(1).map(idOf)
      check("records under old names are found by the ids that they contain", ids.toSorted().join() === "a.b,a/b", ids)
      check("no record is lost or left", records().length === 0, records())
    }),

  "CR-BOUNDARY-001": ({ check, requests, start }) =>
    Effect.gen(function* () {
      const outcome = yield* start({ end: "failure" }).end
      check("nothing is committed and no event is sent", requests("commit", "event").length === 0, requests())
      check("the failure is surfaced", outcome["exit"] === "Failure", outcome)
    })
}
