/**
 * `pnpm test:workflow`: workflows with guarded activities whose state is in PostgreSQL. Their process is killed at
 * random times until all of them have ended.
 */
import { CyclesServer } from "@effect-cycles/server"
import { Effect, Redacted } from "effect"
import type { Cycles } from "effect-cycles"
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import * as Postgres from "./postgres.ts"
import type { Work } from "./worker.ts"

/** How many workflows run for each policy: `CYCLES_WORKFLOWS`, 6 if it isn't set. */
const workflows = Number(process.env["CYCLES_WORKFLOWS"] ?? 6)

const steps = ["Draft", "Check", "Final"]

let passed = 0
let failed = 0
const check = (what: string, got: unknown, expected: unknown): void => {
  const isFine = JSON.stringify(got) === JSON.stringify(expected)
  if (isFine) passed += 1
  else failed += 1
  console.log(isFine ? `ok   ${what}` : `FAIL ${what}: ${JSON.stringify(got)} instead of ${JSON.stringify(expected)}`)
}

/** The embedded server, on a free port of the loopback interface. */
const startCycles = async () => {
  const server = await Effect.runPromise(
    CyclesServer.makeMemoryServer({ budgets: [{ unit: "TOKENS", allocated: 1_000_000 }] })
  )
  let requests = 0
  const http = createServer((incoming, outgoing) => {
    const chunks: Array<Uint8Array> = []
    incoming.on("data", (chunk) => chunks.push(chunk))
    incoming.on("end", () => {
      requests += 1
      const headers = Object.fromEntries(
        Object.entries(incoming.headers).map(([name, value]) => [name, String(value)] as const)
      )
      const request = {
        method: incoming.method ?? "",
        url: incoming.url ?? "",
        headers,
        body: Buffer.concat(chunks).toString()
      }
      const response = Effect.runSync(server.handle(request))
      outgoing.writeHead(response.status, response.headers).end(response.body)
    })
  })
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve))
  const address = http.address()
  return {
    baseUrl: `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`,
    server,
    requests: () => requests,
    stop: () => http.closeAllConnections()
  }
}

interface Ended {
  readonly id: string
  readonly spent: number
  readonly end: string
}

/** Runs the worker, and kills it some time after its start. Returns whether it ended by itself. */
const runWorker = (work: Work, killAfterMs: number | undefined, ended: Map<string, Ended>): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(import.meta.dirname, "worker.ts"), JSON.stringify(work)], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    let timer: ReturnType<typeof setTimeout> | undefined
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line === "started" && killAfterMs !== undefined) timer = setTimeout(() => child.kill("SIGKILL"), killAfterMs)
      if (!line.startsWith("{")) return
      const result: Ended = JSON.parse(line)
      ended.set(result.id, result)
    })
    child.on("exit", (code, signal) => {
      clearTimeout(timer)
      if (signal === null && code !== 0) reject(new Error(`the worker failed with ${code}`))
      else resolve(signal === null)
    })
  })

