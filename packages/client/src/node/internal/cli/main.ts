/** Runs the command `effect-cycles`: parses the arguments, prints redacted lines, and returns the exit code. */
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { command } from "./command.ts"
import { CliFailure } from "./failure.ts"
import type { Writer } from "./output.ts"
import * as Output from "./output.ts"
import * as Platform from "./platform.ts"
import type { Environment } from "./redact.ts"
import * as Redact from "./redact.ts"
import { CurrentEnvironment } from "./settings.ts"

/** What a run of the command gets from its process. */
export interface Input {
  readonly args: ReadonlyArray<string>
  readonly env: Environment
  readonly version: string
  readonly writer: Writer
}

/**
 * Runs the command and returns its exit code: 0, or 1 if it failed, or 2 if the arguments are invalid. It never fails.
 */
export const run = ({ args, env, version, writer }: Input): Effect.Effect<number> => {
  const redact = Redact.make(env)
  return Command.runWith(command, { version })(args).pipe(
    Effect.as(0),
    Effect.catchCause((cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.succeed(130)
      const error = Cause.squash(cause)
      if (error instanceof CliFailure) return Effect.as(Output.printError(error.message), 1)
      if (isUsageError(error)) return Effect.succeed(error.errors.length === 0 ? 0 : 2)
      return Effect.as(Output.printError(`effect-cycles failed unexpectedly:\n${Cause.pretty(cause)}`), 1)
    }),
    Effect.provide(
      Layer.mergeAll(
        Platform.layer(args, writer),
        CliConfig.layer({
          builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel]
        }),
        CliOutput.layerPresenter({ present }),
        Logger.layer([Logger.withConsoleError(Logger.formatSimple)]),
        Layer.succeed(CurrentEnvironment, env),
        Layer.succeed(Console.Console, Output.makeConsole(writer, redact))
      )
    )
  )
}

const formatter = CliOutput.defaultFormatter({ colors: false })

/**
 * Prints help on request. Reports invalid arguments on standard error only, since a program may read standard output.
 */
const present = (event: CliOutput.Presenter.Event): Effect.Effect<void> => {
  switch (event._tag) {
    case "Help":
      return Output.print(formatter.formatHelpDoc(event.helpDoc))
    case "Version":
      return Output.print(formatter.formatVersion(event.name, event.version))
    case "InvalidInvocation":
      return Output.printError(
        `${formatter.formatErrors(event.errors).trim()}\n\n${event.commandPath.join(" ")} --help shows the arguments.`
      )
  }
}

const isUsageError = (error: unknown): error is { readonly errors: ReadonlyArray<unknown> } =>
  typeof error === "object" &&
  error !== null &&
  "_tag" in error &&
  error._tag === "ShowHelp" &&
  "errors" in error &&
  Array.isArray(error.errors)
