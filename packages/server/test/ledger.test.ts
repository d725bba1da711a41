/**
 * The invariants of the ledger, as properties over random commands.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, vi } from "vitest"
import * as CyclesServer from "../src/CyclesServer.ts"
import type { Server } from "../src/internal/call.ts"
import * as Handler from "../src/internal/handler.ts"
import type { Budget } from "../src/internal/model.ts"
import { remaining } from "../src/internal/model.ts"
import * as SqliteStore from "../src/internal/sqliteStore.ts"
import type { Store } from "../src/internal/store.ts"
import { makeMemory } from "../src/internal/store.ts"

const max = 9_223_372_036_854_775_807n

// ---------------------------------------------------------------------------------------------------------------------
// commands
// ---------------------------------------------------------------------------------------------------------------------

const small = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 60 }))

const Command = Schema.Struct({
  what: Schema.Literals([
    "reserve",
    "reserve",
    "commit",
    "commit",
    "release",
    "extend",
    "event",
    "credit",
    "repay",
    "wait",
    "again"
  ]),
  amount: small,
  which: small,
  agent: Schema.Boolean,
  policy: Schema.Literals(["REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT"])
})

type Command = typeof Command.Type

const commands = Schema.Array(Command).check(Schema.isMaxLength(40))

interface Request {
  readonly url: string
  readonly body: object
}

/** A server with deterministic ids and time, and a log of its responses. */
class CommandRunner {
  readonly server: Server
  readonly #apiKey: string
  readonly #sent: Array<Request> = []
  readonly ids: Array<string> = []
  readonly responses: Array<string> = []
  nowMs = 1_700_000_000_000

  constructor(store: Store) {
    let count = 0
    const makeId = () => `00000000-0000-4000-8000-${String(++count).padStart(12, "0")}`
    this.server = CyclesServer.makeServer({
      store,
      adminKey: "K",
      makeId,
      secrets: { make: () => `cyc_live_${makeId()}`, hash: (secret) => `hash of ${secret}` }
    })
    this.admin("/v1/admin/tenants", { tenant_id: "acme", name: "acme" })
    const key: unknown = JSON.parse(this.admin("/v1/admin/api-keys", { tenant_id: "acme", name: "k" }))
    this.#apiKey = String(Object(key)["key_secret"])
    for (const [scope, allocated] of [
      ["tenant:acme", 200],
      ["tenant:acme/agent:a", 90]
    ] as const) {
      this.admin("/v1/admin/budgets", {
        tenant_id: "acme",
        scope,
        unit: "TOKENS",
        allocated: { unit: "TOKENS", amount: allocated },
        overdraft_limit: { unit: "TOKENS", amount: 30 }
      })
    }
  }

  admin(url: string, body: object): string {
    return this.#send("admin", { url, body }, { "x-admin-api-key": "K" })
  }

  runtime(request: Request): string {
    this.#sent.push(request)
    return this.#send("runtime", request, { "x-cycles-api-key": this.#apiKey })
  }

