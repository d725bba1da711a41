/** Checks the variables: their names, values and units. It sends nothing. */
import * as ProtocolSubject from "@effect-cycles/protocol/Subject"
import type * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as BaseUrl from "../../../../internal/config/baseUrl.ts"
import { isKey } from "../../../../internal/config/apiKey.ts"
import * as Env from "../../../../internal/config/env.ts"
import * as Variables from "../../variables.ts"
import { proxies } from "../client.ts"
import { configProblem } from "../failure.ts"
import type { Environment } from "../redact.ts"
import type { Settings } from "../settings.ts"
import { read } from "../settings.ts"
import type { Finding } from "./finding.ts"
import { failed, ok, skipped, warning } from "./finding.ts"

const long = { minimum: "1 millis", maximum: "24 hours" } as const

const durations = {
  CYCLES_READ_TIMEOUT: Env.duration("CYCLES_READ_TIMEOUT", { minimum: "1 millis", maximum: "1 hour" }),
  CYCLES_CONNECT_TIMEOUT: Variables.connectTimeout,
  CYCLES_RETRY_INITIAL_DELAY: Env.duration("CYCLES_RETRY_INITIAL_DELAY", long),
  CYCLES_RETRY_MAX_DELAY: Env.duration("CYCLES_RETRY_MAX_DELAY", long),
  CYCLES_RETRY_FLUSH_TIMEOUT: Env.duration("CYCLES_RETRY_FLUSH_TIMEOUT", { minimum: "0 millis", maximum: "1 hour" })
}

/** How each variable is read. */
const variables: Readonly<Record<string, Config.Config<unknown>>> = {
  CYCLES_BASE_URL: Env.baseUrl,
  CYCLES_API_KEY: Env.secret("CYCLES_API_KEY"),
  CYCLES_ADMIN_API_KEY: Env.secret("CYCLES_ADMIN_API_KEY"),
  CYCLES_MODE: Env.mode,
  CYCLES_ON_UNREACHABLE: Env.onUnreachable,
  ...durations,
  CYCLES_RETRY_ENABLED: Env.flag("CYCLES_RETRY_ENABLED"),
  CYCLES_RETRY_MAX_ATTEMPTS: Env.integer("CYCLES_RETRY_MAX_ATTEMPTS", { minimum: 0, maximum: 1_000 }),
  CYCLES_RETRY_MULTIPLIER: Env.decimal("CYCLES_RETRY_MULTIPLIER", { minimum: 1, maximum: 100 }),
  CYCLES_JOURNAL_ENABLED: Variables.isJournaled,
  CYCLES_JOURNAL_DIR: Variables.journalFolder
}

/** The names of all variables that the client reads. */
const known: ReadonlyArray<string> = [
  ...Object.keys(variables),
  ...ProtocolSubject.fields.map((field) => `CYCLES_${field.toUpperCase()}`)
]

const required: ReadonlySet<string> = new Set(["CYCLES_BASE_URL", "CYCLES_API_KEY"])

const examples: Readonly<Record<string, string>> = {
  CYCLES_BASE_URL: "Set it to the address of your Cycles server, for example CYCLES_BASE_URL=http://localhost:7878.",
  CYCLES_API_KEY: "Set it to a key of your tenant, which the administrator of the Cycles server creates."
}

// ---------------------------------------------------------------------------------------------------------------------
// configuration
// ---------------------------------------------------------------------------------------------------------------------

/** Checks each variable. */
export const check = (env: Environment): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.gen(function* () {
    const findings: Array<Finding> = []
    for (const [name, config] of Object.entries(variables)) {
      const isSet = isPresent(env, name)
      if (!isSet && !required.has(name)) continue
      const problem = yield* problemOf(config, env)
      if (problem !== undefined) findings.push(failed("configuration", problem, adviceOf(name, env[name])))
    }
    const proxyProblem = yield* Effect.flip(proxies).pipe(Effect.option)
    if (Option.isSome(proxyProblem)) {
      findings.push(failed("configuration", proxyProblem.value.problem, proxyProblem.value.advice))
    }
    const subjectProblem = yield* problemOf(Env.subject, env)
    if (subjectProblem !== undefined) findings.push(failed("configuration", subjectProblem))
    findings.push(...unknownVariables(env), ...urlFindings(env["CYCLES_BASE_URL"]), ...keyFindings(env))
    const present = known.filter((name) => isPresent(env, name))
    return findings.length > 0
      ? findings
      : [ok("configuration", `valid: ${present.map((name) => name.replace(/^CYCLES_/, "")).join(", ")}`)]
  })

