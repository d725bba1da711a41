/**
 * `pnpm test:live`: the contract suite on the server that `CYCLES_BASE_URL`, `CYCLES_ADMIN_URL` and `CYCLES_ADMIN_API_KEY` name.
 * It makes tenants of its own there, and leaves them.
 */
import { spawnSync } from "node:child_process"

const missing = ["CYCLES_BASE_URL", "CYCLES_ADMIN_URL", "CYCLES_ADMIN_API_KEY"].filter(
  (name) => (process.env[name] ?? "") === ""
)
if (missing.length > 0) {
  console.error(`test:live needs a server: set ${missing.join(", ")}`)
  process.exitCode = 2
} else {
  const config = ["--config", "packages/conformance/live/vitest.config.ts"]
  const { status } = spawnSync("node_modules/.bin/vitest", ["run", ...config, ...process.argv.slice(2)], {
    stdio: "inherit"
  })
  process.exitCode = status ?? 1
}