  #send(plane: Handler.Plane, request: Request, headers: Record<string, string>): string {
    const { body, status } = Handler.handle(
      this.server,
      plane,
      {
        method: "POST",
        url: request.url,
        headers: { ...headers, "content-type": "application/json" },
        body: JSON.stringify(request.body)
      },
      this.nowMs
    )
    this.server.store.commit()
    this.responses.push(`${status} ${body}`)
    return body
  }

  get budgets(): ReadonlyArray<Budget> {
    return Array.from(this.server.store.budgets.ofOwner("acme"))
  }

  /** Runs a command. Only the command `again` repeats an idempotency key. */
  run(command: Command, i: number): void {
    const amount = { unit: "TOKENS", amount: command.amount }
    const subject = command.agent ? { tenant: "acme", agent: "a" } : { tenant: "acme" }
    const action = { kind: "k", name: "n" }
    const idempotency_key = `key-${i}`
    const id = this.ids[command.which % Math.max(1, this.ids.length)] ?? "none"
    switch (command.what) {
      case "reserve": {
        const body = {
          idempotency_key,
          subject,
          action,
          estimate: amount,
          ttl_ms: 1_000 + command.which * 500,
          overage_policy: command.policy
        }
        const response: unknown = JSON.parse(this.runtime({ url: "/v1/reservations", body }))
        const id: unknown = Object(response)["reservation_id"]
        if (typeof id === "string") this.ids.push(id)
        return
      }
      case "commit":
        return void this.runtime({ url: `/v1/reservations/${id}/commit`, body: { idempotency_key, actual: amount } })
      case "release":
        return void this.runtime({ url: `/v1/reservations/${id}/release`, body: { idempotency_key } })
      case "extend":
        return void this.runtime({
          url: `/v1/reservations/${id}/extend`,
          body: { idempotency_key, extend_by_ms: 1 + command.amount }
        })
      case "event":
        return void this.runtime({
          url: "/v1/events",
          body: { idempotency_key, subject, action, actual: amount, overage_policy: command.policy }
        })
      case "credit":
      case "repay":
        return void this.admin("/v1/admin/budgets/fund?tenant_id=acme&scope=tenant:acme&unit=TOKENS", {
          operation: command.what === "credit" ? "CREDIT" : "REPAY_DEBT",
          amount,
          idempotency_key
        })
      case "wait":
        this.nowMs += command.amount * 400
        return
      case "again": {
        const earlier = this.#sent[command.which % Math.max(1, this.#sent.length)]
        if (earlier !== undefined) void this.runtime(earlier)
      }
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// laws
// ---------------------------------------------------------------------------------------------------------------------

/** JSON with sorted keys, equal for equal values. */
const canonicalJson = (value: unknown): string =>
  JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner === "bigint") return `${inner}n`
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner
    return Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  })

const stateOf = (runner: CommandRunner): string =>
  canonicalJson([runner.budgets, Array.from(runner.server.store.reservations.ofOwner("acme"))])

const checkLaws = (runner: CommandRunner): void => {
  const rows = Array.from(runner.server.store.reservations.ofOwner("acme"))
  for (const budget of runner.budgets) {
    const reserved = rows
      .filter((row) => row.status === "ACTIVE" && row.heldScopes.includes(budget.scope))
      .reduce((sum, row) => sum + row.amount, 0n)
    // The reserved amount is the sum of the active reservations: each reserves on all its scopes or on none.
    expect([budget.scope, budget.reserved]).toEqual([budget.scope, reserved])
    expect(remaining(budget)).toBe(budget.allocated - budget.spent - budget.reserved - budget.debt)
    expect(budget.spent >= 0n && budget.debt >= 0n && budget.reserved >= 0n).toBe(true)
    expect(budget.debt <= budget.overdraftLimit).toBe(true)
    // Only debt makes the remaining amount negative.
    expect(remaining(budget) >= -budget.debt).toBe(true)
  }
}

/** Runs per property: `CYCLES_PROPERTY_RUNS`, by default 300; an eighth of that on SQLite. */
const runs = Number(process.env["CYCLES_PROPERTY_RUNS"] ?? 300)
const fileRuns = Math.ceil(runs / 8)

vi.setConfig({ testTimeout: 5_000 + 50 * runs })

const folder = mkdtempSync(join(tmpdir(), "effect-cycles-ledger-"))

afterAll(() => rmSync(folder, { recursive: true, force: true }))

let files = 0

const stores: ReadonlyArray<readonly [string, () => Store, number]> = [
  ["memory", makeMemory, runs],
  ["SQLite", () => SqliteStore.open(join(folder, `${++files}.sqlite`)), fileRuns]
]

