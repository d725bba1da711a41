/**
 * Configuration: environment variables of the client, and arguments, seed files and data files of the server's program.
 * A program starts, or fails with a typed error that contains no key.
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as NodeCycles from "effect-cycles/node/NodeCycles"
import * as NodeCyclesServer from "@effect-cycles/server/NodeCyclesServer"
import { main } from "../../../../server/src/internal/cli/main.ts"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { temporaryFolder } from "../temporaryFolder.ts"
import type { Area } from "./area.ts"
import { Damage, damage, restore } from "./damage.ts"
import * as Json from "./json.ts"
import type { SecretScan } from "./secretScan.ts"
import * as Watch from "./watch.ts"

const variables = [
  "CYCLES_BASE_URL",
  "CYCLES_API_KEY",
  "CYCLES_ADMIN_API_KEY",
  "CYCLES_READ_TIMEOUT",
  "CYCLES_CONNECT_TIMEOUT",
  "CYCLES_RETRY_ENABLED",
  "CYCLES_RETRY_MAX_ATTEMPTS",
  "CYCLES_RETRY_INITIAL_DELAY",
  "CYCLES_RETRY_MULTIPLIER",
  "CYCLES_RETRY_MAX_DELAY",
  "CYCLES_RETRY_FLUSH_TIMEOUT",
  "CYCLES_JOURNAL_ENABLED",
  "CYCLES_JOURNAL_DIR",
  "CYCLES_TENANT",
  "CYCLES_AGENT",
  "CYCLES_MODE",
  "CYCLES_ON_UNREACHABLE"
] as const

const flags = [
  "--port",
  "--admin-port",
  "--host",
  "--admin-key",
  "--api-key",
  "--sweep-interval",
  "--data",
  "--seed",
  "--page",
  "--request-log",
  "--help",
  "--version",
  "--completions",
  "--log-level",
  "--nothing",
  "--",
  "-p",
  "serve",
  "dev"
] as const

const texts = [
  "",
  " ",
  "0",
  "-1",
  "1",
  "1.5",
  "NaN",
  "Infinity",
  "1e400",
  "0x10",
  "99999999999999999999",
  "65536",
  "1 second",
  "-1 second",
  "1e400 seconds",
  "9999999999999 weeks",
  "true",
  "off",
  "TRUE",
  "__proto__",
  "constructor",
  "shadow",
  "é",
  "\ud800",
  "a\u0000b",
  "a\r\nb: c",
  "127.0.0.1",
  "999.1.1.1",
  "::1",
  "http://127.0.0.1:1",
  "https://cycles.example/api/?a=b#c",
  "http://user:hidden-password-0123456789@127.0.0.1:1",
  "http://[::1",
  "http://127.0.0.1:99999",
  "http://%zz",
  "ftp://a",
  "javascript:alert(1)",
  "//a",
  "http://",
  "hidden key with spaces 0123456789",
  "hidden-key-0123456789-\u00e9\u2028",
  "hidden-key-0123456789-ok",
  "../../..",
  "/dev/null/x",
  "/dev/full",
  "~",
  "%s%n"
] as const

const hidden = ["hidden-password-0123456789", "hidden key with spaces 0123456789", "hidden-key-0123456789"]

const Text = Schema.Literals([...texts, "long"])

const valueOf = (text: typeof Text.Type): string => (text === "long" ? "a".repeat(1_000_000) : text)

const Case = Schema.Struct({
  kind: Schema.Literals(["environment", "environment", "arguments", "seed", "data"]),
  variables: Schema.Array(Schema.Struct({ name: Schema.Literals(variables), text: Text })).check(Schema.isMaxLength(4)),
  flags: Schema.Array(Schema.Struct({ name: Schema.Literals(flags), text: Text, isJoined: Schema.Boolean })).check(
    Schema.isMaxLength(4)
  ),
  command: Schema.Literals(["serve", "dev"]),
  mutations: Json.Mutations,
  damage: Damage
})

type Case = typeof Case.Type

/** The area. */
export const configuration: Area<Case> = {
  name: "configuration",
  weight: 2,
  concurrency: 1,
  cases: Arbitrary.schema(Case),
  start: (scan) =>
    Effect.sync(() => {
      hidden.forEach(scan.hide)
      return (value) => Watch.within(limits, scan.watch(Effect.scoped(play(value, scan))))
    })
}

const limits: Watch.Limits = { timeMs: 40_000, bytes: 400 * 1_048_576 }

/** The longest time until a program listens or fails, on a loaded machine. */
const startMs = 15_000

