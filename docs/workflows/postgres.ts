/** A PostgreSQL server in a temporary folder, which listens on 127.0.0.1 only. */
import { execFileSync, spawn } from "node:child_process"
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** The programs of a PostgreSQL installation, and the environment that they need. */
interface Installation {
  readonly bin: string
  readonly env: NodeJS.ProcessEnv
}

/** A running server. */
export interface Postgres {
  readonly host: string
  readonly port: number
  readonly stop: () => Promise<void>
}

const packages = ["postgresql-15", "postgresql-client-15", "libpq5"]

const installedIn = (prefix: string): string | undefined => {
  const folder = join(prefix, "usr/lib/postgresql")
  if (!existsSync(folder)) return undefined
  return readdirSync(folder)
    .map((version) => join(folder, version, "bin"))
    .find((bin) => existsSync(join(bin, "initdb")))
}

/**
 * Finds an installed PostgreSQL, or unpacks Debian's packages into a folder. Returns the reason if there is
 * none. It installs nothing on the machine.
 */
const find = (folder: string): Installation | string => {
  const installed = installedIn("/")
  if (installed !== undefined) return { bin: installed, env: process.env }
  const downloads = join(folder, "packages")
  const unpacked = join(folder, "unpacked")
  mkdirSync(downloads)
  try {
    execFileSync("apt-get", ["download", ...packages], { cwd: downloads, stdio: "ignore" })
    for (const file of readdirSync(downloads)) {
      execFileSync("dpkg-deb", ["-x", join(downloads, file), unpacked], { stdio: "ignore" })
    }
  } catch {
    return `it isn't installed, and apt-get can't download ${packages.join(", ")}`
  }
  const bin = installedIn(unpacked)
  if (bin === undefined) return "the packages of Debian contain no initdb"
  const libraries = readdirSync(join(unpacked, "usr/lib"))
    .filter((name) => name.endsWith("-linux-gnu"))
    .map((name) => join(unpacked, "usr/lib", name))
  return { bin, env: { ...process.env, LD_LIBRARY_PATH: libraries.join(":") } }
}

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

/** Starts a server, or returns the reason why it can't run. */
export const start = async (): Promise<Postgres | string> => {
  const folder = mkdtempSync(join(tmpdir(), "effect-cycles-postgres-"))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  const found = find(folder)
  if (typeof found === "string") {
    remove()
    return found
  }
  const { bin, env } = found
  const data = join(folder, "data")
  mkdirSync(data)
  // PostgreSQL refuses to run as root.
  const isRoot = process.getuid?.() === 0
  const as = isRoot ? ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] : []
  const run = (program: string, ...args: ReadonlyArray<string>): readonly [string, ReadonlyArray<string>] => {
    const [command = "", ...rest] = [...as, join(bin, program), ...args]
    return [command, rest]
  }
  try {
    if (isRoot) {
      chmodSync(folder, 0o755)
      execFileSync("chown", ["nobody:nogroup", data])
    }
    const [command, args] = run("initdb", "-D", data, "-U", "cycles", "--auth=trust", "-E", "UTF8", "--no-sync")
    execFileSync(command, args, { env, cwd: folder, stdio: ["ignore", "ignore", "pipe"] })
  } catch (error) {
    remove()
    return `initdb fails: ${String(error)}`
  }
  const port = await freePort()
  const settings = ["-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
  const [command, args] = run("postgres", "-D", data, "-p", `${port}`, ...settings)
  const child = spawn(command, args, { env, cwd: folder, stdio: "ignore" })
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  const stop = async () => {
    // A fast shutdown.
    child.kill("SIGINT")
    await exited
    remove()
  }
  for (let attempt = 0; attempt < 100 && child.exitCode === null; attempt++) {
    try {
      const [ready, readyArgs] = run("pg_isready", "-h", "127.0.0.1", "-p", `${port}`)
      execFileSync(ready, readyArgs, { env, stdio: "ignore" })
      return { host: "127.0.0.1", port, stop }
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  await stop()
  return "the server doesn't start"
}
