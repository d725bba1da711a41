/**
 * Shared by the examples: a server, readable output, and checks that end the program.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { NodeCyclesServer } from "@effect-cycles/server"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { JournalSqlite } from "effect-cycles/node"
import type { SettlementJournal } from "effect-cycles"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { makeTenant, post } from "./administrator.ts"
import type { AdminPlane } from "./administrator.ts"

/** The settings of a connection to the server. */
export interface Connection {
  readonly baseUrl: string
  readonly tenant: string
  readonly apiKey: Redacted.Redacted
  /** A journal in a temporary folder, which is removed afterwards. */
  readonly journal: Layer.Layer<SettlementJournal.SettlementJournal>
}

/** A check of an example failed. */
class Wrong extends Schema.TaggedError<Wrong>()("Wrong", { what: Schema.String }) {
  override get message(): string {
    return `The example failed: ${this.what}`
  }
}

/** Prints a line. */
export const say = (line: string): Effect.Effect<void> => Effect.sync(() => console.log(`   ${line}`))

/** Prints the claim if it holds, or fails. */
export const check = (what: string, holds: boolean): Effect.Effect<void, Wrong> =>
  holds ? say(`ok: ${what}`) : Effect.fail(new Wrong({ what }))

/** A step with its heading. */
export const section = <A, E, R>(title: string, body: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.andThen(
    Effect.sync(() => console.log(`\n${title}`)),
    body
  )

/** Runs an example on the server that the environment names, or on an embedded one; exits with 1 if a step fails. */
export const withServer = <E extends { readonly message: string }>(
  budget: { readonly unit: string; readonly allocated: number },
  run: (connection: Connection) => Effect.Effect<void, E>
): void => {
  const program = Effect.gen(function* () {
    const { baseUrl, ...plane } = yield* server
    const administrate = <A>(request: () => Promise<A>): Effect.Effect<A, Wrong> =>
      Effect.tryPromise({
        try: request,
        catch: (cause) =>
          new Wrong({
            what:
              cause instanceof TypeError
                ? `no Cycles server responds at ${plane.adminUrl}: start it, or check CYCLES_ADMIN_URL`
                : cause instanceof Error
                  ? cause.message
                  : String(cause)
          })
      })

    console.log(`\n0. The administrator's part, on ${baseUrl}`)
    const health = yield* Effect.tryPromise({
      try: () => fetch(`${baseUrl}/actuator/health`),
      catch: () =>
        new Wrong({
          what: `no Cycles server responds at ${baseUrl}: start it, or unset CYCLES_BASE_URL to use an embedded server`
        })
    })
    yield* say(health.status === 200 ? "health: UP" : `this server guards its health page (${health.status})`)
    const tenant = `quick-${crypto.randomUUID().slice(0, 8)}`
    const apiKey = yield* administrate(async () => {
      const key = await makeTenant(plane, tenant, { unit: budget.unit, amount: budget.allocated })
      await post(plane, "policies", {
        tenant_id: tenant,
        name: "writers",
        scope_pattern: `tenant:${tenant}/agent:writer`,
        caps: { max_tokens: 512, tool_denylist: ["shell"] }
      })
      return key
    })
    yield* say(`tenant ${tenant} with ${budget.allocated} ${budget.unit}, and caps for its agent "writer"`)

    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-cycles-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    )
    yield* run({
      baseUrl,
      tenant,
      apiKey: Redacted.make(apiKey),
      journal: JournalSqlite.layer({ filename: join(folder, "journal.sqlite") })
    })
    console.log("\nDone.")
  })
  NodeRuntime.runMain(Effect.scoped(program))
}

interface Place extends AdminPlane {
  readonly baseUrl: string
}

const server = Effect.suspend((): Effect.Effect<Place, Wrong | NodeCyclesServer.ServerError, Scope.Scope> => {
  const { CYCLES_ADMIN_API_KEY, CYCLES_ADMIN_URL, CYCLES_BASE_URL } = process.env
  if (CYCLES_BASE_URL !== undefined) {
    return CYCLES_ADMIN_API_KEY === undefined
      ? Effect.fail(
          new Wrong({
            what: "CYCLES_BASE_URL is set, but CYCLES_ADMIN_API_KEY isn't: set the key of the admin plane, or unset CYCLES_BASE_URL"
          })
        )
      : Effect.succeed({
          baseUrl: CYCLES_BASE_URL,
          adminUrl: CYCLES_ADMIN_URL ?? CYCLES_BASE_URL,
          adminKey: CYCLES_ADMIN_API_KEY
        })
  }
  const adminKey = crypto.randomUUID()
  return Effect.map(NodeCyclesServer.make({ port: 0, adminPort: 0, adminKey }), ({ adminUrl, url }) => ({
    baseUrl: url,
    adminUrl,
    adminKey
  }))
})