const play = (value: Case, scan: SecretScan) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    yield* Effect.addFinalizer(() => Effect.sync(() => restore(folder)))
    switch (value.kind) {
      case "environment":
        return yield* client(value, folder, scan)
      case "arguments":
        return yield* program([value.command, ...argumentsOf(value), "--port", "0"], scan)
      case "seed": {
        const path = join(folder, "seed.json")
        writeFileSync(path, Json.mutate(seed, value.mutations))
        return yield* program(["serve", "--port", "0", "--admin-port", "0", "--seed", path], scan)
      }
      case "data": {
        const path = join(folder, "data", "ledger.sqlite")
        writeFileSync(join(folder, "note"), "")
        mkdirSync(join(folder, "data"))
        yield* Effect.orDie(Effect.scoped(NodeCyclesServer.make({ port: 0, adminKey: "K", data: path })))
        yield* Effect.sync(() => damage(join(folder, "data"), value.damage, false))
        return yield* program(["serve", "--port", "0", "--data", path], scan)
      }
    }
  })

const argumentsOf = ({ flags }: Case): ReadonlyArray<string> =>
  flags.flatMap(({ isJoined, name, text: chosen }) => {
    // Only the value of a key's flag is a secret.
    const text = !name.endsWith("-key") && chosen.includes("hidden") ? "shown" : valueOf(chosen)
    // The other kinds test these paths.
    if (name === "--data" || name === "--seed") return [name, join("/dev/null", text.slice(0, 100))]
    return isJoined ? [`${name}=${text}`] : [name, text]
  })

const client = (value: Case, folder: string, scan: SecretScan) =>
  Effect.gen(function* () {
    const env: Record<string, string> = {
      CYCLES_BASE_URL: "http://127.0.0.1:1",
      CYCLES_API_KEY: "hidden-key-0123456789-ok",
      CYCLES_JOURNAL_DIR: join(folder, "journal")
    }
    for (const { name, text } of value.variables) {
      // A key is a secret only in the variable of a key, and a password only in an address.
      const isShown =
        text.includes("hidden") && !name.endsWith("KEY") && !(name.endsWith("URL") && text.includes("password"))
      const chosen = isShown ? "shown" : valueOf(text)
      // A journal must not be written outside the temporary folder.
      env[name] = name === "CYCLES_JOURNAL_DIR" ? join(folder, chosen) : chosen
    }
    const layer = Layer.provide(NodeCycles.layerConfig(), ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
    const exit = yield* Effect.exit(Effect.timeoutOption(Effect.scoped(Layer.build(layer)), startMs))
    scan.see("error", exit)
    if (Exit.isSuccess(exit)) return exit.value._tag === "None" ? ["the client didn't start"] : []
    return exit.cause.reasons.flatMap((reason) =>
      reason._tag === "Fail" && Object(reason.error)["_tag"] === "ConfigError"
        ? []
        : [`not a ConfigError: ${Cause.pretty(exit.cause)}`]
    )
  })

/** Runs the program until it listens or ends. */
const program = (args: ReadonlyArray<string>, scan: SecretScan) =>
  Effect.gen(function* () {
    const listening = yield* Deferred.make<void>()
    const print = (...shown: ReadonlyArray<unknown>): void => {
      const text = shown.map(String).join(" ")
      scan.see("output", text)
      if (text.includes("listening on")) Deferred.doneUnsafe(listening, Effect.void)
    }
    const silent: Console.Console = new Proxy(globalThis.console, {
      get: (target, name) => (typeof Reflect.get(target, name) === "function" ? print : Reflect.get(target, name))
    })
    const run = Effect.provideService(main(args), Console.Console, silent)
    const exit = yield* Effect.exit(Effect.timeoutOption(Effect.raceFirst(run, Deferred.await(listening)), startMs))
    scan.see("error", exit)
    if (Exit.isSuccess(exit)) return exit.value._tag === "None" ? ["the program neither listened nor ended"] : []
    return exit.cause.reasons.flatMap((reason) =>
      reason._tag === "Fail" || reason._tag === "Interrupt" ? [] : [`a defect: ${Cause.pretty(exit.cause)}`]
    )
  })

/** A valid seed. */
const seed = {
  tenants: [
    {
      tenant: "acme",
      keys: [{ name: "k", secret: "hidden-key-0123456789-ok", permissions: ["reservations:create"] }],
      budgets: [
        { unit: "TOKENS", allocated: 1_000, overdraftLimit: 10, scope: "agent:planner", caps: { max_tokens: 5 } }
      ],
      policies: [{ name: "p", scope: "agent:planner", caps: { max_tokens: 5 }, priority: 1 }]
    }
  ]
}
