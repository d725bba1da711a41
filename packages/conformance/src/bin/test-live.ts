/**
 * `CYCLES_BASE_URL=… CYCLES_ADMIN_URL=… CYCLES_ADMIN_API_KEY=… pnpm test:live`: tests the contract of a running
 * server. It makes tenants with random names and doesn't remove them.
 */
import { spawnSync } from "node:child_process"
import { join } from "node:path"

const missing = ["CYCLES_BASE_URL", "CYCLES_ADMIN_URL", "CYCLES_ADMIN_API_KEY"].filter(
  (name) => (process.env[name] ?? "").trim() === ""
)

if (missing.length > 0) {
  console.error(`test:live needs a running server: set ${missing.join(", ")}`)
  process.exitCode = 2
} else {
  const config = join(import.meta.dirname, "../../live/vitest.config.ts")
  const { status } = spawnSync("vitest", ["run", "--config", config, ...process.argv.slice(2)], { stdio: "inherit" })
  process.exitCode = status ?? 1
}
