/**
 * The entry point of the command: its services, its errors and its exit codes.
 */
import * as NodeChildProcessSpawner from "@effect/platform-node-shared/NodeChildProcessSpawner"
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import * as NodeStdio from "@effect/platform-node-shared/NodeStdio"
import * as NodeTerminal from "@effect/platform-node-shared/NodeTerminal"
import * as Cause from "effect/Cause"
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import { readFileSync } from "node:fs"
import { command } from "./command.ts"
import { CommandFailed } from "./serve.ts"

/** Runs the command with the arguments of the process. Errors are one line on stderr. */
export const main = (args: ReadonlyArray<string>) =>
  Command.runWith(command, { version: versionOf() })(withCommand(args)).pipe(
    Effect.mapError(withoutKeys),
    Effect.tapError((error) => (error instanceof CommandFailed ? Console.error(error.message) : Effect.void)),
    Effect.provide(
      Layer.mergeAll(
        CliOutput.layerPresenter(presenter),
        NodeStdio.layer,
        NodeTerminal.layer,
        Layer.provideMerge(NodeChildProcessSpawner.layer, Layer.merge(NodeFileSystem.layer, NodePath.layer))
      )
    )
  )

/** SIGINT and SIGTERM are the normal ends of a server. An error of the command line is 2, as every other problem of the start. */
export const teardown: Runtime.Teardown = (exit, onExit) => {
  if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return onExit(0)
  const error = Cause.squash(exit.cause)
  if (CliError.isCliError(error)) return onExit(error._tag === "ShowHelp" && error.errors.length === 0 ? 0 : 2)
  Runtime.defaultTeardown(exit, onExit)
}

/** Options without a command belong to `serve`, the only command of earlier versions. */
const withCommand = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const [first = "", ...rest] = args
  const isGlobal = globalFlags.has(first.split("=", 1)[0] ?? "")
  return first.startsWith("-") && !isGlobal ? ["serve", first, ...rest] : args
}

const globalFlags: ReadonlySet<string> = new Set([
  "--help",
  "-h",
  "--version",
  "-v",
  "--completions",
  "--wizard",
  "--log-level"
])

/** Prints the problems of an invocation without the whole help. */
const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Console.error(
          `${event.errors.map(problemOf).join("; ")}. Run ${event.commandPath.join(" ")} --help for the flags`
        )
      : CliOutput.defaultPresenter.present(event)
}

/** The error without keys. An unexpected argument may be one: after `--`, or after a misspelled flag. */
const withoutKeys = <E>(error: E): E | CliError.ShowHelp =>
  error instanceof CliError.ShowHelp
    ? new CliError.ShowHelp({ commandPath: error.commandPath, errors: error.errors.map(withoutKey) })
    : error

const withoutKey = (error: CliError.NonShowHelpErrors): CliError.NonShowHelpErrors => {
  if (error._tag === "UnexpectedArgument") {
    return new CliError.UnexpectedArgument({ arguments: error.arguments.map(() => "***") })
  }
  return error._tag === "InvalidValue" && error.option.endsWith("key")
    ? new CliError.InvalidValue({ option: error.option, value: "***", expected: error.expected, kind: error.kind })
    : error
}

/** Describes an error of the command line. The value of a key is not repeated. */
const problemOf = (error: CliError.NonShowHelpErrors): string => {
  if (error._tag === "UnexpectedArgument") return "The command has no positional arguments, only flags"
  if (error._tag !== "InvalidValue") return error.message.replace(/\.$/, "")
  const expected = error.expected
    .replace(/^Schema validation failed: /, "")
    .replace(/^Expected /, "")
    .replace(/^at most 1 value$/, "given at most once")
  const got = error.value === "" || error.option.endsWith("key") ? "" : `, got ${error.value}`
  return `--${error.option} must be ${expected}${got}`
}

const versionOf = (): string => {
  const manifest: { readonly version?: unknown } = Object(
    JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8"))
  )
  return String(manifest.version)
}