/** Mistakes in a key that are valid characters. */
const keyFindings = (env: Environment): ReadonlyArray<Finding> =>
  keyNames.flatMap((name) =>
    /^(["'`]).*\1$|^(Bearer\b|\$\{?\w|<)/i.test(env[name]?.trim() ?? "")
      ? [
          warning(
            "configuration",
            `${name} is in quotes, or is a placeholder.`,
            "Set it to the key only. An env file of a container keeps quotes as a part of the value."
          )
        ]
      : []
  )

const keyNames = ["CYCLES_API_KEY", "CYCLES_ADMIN_API_KEY"]

const isPresent = (env: Environment, name: string): boolean => (env[name] ?? "").trim() !== ""

const problemOf = (config: Config.Config<unknown>, env: Environment): Effect.Effect<string | undefined> =>
  Effect.match(read(config, env), { onFailure: configProblem, onSuccess: () => undefined })

const adviceOf = (name: string, value: string | undefined): string | undefined => {
  const text = value?.trim() ?? ""
  if (text === "") return examples[name]
  if (name === "CYCLES_BASE_URL" && !text.includes("://") && Result.isSuccess(BaseUrl.parse(`http://${text}`))) {
    return `Add the scheme: http://${text} or https://${text}.`
  }
  if (keyNames.includes(name) && isKey(text)) return "Remove the spaces and line breaks around it."
  if (name in durations && /^\d+\.\d+$/.test(text)) return `Write "${text} seconds" if seconds were meant.`
  return undefined
}

/** Variables with the prefix that the client doesn't read. Their values aren't printed. */
const unknownVariables = (env: Environment): ReadonlyArray<Finding> =>
  Object.keys(env).flatMap((name) => {
    if (!/^CYCLES_/i.test(name) || known.includes(name) || !isPresent(env, name)) return []
    const similar = synonyms[name.toUpperCase()] ?? known.find((one) => distance(one, name.toUpperCase()) <= 2)
    // Variables of other programs, such as the server, have the prefix too.
    return similar === undefined || isPresent(env, similar)
      ? []
      : [warning("configuration", `${name} isn't read by the client.`, `Did you mean ${similar}?`)]
  })

const synonyms: Readonly<Record<string, string>> = {
  CYCLES_URL: "CYCLES_BASE_URL",
  CYCLES_SERVER: "CYCLES_BASE_URL",
  CYCLES_SERVER_URL: "CYCLES_BASE_URL",
  CYCLES_API_URL: "CYCLES_BASE_URL",
  CYCLES_HOST: "CYCLES_BASE_URL",
  CYCLES_KEY: "CYCLES_API_KEY",
  CYCLES_TOKEN: "CYCLES_API_KEY",
  CYCLES_API_TOKEN: "CYCLES_API_KEY",
  CYCLES_ADMIN_KEY: "CYCLES_ADMIN_API_KEY",
  CYCLES_TENANT_ID: "CYCLES_TENANT",
  CYCLES_TIMEOUT: "CYCLES_READ_TIMEOUT",
  CYCLES_JOURNAL: "CYCLES_JOURNAL_DIR"
}

/** The number of characters to insert, remove or replace to turn one text into the other. */
const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(
        Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1))
      )
    }
    row = next
  }
  return row[b.length] ?? 0
}

const urlFindings = (value: string | undefined): ReadonlyArray<Finding> => {
  const parsed = value === undefined ? undefined : BaseUrl.parse(value)
  if (parsed === undefined || Result.isFailure(parsed)) return []
  return BaseUrl.isPlainPublic(parsed.success)
    ? [
        warning(
          "configuration",
          `CYCLES_BASE_URL is ${parsed.success}: the key is sent unencrypted over a public network.`,
          "Use https://."
        )
      ]
    : []
}

// ---------------------------------------------------------------------------------------------------------------------
// mode
// ---------------------------------------------------------------------------------------------------------------------

/** Shows whether calls are denied, and what happens if the server can't be reached. */
export const modeOf = (settings: Option.Option<Settings>): Finding => {
  if (Option.isNone(settings)) return skipped("mode", "the configuration is invalid")
  const { mode = "enforce", onUnreachable = "fail" } = settings.value.config
  if (mode === "shadow") return ok("mode", "shadow: every call runs, and nothing is reserved or charged")
  return ok(
    "mode",
    `enforce: denied calls don't run; calls ${onUnreachable === "allow" ? "run" : "fail"} if the server can't be reached`
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// timeouts
// ---------------------------------------------------------------------------------------------------------------------

/** Checks the units of durations, and the timeouts against the measured round-trip time. */
export const checkTimeouts = (
  env: Environment,
  settings: Option.Option<Settings>,
  rttMs: number | undefined
): ReadonlyArray<Finding> => {
  const units = Object.keys(durations).flatMap((name) => unitFinding(name, env[name]?.trim() ?? ""))
  if (Option.isNone(settings)) {
    return units.length > 0 ? units : [skipped("timeouts", "the configuration is invalid")]
  }
  const { connectTimeout, timeout } = settings.value
  const values = `read ${Duration.format(timeout)}, connect ${Duration.format(connectTimeout)}`
  if (rttMs !== undefined && Duration.toMillis(timeout) < 3 * rttMs) {
    const isTooShort = Duration.toMillis(timeout) < rttMs
    return [
      ...units,
      (isTooShort ? failed : warning)(
        "timeouts",
        `${values}, but the server took ${Math.ceil(rttMs)} ms to respond${isTooShort ? ": calls fail" : ""}.`,
        "Set a longer CYCLES_READ_TIMEOUT; the default is 10 seconds."
      )
    ]
  }
  if (units.length > 0) return units
  if (Duration.isGreaterThan(connectTimeout, timeout)) {
    return [
      warning(
        "timeouts",
        `${values}: a call ends before its connection can time out.`,
        "Set CYCLES_CONNECT_TIMEOUT below CYCLES_READ_TIMEOUT."
      )
    ]
  }
  return [ok("timeouts", values)]
}

/** A number below this is taken for seconds. */
const shortestMs = 100

const unitFinding = (name: string, value: string): ReadonlyArray<Finding> => {
  const isShort = /^\d+$/.test(value) && Number(value) > 0 && Number(value) < shortestMs
  return isShort
    ? [
        warning(
          "timeouts",
          `${name}=${value} is ${Number(value)} milliseconds.`,
          `Write "${Number(value)} seconds" if seconds were meant, as in the Cycles client for Python, or "${Number(value)} ms" if not.`
        )
      ]
    : []
}
