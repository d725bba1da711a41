/**
 * `pnpm test:workflow`: guarded activities of workflows whose state is in PostgreSQL, in a process that is killed.
 *
 * `docs/workflows` is a separate project with a lock file, so that the workspace installs no client of PostgreSQL.
 */
import { bin, run } from "./pack.ts"

const folder = "docs/workflows"

run("pnpm", ["install", "--frozen-lockfile"], folder)
run(bin("tsc"), ["-p", folder])
run(process.execPath, [`${folder}/main.ts`])
