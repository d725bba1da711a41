/**
 * `pnpm test:providers [FILTER...]`: checks and tests the programs of `docs/providers` with the real SDKs against a
 * fake provider, and an MCP server with the client of the official SDK.
 *
 * The folder is a separate project with a lock file, so that the workspace installs no SDK. `effect` and the packages
 * of the workspace come from `docs`, which is above it.
 */
import { bin, run } from "./pack.ts"

const folder = "docs/providers"

run("pnpm", ["install", "--frozen-lockfile"], folder)
run(bin("tsc"), ["-p", folder])
run(bin("vitest"), ["run", "--root", folder, ...process.argv.slice(2)])