const postgres = await Postgres.start()
if (typeof postgres === "string") {
  console.log(`PostgreSQL can't run here: ${postgres}. Nothing was tested.`)
  process.exit(1)
}
const folder = mkdtempSync(join(tmpdir(), "effect-cycles-workflows-"))
const cycles = await startCycles()
try {
  const { server } = cycles
  for (const onRepeat of ["again", "ifReleased"] satisfies ReadonlyArray<Cycles.OnRepeat>) {
    const log = join(folder, onRepeat)
    writeFileSync(log, "")
    const ids = Array.from({ length: workflows }, (_, i) => `${onRepeat}-${i + 1}`)
    const work: Work = {
      baseUrl: cycles.baseUrl,
      apiKey: Redacted.value(server.apiKey),
      tenant: server.tenant,
      postgres: { host: postgres.host, port: postgres.port },
      log,
      ids,
      onRepeat
    }
    const ended = new Map<string, Ended>()
    const startedAt = Date.now()
    let kills = 0
    /** Kills after which some bodies had run, and some workflows hadn't ended. */
    let inTheMiddle = 0
    let hasEnded = false
    while (!hasEnded) {
      const linesBefore = readFileSync(log, "utf8").length
      hasEnded = await runWorker(work, kills < 4 * workflows ? Math.random() * 1_000 : undefined, ended)
      if (hasEnded) break
      kills += 1
      if (readFileSync(log, "utf8").length > linesBefore && ended.size < ids.length) inTheMiddle += 1
    }
    const seconds = Math.round((Date.now() - startedAt) / 1000)
    console.log(`     ${onRepeat}: ${kills} kills in ${seconds} s, ${inTheMiddle} of them while activities ran`)
    check(`${onRepeat}: the process was killed in the middle`, inTheMiddle > 0, true)

    const all = await Effect.runPromise(server.reservations)
    const rows = all.filter(({ action }) => action.name.startsWith(`${onRepeat}-`))
    const committed = rows.filter(({ status }) => status === "COMMITTED")
    const countOf = (name: string) => committed.filter(({ action }) => action.name === name).length
    const ends = readFileSync(log, "utf8").trimEnd().split("\n")
    const names = ids.flatMap((id) => steps.map((step) => `${id} ${step}`))

    check(`${onRepeat}: every workflow has ended`, [...ended.keys()].toSorted(), ids.toSorted())
    check(`${onRepeat}: nothing stays reserved`, rows.filter(({ status }) => status === "ACTIVE").length, 0)
    check(
      `${onRepeat}: every key is used for one reservation`,
      new Set(rows.map((row) => row.idempotencyKey)).size,
      rows.length
    )
    check(
      `${onRepeat}: no body is charged that didn't run to its end`,
      names.filter((name) => countOf(name) > ends.filter((end) => end === name).length),
      []
    )
    const finished = ids.filter((id) => ended.get(id)?.end === "RUN_BUDGET_EXCEEDED")
    if (onRepeat === "again") check("again: every workflow has run to its last activity", finished, ids)
    else {
      check(
        "ifReleased: a workflow that didn't was stopped by AlreadySettled",
        ids.filter((id) => !finished.includes(id) && ended.get(id)?.end !== "AlreadySettled"),
        []
      )
      check(
        "ifReleased: no activity is committed twice",
        names.filter((name) => countOf(name) > 1),
        []
      )
    }
    check(
      `${onRepeat}: each activity of these workflows is committed`,
      finished.flatMap((id) => steps.filter((step) => countOf(`${id} ${step}`) === 0)),
      []
    )
    check(
      `${onRepeat}: in the last process, the run has the spend of all activities`,
      finished.filter((id) => ended.get(id)?.spent !== 80 * steps.length),
      []
    )
    check(
      `${onRepeat}: the refused activity reserved nothing`,
      rows.filter(({ action }) => action.name.endsWith("Over")).length,
      0
    )
    console.log(
      `     ${onRepeat}: ${names.length} activities, ${committed.length} commits, ${finished.length} of ${ids.length} workflows finished`
    )

    const before = cycles.requests()
    const replayed = new Map<string, Ended>()
    await runWorker(work, undefined, replayed)
    check(
      `${onRepeat}: another process gets the same results without a request`,
      [cycles.requests() - before, ids.map((id) => replayed.get(id))],
      [0, ids.map((id) => ended.get(id))]
    )
  }
  const all = await Effect.runPromise(server.reservations)
  const books = await Effect.runPromise(server.books("TOKENS"))
  const sum = all.reduce((total, { committed = 0n }) => total + committed, 0n)
  check("the books are the sum of the commits", [Number(books.spent), Number(books.reserved)], [Number(sum), 0])
} finally {
  cycles.stop()
  await postgres.stop()
  rmSync(folder, { recursive: true, force: true })
}
console.log(`\n${passed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