describe("Ledger", () => {
  describe.each(stores)("in %s", (_name, open, numRuns) => {
    it.prop(
      `keeps its invariants after each of up to 40 random commands (${numRuns} runs)`,
      { commands },
      ({ commands }) => {
        const store = open()
        const runner = new CommandRunner(store)
        const finished = new Map<string, string>()
        commands.forEach((command, i) => {
          runner.run(command, i)
          checkLaws(runner)
          for (const row of runner.server.store.reservations.ofOwner("acme")) {
            if (row.status === "ACTIVE") continue
            const text = canonicalJson(row)
            // A settled or expired reservation never changes.
            expect(finished.get(row.id) ?? text).toBe(text)
            finished.set(row.id, text)
          }
        })
        store.close()
      },
      { arbitrary: { runs: numRuns } }
    )
  })

  it.prop(
    `is deterministic: the same commands at the same times give the same state and responses (${runs} runs)`,
    { commands },
    ({ commands }) => {
      const [one, other] = [new CommandRunner(makeMemory()), new CommandRunner(makeMemory())]
      commands.forEach((command, i) => (one.run(command, i), other.run(command, i)))
      expect(stateOf(one)).toBe(stateOf(other))
      expect(one.responses).toEqual(other.responses)
    },
    { arbitrary: { runs } }
  )

  it.prop(
    `gives the same state and responses in memory and on SQLite (${fileRuns} runs)`,
    { commands },
    ({ commands }) => {
      const store = SqliteStore.open(join(folder, `${++files}.sqlite`))
      const [one, other] = [new CommandRunner(makeMemory()), new CommandRunner(store)]
      commands.forEach((command, i) => (one.run(command, i), other.run(command, i)))
      expect(stateOf(other)).toBe(stateOf(one))
      expect(other.responses).toEqual(one.responses)
      store.close()
    },
    { arbitrary: { runs: fileRuns } }
  )

  it.prop(
    `repeats the response to a repeated request, except remaining_ttl_ms, and changes nothing (${runs} runs)`,
    { commands },
    ({ commands }) => {
      const runner = new CommandRunner(makeMemory())
      const done: Array<{ readonly request: Request; readonly response: string }> = []
      const original = runner.runtime.bind(runner)
      const last = () => (runner.responses.at(-1) ?? "").replace(/"remaining_ttl_ms":\d+/g, "")
      runner.runtime = (request) => {
        const body = original(request)
        if (last().startsWith("20")) done.push({ request, response: last() })
        return body
      }
      commands.filter((command) => command.what !== "wait").forEach((command, i) => runner.run(command, i))
      const before = stateOf(runner)
      for (const { response, request } of done) {
        original(request)
        expect(last()).toBe(response)
      }
      expect(stateOf(runner)).toBe(before)
    },
    { arbitrary: { runs } }
  )

  it("stores no denial: the same request succeeds when the budget suffices", () => {
    const runner = new CommandRunner(makeMemory())
    const reserve: Command = { what: "reserve", amount: 60, which: 0, agent: true, policy: "REJECT" }
    runner.run(reserve, 0)
    runner.run(reserve, 1)
    expect(runner.responses.at(-1)?.startsWith("409")).toBe(true)
    runner.run({ ...reserve, what: "release" }, 2)
    runner.run(reserve, 1)
    expect(runner.responses.at(-1)?.startsWith("200")).toBe(true)
  })

  it("returns the reserved amount when the grace period of a reservation ends", () => {
    const runner = new CommandRunner(makeMemory())
    runner.runtime({
      url: "/v1/reservations",
      body: {
        idempotency_key: "k",
        subject: { tenant: "acme", agent: "a" },
        action: { kind: "k", name: "n" },
        estimate: { unit: "TOKENS", amount: 50 },
        ttl_ms: 1_000,
        grace_period_ms: 500
      }
    })
    runner.nowMs += 1_500
    Handler.sweep(runner.server, runner.nowMs)
    expect(runner.budgets.map((budget) => budget.reserved)).toEqual([50n, 50n])
    runner.nowMs += 1
    Handler.sweep(runner.server, runner.nowMs)
    expect(runner.budgets.map((budget) => budget.reserved)).toEqual([0n, 0n])
  })

  it("allocates up to 2^63-1, and rejects more", () => {
    const runner = new CommandRunner(makeMemory())
    const fund = (amount: bigint) =>
      Handler.handle(
        runner.server,
        "admin",
        {
          method: "POST",
          url: "/v1/admin/budgets/fund?tenant_id=acme&scope=tenant:acme&unit=TOKENS",
          headers: { "x-admin-api-key": "K", "content-type": "application/json" },
          body: `{"operation":"CREDIT","amount":{"unit":"TOKENS","amount":${amount}}}`
        },
        runner.nowMs
      )
    expect(fund(max - 200n).status).toBe(200)
    expect(fund(1n).status).toBe(400)
    expect(runner.budgets[0]?.allocated).toBe(max)
  })
})
