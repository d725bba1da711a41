/**
 * The laws of the ledger, as properties over random commands.
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

/** A server whose names and times are those of the test. */
class World {
  readonly server: Server
  readonly #apiKey: string
  readonly #sent: Array<Request> = []
  readonly ids: Array<string> = []
  readonly answers: Array<string> = []
  nowMs = 1_700_000_000_000

  constructor(store: Store) {
    let names = 0
    const name = () => `00000000-0000-4000-8000-${String(++names).padStart(12, "0")}`
    this.server = CyclesServer.makeServer({
      store,
      adminKey: "K",
      makeId: name,
      secrets: { make: () => `cyc_live_${name()}`, hash: (secret) => `hash of ${secret}` }
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
    return this.#ask("admin", { url, body }, { "x-admin-api-key": "K" })
  }

  runtime(request: Request): string {
    this.#sent.push(request)
    return this.#ask("runtime", request, { "x-cycles-api-key": this.#apiKey })
  }

  #ask(plane: Handler.Plane, request: Request, headers: Record<string, string>): string {
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
    if (this.server.store.isDirty()) this.server.store.commit()
    this.answers.push(`${status} ${body}`)
    return body
  }

  get budgets(): ReadonlyArray<Budget> {
    return Array.from(this.server.store.budgets.ofOwner("acme"))
  }

  /** Runs a command. Keys are counted, so that none comes twice unless it is meant to. */
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
        const answer: unknown = JSON.parse(this.runtime({ url: "/v1/reservations", body }))
        const made: unknown = Object(answer)["reservation_id"]
        if (typeof made === "string") this.ids.push(made)
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

/** Text that two equal values share, whatever the order of their keys. */
const json = (value: unknown): string =>
  JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner === "bigint") return `${inner}n`
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner
    return Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  })

const booksOf = (world: World): string =>
  json([world.budgets, Array.from(world.server.store.reservations.ofOwner("acme"))])

const checkLaws = (world: World): void => {
  const rows = Array.from(world.server.store.reservations.ofOwner("acme"))
  for (const budget of world.budgets) {
    const held = rows
      .filter((row) => row.status === "ACTIVE" && row.heldScopes.includes(budget.scope))
      .reduce((sum, row) => sum + row.amount, 0n)
    // What is held is exactly what active reservations hold: all scopes of each, or none.
    expect([budget.scope, budget.reserved]).toEqual([budget.scope, held])
    expect(remaining(budget)).toBe(budget.allocated - budget.spent - budget.reserved - budget.debt)
    expect(budget.spent >= 0n && budget.debt >= 0n && budget.reserved >= 0n).toBe(true)
    expect(budget.debt <= budget.overdraftLimit).toBe(true)
    // Below zero by no more than the debt that was allowed.
    expect(remaining(budget) >= -budget.debt).toBe(true)
  }
}

/** How often each law is tried: `CYCLES_PROPERTY_RUNS`, 300 if nothing is said; over a file one in eight. */
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

describe("the ledger", () => {
  describe.each(stores)("in %s", (_name, open, numRuns) => {
    it.prop(
      `keeps its books by the laws, after each of up to 40 commands (${numRuns} runs)`,
      { commands },
      ({ commands }) => {
        const store = open()
        const world = new World(store)
        const finished = new Map<string, string>()
        commands.forEach((command, i) => {
          world.run(command, i)
          checkLaws(world)
          for (const row of world.server.store.reservations.ofOwner("acme")) {
            if (row.status === "ACTIVE") continue
            const text = json(row)
            // A finished reservation never moves again.
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
    `is a function of commands and time: the same sequence gives the same books and answers (${runs} runs)`,
    { commands },
    ({ commands }) => {
      const [one, other] = [new World(makeMemory()), new World(makeMemory())]
      commands.forEach((command, i) => (one.run(command, i), other.run(command, i)))
      expect(booksOf(one)).toBe(booksOf(other))
      expect(one.answers).toEqual(other.answers)
    },
    { arbitrary: { runs } }
  )

  it.prop(
    `keeps the same books, and gives the same answers, in memory and in SQLite (${fileRuns} runs)`,
    { commands },
    ({ commands }) => {
      const store = SqliteStore.open(join(folder, `${++files}.sqlite`))
      const [one, other] = [new World(makeMemory()), new World(store)]
      commands.forEach((command, i) => (one.run(command, i), other.run(command, i)))
      expect(booksOf(other)).toBe(booksOf(one))
      expect(other.answers).toEqual(one.answers)
      store.close()
    },
    { arbitrary: { runs: fileRuns } }
  )

  it.prop(
    `is not changed by repeating what it has done, and answers as before but for the time left (${runs} runs)`,
    { commands },
    ({ commands }) => {
      const world = new World(makeMemory())
      const done: Array<{ readonly request: Request; readonly answer: string }> = []
      const original = world.runtime.bind(world)
      const last = () => (world.answers.at(-1) ?? "").replace(/"remaining_ttl_ms":\d+/g, "")
      world.runtime = (request) => {
        const body = original(request)
        if (last().startsWith("20")) done.push({ request, answer: last() })
        return body
      }
      commands.filter((command) => command.what !== "wait").forEach((command, i) => world.run(command, i))
      const before = booksOf(world)
      for (const { answer, request } of done) {
        original(request)
        expect(last()).toBe(answer)
      }
      expect(booksOf(world)).toBe(before)
    },
    { arbitrary: { runs } }
  )

  it("keeps no refusal: the same request succeeds once there is budget for it", () => {
    const world = new World(makeMemory())
    const reserve: Command = { what: "reserve", amount: 60, which: 0, agent: true, policy: "REJECT" }
    world.run(reserve, 0)
    world.run(reserve, 1)
    expect(world.answers.at(-1)?.startsWith("409")).toBe(true)
    world.run({ ...reserve, what: "release" }, 2)
    world.run(reserve, 1)
    expect(world.answers.at(-1)?.startsWith("200")).toBe(true)
  })

  it("gives back exactly what was held when a reservation expires, at the end of its grace", () => {
    const world = new World(makeMemory())
    world.runtime({
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
    world.nowMs += 1_500
    Handler.sweep(world.server, world.nowMs)
    expect(world.budgets.map((budget) => budget.reserved)).toEqual([50n, 50n])
    world.nowMs += 1
    Handler.sweep(world.server, world.nowMs)
    expect(world.budgets.map((budget) => budget.reserved)).toEqual([0n, 0n])
  })

  it("holds 64 bits without overflow, and refuses what would not fit", () => {
    const world = new World(makeMemory())
    const fund = (amount: bigint) =>
      Handler.handle(
        world.server,
        "admin",
        {
          method: "POST",
          url: "/v1/admin/budgets/fund?tenant_id=acme&scope=tenant:acme&unit=TOKENS",
          headers: { "x-admin-api-key": "K", "content-type": "application/json" },
          body: `{"operation":"CREDIT","amount":{"unit":"TOKENS","amount":${amount}}}`
        },
        world.nowMs
      )
    expect(fund(max - 200n).status).toBe(200)
    expect(fund(1n).status).toBe(400)
    expect(world.budgets[0]?.allocated).toBe(max)
  })
})
