#!/usr/bin/env node
/**
 * The command `cycles-server dev` or `cycles-server serve`; see `--help`.
 *
 * It exits with 0 on SIGINT or SIGTERM, with 1 if the data file can't be written, and with 2 if it can't start.
 */
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import { main, teardown } from "./internal/cli/main.ts"

// A failed commit throws outside of any fiber. The pending responses are not sent. The file has the changes of all
// earlier responses.
process.once("uncaughtException", (error) => {
  console.error(`The Cycles server stopped: ${error.message}`)
  process.exit(1)
})

NodeRuntime.runMain(main(process.argv.slice(2)), { teardown })
