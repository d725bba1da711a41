/** The failure of a command. */
import type * as Config from "effect/Config"
import * as Schema from "effect/Schema"
import type { CyclesError } from "../../../CyclesError.ts"

/** A command failed. It is printed to standard error, and the exit code is 1. */
export class CliFailure extends Schema.TaggedError<CliFailure>()("CliFailure", {
  /** What failed. */
  problem: Schema.String,
  /** How to correct it. */
  advice: Schema.optional(Schema.String)
}) {
  override get message(): string {
    return this.advice === undefined ? this.problem : `${this.problem}\n${this.advice}`
  }
}

/** The failure of a call. */
export const ofCall = (error: CyclesError): CliFailure =>
  new CliFailure({ problem: error.message, advice: "effect-cycles doctor checks the configuration and the server." })

/** The failure of an invalid or missing variable. */
export const ofConfig = (error: Config.ConfigError): CliFailure =>
  new CliFailure({ problem: configProblem(error), advice: "effect-cycles doctor checks all variables." })

/** The message of a configuration error, without the path that Effect adds: it repeats the name of the variable. */
export const configProblem = (error: Config.ConfigError): string =>
  error.message
    .replace(/^[A-Za-z]*Error[:(] ?/, "")
    .split("\n")
    .filter((line) => !/^ *at \[/.test(line))
    .join(" ")
    .trim()
