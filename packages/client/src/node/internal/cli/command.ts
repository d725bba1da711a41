/** The command `effect-cycles` with its subcommands. */
import * as Command from "effect/cli/Command"
import { balances } from "./balances.ts"
import { doctor } from "./doctor/doctor.ts"
import { journal } from "./journal/commands.ts"
import { reservations } from "./reservations.ts"

/** The command. */
export const command = Command.make("effect-cycles").pipe(
  Command.withDescription(
    "Operate a program that uses the Cycles client. The server and the key come from the environment: " +
      "CYCLES_BASE_URL, CYCLES_API_KEY and CYCLES_TENANT"
  ),
  Command.withSubcommands([doctor, journal, balances, reservations])
)
