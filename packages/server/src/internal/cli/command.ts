/**
 * The command `cycles-server` with its subcommands `dev` and `serve`.
 */
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import type { SeedTenant } from "../seed.ts"
import * as Flags from "./flags.ts"
import { readSeed, start } from "./serve.ts"

// ---------------------------------------------------------------------------------------------------------------------
// serve
// ---------------------------------------------------------------------------------------------------------------------

const serve = Command.make(
  "serve",
  {
    ...Flags.common(false),
    adminPort: Flags.adminPort.pipe(
      Flag.withDescription("Port of the admin plane; without it both planes share one port"),
      Flag.optional
    ),
    adminKey: Flags.secret("admin-key").pipe(
      Flag.withDescription("Key of the admin plane; without it one is generated and shown once"),
      Flag.withFallbackConfig(Config.NonEmptyString("CYCLES_ADMIN_API_KEY")),
      Flag.optional
    ),
    data: Flag.String("data").pipe(
      Flag.withMetavar("file"),
      Flag.withDescription("Data file, which is created if it is missing; without it the ledger is in memory"),
      Flag.optional
    ),
    seed: Flag.String("seed").pipe(
      Flag.withMetavar("file"),
      Flag.withDescription("JSON file with tenants, keys, budgets and policies, which are created if they are missing"),
      Flag.optional
    )
  },
  Effect.fn(function* (flags) {
    const path = Option.getOrUndefined(flags.seed)
    const { adminKey, isAdminKeyGenerated, seeded } = yield* start(
      {
        ...flags,
        adminPort: Option.getOrUndefined(flags.adminPort),
        adminKey: Option.getOrUndefined(flags.adminKey),
        data: Option.getOrUndefined(flags.data),
        seed: path === undefined ? [] : yield* readSeed(path)
      },
      `The seed file ${path}`
    )
    if (isAdminKeyGenerated) yield* Console.log(`admin key, shown once: ${adminKey}`)
    if (path !== undefined) {
      const { budgets, keys, policies, tenants } = seeded
      yield* Console.log(
        `seed: created ${tenants} tenants, ${keys.length} keys, ${budgets} budgets, ${policies} policies`
      )
    }
    for (const { isGenerated, name, secret, tenant } of seeded.keys) {
      if (isGenerated) yield* Console.log(`key ${name} of tenant ${tenant}, shown once: ${secret}`)
    }
    return yield* Effect.never
  }, Effect.scoped)
).pipe(
  Command.withDescription("Run a server in memory or on a data file"),
  Command.withExamples([
    {
      command: "cycles-server serve --data ledger.sqlite --admin-port 7979 --seed seed.json",
      description: "Keep the ledger in a file, and create the objects of the seed file"
    }
  ])
)

// ---------------------------------------------------------------------------------------------------------------------
// dev
// ---------------------------------------------------------------------------------------------------------------------

const devTenant: Omit<SeedTenant, "keys"> = {
  tenant: "acme",
  budgets: [
    { unit: "TOKENS", allocated: 1_000_000 },
    { unit: "USD_MICROCENTS", allocated: 1_000_000_000 }
  ]
}

const dev = Command.make(
  "dev",
  {
    ...Flags.common(true),
    adminPort: Flags.adminPort.pipe(
      Flag.withDescription("Port of the admin plane. Default: 7979"),
      Flag.withDefault(7979)
    ),
    apiKey: Flags.apiKey.pipe(
      Flag.withDescription("Key of the tenant, which stays the same after a restart; without it one is generated"),
      Flag.optional
    ),
    adminKey: Flags.secret("admin-key").pipe(
      Flag.withDescription("Key of the admin plane; without it one is generated"),
      Flag.optional
    )
  },
  Effect.fn(function* (flags) {
    const { adminKey, running, seeded } = yield* start(
      {
        ...flags,
        adminKey: Option.getOrUndefined(flags.adminKey),
        data: undefined,
        seed: [{ ...devTenant, keys: [{ name: "dev", secret: Option.getOrUndefined(flags.apiKey) }] }]
      },
      "The tenant of dev"
    )
    yield* Console.log(
      [
        `runtime plane  ${running.url}`,
        `admin plane    ${running.adminUrl}  (X-Admin-API-Key: ${adminKey})`,
        ...(flags.page ? [`page           ${running.url}/`] : []),
        "store          in memory: everything is lost when the process ends",
        "budgets        tenant:acme with 1,000,000 TOKENS and 10 dollars (1,000,000,000 USD_MICROCENTS)",
        "",
        `CYCLES_BASE_URL=${running.url}`,
        `CYCLES_API_KEY=${seeded.keys[0]?.secret ?? ""}`,
        `CYCLES_TENANT=${devTenant.tenant}`,
        ""
      ].join("\n")
    )
    return yield* Effect.never
  }, Effect.scoped)
).pipe(
  Command.withDescription("Run a server in memory with a tenant, budgets and a key, for development"),
  Command.withExamples([
    { command: "cycles-server dev", description: "Start, and print the configuration of a client" }
  ])
)

/** The whole command. */
export const command = Command.make("cycles-server").pipe(
  Command.withDescription("An embedded Cycles server: budgets for calls that cost money"),
  Command.withSubcommands([dev, serve])
)
