/** The command `doctor`: runs all checks, and prints the problems with advice. */
import * as Command from "effect/cli/Command"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { CyclesClient } from "../../../../CyclesClient.ts"
import * as Proxy from "../../proxy.ts"
import * as Client from "../client.ts"
import { CliFailure } from "../failure.ts"
import * as Flags from "../flags.ts"
import * as Output from "../output.ts"
import type { Environment } from "../redact.ts"
import * as Settings from "../settings.ts"
import * as Budgets from "./budgets.ts"
import * as Configuration from "./configuration.ts"
import * as Connection from "./connection.ts"
import type { Check, Finding } from "./finding.ts"
import { checks, skipped } from "./finding.ts"
import * as Journal from "./journal.ts"
import * as Probe from "./probe.ts"

/** Checks everything. */
export const doctor = Command.make(
  "doctor",
  { ...Flags.target, journal: Flags.journal, json: Flags.json },
  ({ baseUrl, journal, json, ...flags }) =>
    Effect.gen(function* () {
      const env = yield* Settings.environmentOf({ baseUrl, subject: Flags.subjectOf(flags) })
      const findings = yield* findingsOf(env, journal)
      const failures = findings.filter(({ status }) => status === "failed").length
      yield* json ? Output.printJson({ ok: failures === 0, findings }) : Output.print(findings.map(textOf).join("\n"))
      if (failures === 0) return
      return yield* new CliFailure({ problem: `${Output.count(failures, "problem")} found.` })
    })
).pipe(
  Command.withDescription(
    "Check the configuration, the server, the key, the tenant, the budgets, the clock and the journal. " +
      "Nothing is reserved, charged or changed. The exit code is 0 if nothing failed"
  ),
  Command.withExamples([
    { command: "effect-cycles doctor", description: "Check what the environment configures" },
    { command: "effect-cycles doctor --tenant acme --agent planner", description: "Check the budgets of an agent" }
  ])
)

const findingsOf = (env: Environment, journal: Option.Option<string>): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.gen(function* () {
    const settings = yield* Effect.option(Settings.settingsOf(env))
    const online = Option.isSome(settings)
      ? yield* serverFindings(withLongTimeouts(settings.value))
      : { findings: skipAll(serverChecks, "the configuration is invalid") }
    const all = [
      ...(yield* Configuration.check(env)),
      Configuration.modeOf(settings),
      ...Configuration.checkTimeouts(env, settings, online.rttMs),
      ...online.findings,
      ...(yield* Journal.check(journal, env))
    ]
    return checks.flatMap((check) => all.filter((finding) => finding.check === check))
  })

const serverChecks = ["reachability", "key", "tenant", "budgets", "clock"] as const

const skipAll = (names: ReadonlyArray<Check>, why: string): ReadonlyArray<Finding> =>
  names.map((name) => skipped(name, why))

interface Online {
  readonly findings: ReadonlyArray<Finding>
  readonly rttMs?: number | undefined
}

/** The doctor waits at least this long, so that a timeout that is too short doesn't hide the other problems. */
const shortestTimeout = Duration.seconds(10)

const withLongTimeouts = (settings: Settings.Settings): Settings.Settings => {
  const timeout = Duration.max(settings.timeout, shortestTimeout)
  return {
    ...settings,
    config: { ...settings.config, timeout },
    timeout,
    connectTimeout: Duration.max(settings.connectTimeout, shortestTimeout)
  }
}

const serverFindings = (settings: Settings.Settings): Effect.Effect<Online> =>
  Effect.gen(function* () {
    const probe = yield* Probe.run(settings, settings.baseUrl)
    const { origin } = new URL(settings.baseUrl)
    const hasPath = settings.baseUrl !== origin
    const isOther = probe._tag === "Response" && !probe.isCycles && probe.status < 500
    const atOrigin = hasPath && isOther ? yield* Probe.run(settings, origin) : undefined
    const proxy = Proxy.uriFor(yield* Client.proxies, origin)
    const reachability = Connection.reachability(settings, probe, { atOrigin, proxy })
    if (probe._tag !== "Response" || reachability.status !== "ok") {
      return {
        findings: [reachability, ...skipAll(["key", "tenant", "budgets", "clock"], "no Cycles server responds")]
      }
    }
    const { rttMs } = probe
    const key = Connection.key(probe)
    const clock = Connection.clock(probe)
    if (key.status !== "ok") {
      return {
        rttMs,
        findings: [
          reachability,
          key,
          ...skipAll(["tenant", "budgets"], "they need a key that the server accepts"),
          clock
        ]
      }
    }
    const tenant = Connection.tenant(settings, probe)
    if (tenant.status === "failed") {
      return {
        rttMs,
        findings: [reachability, key, tenant, skipped("budgets", "they need the tenant of the key"), clock]
      }
    }
    const subject = { tenant: probe.tenant, ...settings.config.subject }
    const budgets =
      subject.tenant === undefined
        ? [skipped("budgets", "they need a tenant")]
        : yield* Budgets.check(yield* CyclesClient, subject)
    return { rttMs, findings: [reachability, key, tenant, ...budgets, clock] }
  }).pipe(
    Effect.provide(Client.layer(settings)),
    // The check of the configuration reports the invalid proxy.
    Effect.orElseSucceed(() => ({ findings: skipAll(serverChecks, "the configuration is invalid") }))
  )

/** The lines of a finding. */
const textOf = ({ check, details, status, summary, advice }: Finding): string =>
  [
    `${status.padEnd(9)}${check.padEnd(15)}${summary}`,
    ...(details ?? []).map((line) => `${indent}${line}`),
    ...(advice === undefined ? [] : [`${indent}-> ${advice}`])
  ].join("\n")

const indent = " ".repeat(24)
