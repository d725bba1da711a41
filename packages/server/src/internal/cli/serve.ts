/**
 * Runs a server until the process is stopped, and prints where it listens.
 */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import type { HandledRequest, Running } from "../../NodeCyclesServer.ts"
import * as NodeCyclesServer from "../../NodeCyclesServer.ts"
import * as CyclesServer from "../../CyclesServer.ts"
import type { SeedTenant, Seeded } from "../seed.ts"
import { checkSeed, seedTenants } from "../seed.ts"
import * as SeedFile from "../seedFile.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The options of a run. */
export interface Options {
  readonly port: number
  readonly adminPort: number | undefined
  readonly host: string
  /** Default: a generated key, which is printed. */
  readonly adminKey: string | undefined
  readonly data: string | undefined
  readonly requestLog: boolean
  readonly page: boolean
  /** In seconds. */
  readonly sweepInterval: number
  readonly seed: ReadonlyArray<SeedTenant>
}

/** A server that runs, and its secrets. */
export interface Served {
  readonly running: Running
  readonly adminKey: string
  readonly isAdminKeyGenerated: boolean
  readonly seeded: Seeded
}

/** The command can't run: an option, the seed file, the data file or the port. The process exits with 2. */
export class CommandFailed extends Schema.TaggedError<CommandFailed>()("CommandFailed", {
  problem: Schema.String
}) {
  override readonly [Runtime.errorExitCode] = 2
  override readonly [Runtime.errorReported] = false

  override get message(): string {
    return this.problem
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// serve
// ---------------------------------------------------------------------------------------------------------------------

/** Reads a seed file. */
export const readSeed = (path: string): Effect.Effect<ReadonlyArray<SeedTenant>, CommandFailed> =>
  Effect.try({
    try: () => SeedFile.parse(readFileSync(path, "utf8")),
    catch: (error) => new CommandFailed({ problem: `The seed file ${path} can't be used: ${problemOf(error)}` })
  })

/** Starts a server with its seed. `source` names the seed in errors. */
export const start = (options: Options, source: string) =>
  Effect.gen(function* () {
    const nowMs = yield* Clock.currentTimeMillis
    const attempt = <A>(apply: () => A) =>
      Effect.try({
        try: apply,
        catch: (error) => new CommandFailed({ problem: `${source} can't be used: ${problemOf(error)}` })
      })
    // A seed that the server rejects must not change a data file.
    yield* attempt(() => seedTenants(CyclesServer.makeServer(), options.seed, nowMs))
    const adminKey = options.adminKey ?? randomBytes(24).toString("base64url")
    const running = yield* NodeCyclesServer.make({
      port: options.port,
      adminPort: options.adminPort,
      host: options.host,
      adminKey,
      data: options.data,
      page: options.page,
      sweepInterval: `${options.sweepInterval} seconds`,
      onWarning: (message) => console.warn(`Warning: ${message}`),
      ...(options.requestLog ? { onRequest: (request) => console.log(lineOf(request)) } : undefined)
    }).pipe(Effect.mapError(({ message }) => new CommandFailed({ problem: message })))
    const { server } = running
    yield* attempt(() => checkSeed(server, options.seed))
    const seeded = yield* attempt(() => seedTenants(server, options.seed, nowMs))
    server.store.commit()
    if (!loopback.has(options.host)) {
      yield* Console.log(
        `Warning: other machines can reach ${options.host}. Requests and keys are unencrypted unless a TLS proxy is in front`
      )
    }
    yield* Console.log(`listening on ${running.url} (pid ${process.pid})`)
    const served: Served = { running, adminKey, isAdminKeyGenerated: options.adminKey === undefined, seeded }
    return served
  })

/** Addresses that other machines can't reach. */
const loopback: ReadonlySet<string> = new Set(["127.0.0.1", "::1", "localhost"])

const problemOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replace(/^The embedded server can't be created: /, "")

/** One line of the request log. */
const lineOf = ({ durationMs, error, method, path, status, tenant }: HandledRequest): string =>
  [
    new Date().toISOString(),
    method,
    path,
    status,
    `${durationMs.toFixed(1)}ms`,
    ...(tenant === undefined ? [] : [tenant]),
    ...(error === undefined ? [] : [`${error.code}: ${error.message}`])
  ].join(" ")
